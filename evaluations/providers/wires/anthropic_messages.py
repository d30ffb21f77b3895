"""Anthropic's Messages, as its published reference has it (POST /v1/messages). Pure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from core.messages import is_json_object
from core.model_settings import ModelSettings, read_settings
from evaluations.providers.answer_shapes import (
    MAX_ANSWER_CHARACTERS,
    error_in_answer,
    garbled_error,
    read_count,
    unreadable_error,
)
from evaluations.providers.chat import ChatRequest, Completion, storable
from registry.content.model_profiles.refusals import ModelRefusal

TITLE = "Messages"
SAME = frozenset({"temperature", "top_p", "top_k", "metadata", "service_tier", "inference_geo", "speed"})
# Settings with other words here.
WRITTEN = frozenset({"stop", "tool_choice", "parallel_tool_calls"})
STOPS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
INSTRUCTING = ("system", "developer")
# A limit has to be said: the model's own, but no more than fits into the time of a call.
MAX_USUAL_TOKENS, UNKNOWN_LIMIT = 32_768, 4_096
# Tokens of thinking where a model takes a number and no effort; at least 1,024, and less than the limit.
MIN_THINKING_TOP_P = 0.95
BUDGETS = {"low": 1_024, "medium": 4_096, "high": 16_384}


def inexpressible(request: ChatRequest) -> list[ModelRefusal]:
    settings = read_settings(request.parameters)
    refusals = [
        ModelRefusal(name, f"/model/{name}", f"{TITLE} has no {name}; leave it out.")
        for name in settings.others
        if name not in SAME | WRITTEN
    ]
    if settings.verbosity is not None:
        sentence = f"{TITLE} has no verbosity; say in the prompt how long the answer should be."
        refusals.append(ModelRefusal("verbosity", "/model/verbosity", sentence))
    kind = (request.response_format or {}).get("type")
    if kind == "json_object":
        sentence = f"{TITLE} has no format json_object; give a JSON Schema, or ask for JSON in words."
        refusals.append(ModelRefusal("response", "/response/format", sentence))
    refusals += _unfit_for_thinking(settings)
    limit, budget = _limit(request, settings), BUDGETS.get(settings.effort or "", 0)
    if request.profile.has_adaptive_thinking is False and budget and limit <= budget:
        sentence = (
            f"With effort {settings.effort} {request.model} thinks up to {budget:,} tokens: allow more than that."
        )
        refusals.append(ModelRefusal("max_output_tokens", "/model/max_output_tokens", sentence))
    refusals += _inexpressible_messages(request.messages, has_mid_system=bool(request.profile.supports_mid_system))
    return refusals


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


def _inexpressible_messages(messages: Sequence[Mapping[str, Any]], *, has_mid_system: bool) -> Iterator[ModelRefusal]:
    start = len(_instructions(messages))
    for index, message in enumerate(messages):
        pointer = f"/messages/{index}"
        if index >= start and not (_blocks(message.get("content")) or message.get("tool_calls")):
            sentence = f"{TITLE} takes no message without content; leave it out."
            yield ModelRefusal("messages", f"{pointer}/content", sentence)
        if message["role"] in INSTRUCTING and index >= start and not has_mid_system:
            sentence = f"{TITLE} has its instructions at the start only; move this message there."
            yield ModelRefusal("role", f"{pointer}/role", sentence)
        if message.get("name"):
            sentence = f"{TITLE} has no names of speakers; write {message['name']} into the text."
            yield ModelRefusal("name", f"{pointer}/name", sentence)
        if message.get("refusal"):
            sentence = f"{TITLE} has no refusals of before; write it as text."
            yield ModelRefusal("refusal", f"{pointer}/refusal", sentence)
        content = message.get("content")
        for number, part in enumerate(content if isinstance(content, list) else ()):
            if part["type"] == "image_url" and part["image_url"].get("detail", "auto") != "auto":
                sentence = f"{TITLE} has no detail of images; leave it out."
                yield ModelRefusal("detail", f"{pointer}/content/{number}/image_url/detail", sentence)
        for number, call in enumerate(message.get("tool_calls") or ()):
            if not is_json_object(call["function"]["arguments"]):
                sentence = f"The arguments of {call['function']['name']} are no JSON object, which {TITLE} needs."
                yield ModelRefusal("tool_calls", f"{pointer}/tool_calls/{number}/function/arguments", sentence)
    if len(messages) == start:
        yield ModelRefusal("messages", "/messages", f"{TITLE} needs a message of the user.")


def _instructions(messages: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Return the messages at the start that instruct."""
    end = next((index for index, each in enumerate(messages) if each["role"] not in INSTRUCTING), len(messages))
    return messages[:end]


def write_body(request: ChatRequest) -> dict[str, Any]:
    settings = read_settings(request.parameters).without_idle_effort(request.profile.efforts)
    instructions = _instructions(request.messages)
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
    if isinstance(choice, Mapping):
        function = choice.get("function")
        written = {"type": "tool", "name": (function if isinstance(function, Mapping) else choice).get("name")}
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
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    return turns


def _blocks(content: object) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    parts = content if isinstance(content, list) else ()
    return [_block(part) for part in parts if part["type"] != "text" or part["text"]]


def _block(part: Mapping[str, Any]) -> dict[str, Any]:
    if part["type"] == "text":
        return {"type": "text", "text": part["text"]}
    address = str(part["image_url"]["url"])
    if not address.startswith("data:"):
        return {"type": "image", "source": {"type": "url", "url": address}}
    head, _, data = address.partition(",")
    media_type = head.removeprefix("data:").partition(";")[0]
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}


def read_answer(document: Mapping[str, Any], latency_ms: float, request_id: str) -> Completion:
    """Read a message, or raise a CallError."""
    if document.get("type") == "error" or document.get("error"):
        raise error_in_answer(document.get("error") or "it says only that it is one", request_id)
    content = document.get("content")
    if not isinstance(content, list):
        raise garbled_error("The answer has no content.", request_id)
    answer = _MessageParts()
    for block in content:
        answer.add_block(block if isinstance(block, Mapping) else {}, request_id)
    return answer.completion(document, document.get("usage"), latency_ms, request_id)


class _MessageParts:
    """What a message consists of."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.thoughts: list[str] = []
        self.calls: list[dict[str, str]] = []

    def add_block(self, block: Mapping[str, Any], request_id: str = "") -> None:
        kind = block.get("type")
        if kind == "text" and isinstance(block.get("text"), str):
            self.texts.append(block["text"])
        elif kind in ("thinking", "redacted_thinking"):
            thought = block.get("thinking")
            self.thoughts.append(thought if isinstance(thought, str) else "")
        elif kind == "tool_use":
            arguments = block.get("input")
            text = json.dumps(arguments if arguments is not None else {}, ensure_ascii=False)
            self.calls.append({"name": storable(str(block.get("name") or "")), "arguments": storable(text)})
        else:
            raise unreadable_error(f"The answer has a block that is not text: {str(kind)[:60]!r}", request_id)

    def completion(self, message: Mapping[str, Any], usage: object, latency_ms: float, request_id: str) -> Completion:
        reason = str(message.get("stop_reason") or "")
        text = storable("".join(self.texts))
        counts = usage if isinstance(usage, Mapping) else {}
        fresh, read, written, out = (
            read_count(counts.get(name))
            for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
        )
        details = counts.get("output_tokens_details")
        reasoning = details.get("thinking_tokens") if isinstance(details, Mapping) else None
        is_refusal = reason == "refusal"
        return Completion(
            text="" if is_refusal else text,
            refusal=text or "The model refused." if is_refusal else "",
            thinking=storable("".join(self.thoughts)),
            finish_reason=STOPS.get(reason, storable(reason)[:30]),
            tool_calls=self.calls or None,
            # Its count of input leaves out what a cache read or wrote; ours is the whole question.
            tokens_in=fresh + read + written,
            tokens_cached=read,
            tokens_cache_write=written,
            tokens_out=out,
            tokens_reasoning=read_count(reasoning),
            latency_ms=latency_ms,
            request_id=storable(request_id or str(message.get("id") or ""))[:100],
            model=storable(str(message.get("model") or "")),
        )


class MessageStream:
    """A message is put together from its blocks, which come in pieces; its counts come at both ends."""

    def __init__(self) -> None:
        self._message: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}
        self._blocks: dict[Any, dict[str, Any]] = {}
        self._is_over = False
        self._size = 0

    def add(self, event: Mapping[str, Any]) -> str:
        kind = event.get("type")
        if kind == "error":
            raise error_in_answer(event.get("error") or event)
        if kind == "message_start":
            self._take(event.get("message"))
        elif kind == "message_delta":
            self._take(event.get("delta"))
            self._take({"usage": event.get("usage")})
        elif kind == "message_stop":
            self._is_over = True
        elif kind == "content_block_start" and isinstance(event.get("content_block"), Mapping):
            self._blocks[event.get("index")] = {**event["content_block"], "pieces": []}
        elif kind == "content_block_delta" and isinstance(event.get("delta"), Mapping):
            return self._add_delta(event.get("index"), event["delta"])
        return ""

    def _take(self, members: object) -> None:
        if isinstance(members, Mapping):
            self._message |= {name: value for name, value in members.items() if value is not None}
            usage = members.get("usage")
            if isinstance(usage, Mapping):
                self._usage |= {name: value for name, value in usage.items() if value is not None}

    def _add_delta(self, index: object, delta: Mapping[str, Any]) -> str:
        member = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}.get(
            str(delta.get("type"))
        )
        piece = delta.get(member) if member else None
        if not isinstance(piece, str):
            return ""
        self._size += len(piece)
        if self._size > MAX_ANSWER_CHARACTERS:
            raise garbled_error("The answer does not end.")
        kind = {"thinking": "thinking", "partial_json": "tool_use"}.get(str(member), "text")
        self._blocks.setdefault(index, {"type": kind, "pieces": []})["pieces"].append(piece)
        return piece if member == "text" else ""

    def completion(self, latency_ms: float) -> Completion:
        if not (self._is_over or self._message.get("stop_reason")):
            raise garbled_error("The stream ended before the answer did.")
        answer = _MessageParts()
        for block in self._blocks.values():
            text = "".join(block.pop("pieces"))
            if block.get("type") == "tool_use":
                block["input"] = _read_arguments(text)
            elif text:
                member = "thinking" if block.get("type") == "thinking" else "text"
                block[member] = f"{block.get(member) or ''}{text}"
            answer.add_block(block)
        return answer.completion(self._message, self._usage, latency_ms, "")


def _read_arguments(text: str) -> Any:
    try:
        return json.loads(text) if text else {}
    except ValueError:
        # As the model wrote them: whoever reads the call sees that they are no JSON.
        return text


def stream_reader() -> MessageStream:
    return MessageStream()
