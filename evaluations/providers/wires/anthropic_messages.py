"""Anthropic's Messages, as its published reference has it (POST /v1/messages). Pure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from core.model_settings import ModelSettings, read_settings
from evaluations.providers.chat import ChatRequest
from evaluations.providers.wires.anthropic_answers import read_answer, stream_reader
from evaluations.providers.wires.turns import (
    INSTRUCTING,
    add_turn,
    chosen_function,
    filled_parts,
    instructions_of,
    split_data_address,
    unfit_shared,
    unfit_tools,
    unfit_turns,
    unknown_settings,
)
from registry.content.model_profiles.refusals import ModelRefusal

__all__ = ["read_answer", "stream_reader", "unfit_messages", "unfit_settings", "write_body"]

TITLE = "Messages"
SAME = frozenset({"temperature", "top_p", "top_k", "metadata", "service_tier", "inference_geo", "speed"})
# Settings with other words here.
WRITTEN = frozenset({"stop", "tool_choice", "parallel_tool_calls"})
# A limit has to be said: the model's own, but no more than fits into the time of a call.
MAX_USUAL_TOKENS, UNKNOWN_LIMIT = 32_768, 4_096
# Tokens of thinking where a model takes a number and no effort; at least 1,024, and less than the limit.
MIN_THINKING_TOP_P = 0.95
BUDGETS = {"low": 1_024, "medium": 4_096, "high": 16_384}


def unfit_settings(request: ChatRequest) -> list[ModelRefusal]:
    settings = read_settings(request.parameters)
    refusals = unknown_settings(settings, SAME | WRITTEN, TITLE)
    refusals += unfit_shared(settings, TITLE)
    refusals += unfit_tools(request.tools, TITLE)
    if settings.verbosity is not None:
        sentence = f"{TITLE} has no verbosity; say in the prompt how long the answer should be."
        refusals.append(ModelRefusal("verbosity", "/model/verbosity", sentence))
    kind = (request.response_format or {}).get("type")
    if kind == "json_object":
        sentence = f"{TITLE} has no format json_object; give a JSON Schema, or ask for JSON in words."
        refusals.append(ModelRefusal("response", "/response/format", sentence))
    refusals += _unfit_for_thinking(settings)
    if request.profile.has_adaptive_thinking is False:
        refusals += _unfit_for_budget(request, settings)
    if settings.effort == "none" and settings.summary is not None:
        sentence = "Without reasoning there is no summary of it; leave one of the two out."
        refusals.append(ModelRefusal("reasoning.summary", "/model/reasoning/summary", sentence))
    return refusals


def unfit_messages(request: ChatRequest) -> list[ModelRefusal]:
    has_mid_system = bool(request.profile.supports_mid_system)
    return list(unfit_turns(request.messages, TITLE, has_mid_system=has_mid_system))


def _unfit_for_budget(request: ChatRequest, settings: ModelSettings) -> Iterator[ModelRefusal]:
    """Yield what a model has no place for that thinks by a number of tokens."""
    effort = settings.effort
    if effort not in (None, "none", *BUDGETS):
        sentence = f"{request.model} thinks by a number of tokens, which only {', '.join(BUDGETS)} stand for here."
        yield ModelRefusal("reasoning.effort", "/model/reasoning/effort", sentence)
    if effort is None and settings.summary is not None:
        sentence = f"{request.model} reasons only where an effort is named; name one beside the summary."
        yield ModelRefusal("reasoning.summary", "/model/reasoning/summary", sentence)
    budget = BUDGETS.get(effort or "", 0)
    if budget and _limit(request, settings) <= budget:
        sentence = f"With effort {effort} {request.model} thinks up to {budget:,} tokens: allow more than that."
        yield ModelRefusal("max_output_tokens", "/model/max_output_tokens", sentence)


def _unfit_for_thinking(settings: ModelSettings) -> Iterator[ModelRefusal]:
    """Yield what the reference rules out: a temperature above 1; and while it thinks, one below 1, top_k, a top_p below
    0.95, and tools that it is forced to use."""
    others = settings.others
    temperature, top_p = others.get("temperature"), others.get("top_p")
    if isinstance(temperature, int | float) and temperature > 1:
        yield ModelRefusal("temperature", "/model/temperature", f"{TITLE} takes a temperature of at most 1.")
    if settings.effort in (None, "none") and settings.summary is None:
        return
    unfit = {
        "temperature": isinstance(temperature, int | float) and temperature < 1,
        "top_k": "top_k" in others,
        "top_p": isinstance(top_p, int | float) and top_p < MIN_THINKING_TOP_P,
        "tool_choice": others.get("tool_choice") not in (None, "auto", "none"),
    }
    for name in filter(unfit.get, unfit):
        yield ModelRefusal(
            name, f"/model/{name}", f"{TITLE} takes no such {name} while the model reasons; leave it out."
        )


def write_body(request: ChatRequest) -> dict[str, Any]:
    settings = read_settings(request.parameters).without_idle_effort(request.profile.efforts)
    instructions = instructions_of(request.messages)
    body: dict[str, Any] = {
        "model": request.model,
        "max_tokens": _limit(request, settings),
        "messages": _turns(request.messages[len(instructions) :]),
        **{name: value for name, value in settings.others.items() if name in SAME},
    }
    system = [block for message in instructions for block in _blocks(message.get("content"))]
    if system:
        body["system"] = system
    if (stop := settings.others.get("stop")) is not None:
        body["stop_sequences"] = [stop] if isinstance(stop, str) else list(stop)
    if request.tools:
        body["tools"] = [_tool(tool["function"]) for tool in request.tools]
    body |= _tool_choice(settings.others)
    body |= _reasoning(request, settings)
    if (request.response_format or {}).get("type") == "json_schema":
        schema = (request.response_format or {})["json_schema"]["schema"]
        body["output_config"] = {
            **body.get("output_config", {}),
            "format": {"type": "json_schema", "schema": schema},
        }
    if settings.prompt_cache is not None:
        # What every call has alike comes first: tools, then instructions.
        cached = body.get("system") or body.get("tools")
        if cached:
            cached[-1] = {**cached[-1], "cache_control": {"type": "ephemeral", "ttl": settings.prompt_cache}}
        else:
            body["cache_control"] = {"type": "ephemeral", "ttl": settings.prompt_cache}
    return body


def _limit(request: ChatRequest, settings: ModelSettings) -> int:
    if settings.max_output_tokens is not None:
        return settings.max_output_tokens
    return min(request.profile.max_output_tokens or UNKNOWN_LIMIT, MAX_USUAL_TOKENS)


def _reasoning(request: ChatRequest, settings: ModelSettings) -> dict[str, Any]:
    """Write an effort: `none` turns thinking off, others are an effort, or a number of tokens for older models."""
    effort, display = settings.effort, {"display": "summarized"} if settings.summary is not None else {}
    if effort == "none":
        return {"thinking": {"type": "disabled"}}
    if request.profile.has_adaptive_thinking is False:
        budget = BUDGETS.get(effort or "")
        return {"thinking": {"type": "enabled", "budget_tokens": budget, **display}} if budget else {}
    thinking: dict[str, Any] = {"thinking": {"type": "adaptive", **display}} if effort or display else {}
    return {**thinking, "output_config": {"effort": effort}} if effort else thinking


def _tool(function: Mapping[str, Any]) -> dict[str, Any]:
    tool = {"name": function["name"], "input_schema": function.get("parameters") or {"type": "object"}}
    more = {name: function[name] for name in ("description", "strict") if function.get(name)}
    return {**tool, **more}


def _tool_choice(others: Mapping[str, Any]) -> dict[str, Any]:
    choice = others.get("tool_choice")
    written: dict[str, Any] = {}
    if name := chosen_function(choice):
        written = {"type": "tool", "name": name}
    elif choice is not None:
        written = {"type": {"required": "any"}.get(str(choice), str(choice))}
    if others.get("parallel_tool_calls") is False and written.get("type") != "none":
        written = {"type": "auto", **written, "disable_parallel_tool_use": True}
    return {"tool_choice": written} if written else {}


def _turns(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Write the turns; results of tools belong to the user, and neighbours of one role are one turn."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        role = "assistant" if message["role"] == "assistant" else "user"
        if message["role"] in INSTRUCTING:
            role = "system"
        if message["role"] == "tool":
            blocks = [
                {
                    "type": "tool_result",
                    "tool_use_id": message["tool_call_id"],
                    "content": _blocks(message.get("content")),
                }
            ]
        else:
            blocks = _blocks(message.get("content"))
        for call in message.get("tool_calls") or ():
            function = call["function"]
            blocks.append(
                {
                    "type": "tool_use",
                    "id": call["id"],
                    "name": function["name"],
                    "input": json.loads(function["arguments"]),
                }
            )
        add_turn(turns, role, "content", blocks)
    return turns


def _blocks(content: object) -> list[dict[str, Any]]:
    return [_block(part) for part in filled_parts(content)]


def _block(part: Mapping[str, Any]) -> dict[str, Any]:
    if part["type"] == "text":
        return {"type": "text", "text": part["text"]}
    address = str(part["image_url"]["url"])
    if not address.startswith("data:"):
        return {"type": "image", "source": {"type": "url", "url": address}}
    media_type, data = split_data_address(address)
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}
