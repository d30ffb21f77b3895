"""OpenAI's Responses, as its published reference has it (POST /v1/responses). Pure.

Nothing is stored at the provider (`store` false), unless the version says so: Cuebook keeps its own record.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from core.model_settings import read_settings
from evaluations.providers.answer_shapes import (
    MAX_ANSWER_CHARACTERS,
    error_in_answer,
    garbled_error,
    read_count,
    unreadable_error,
)
from evaluations.providers.chat import CallError, ChatRequest, Completion, Remedy, storable
from evaluations.providers.wires.turns import chosen_function, names_of_speakers, unfit_tools, unknown_members
from registry.content.model_profiles.refusals import ModelRefusal

# Settings that Responses has under the same name.
SAME = frozenset(
    {
        *("temperature", "top_p", "top_logprobs", "parallel_tool_calls", "tool_choice", "service_tier", "metadata"),
        *("store", "safety_identifier", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"),
        *("truncation", "user", "include", "max_tool_calls"),
        # With members that we have no word for: mode, context.
        "reasoning",
    }
)
STOPS = {"max_output_tokens": "length", "content_filter": "content_filter"}
TITLE = "Responses"


def unfit_settings(request: ChatRequest) -> list[ModelRefusal]:
    settings = read_settings(request.parameters)
    refusals = [
        ModelRefusal(name, f"/model/{name}", f"{TITLE} has no {name}; leave it out, or use Chat Completions.")
        for name in settings.others
        if name not in SAME
    ]
    if settings.prompt_cache is not None:
        sentence = f"{TITLE} caches by itself; name prompt_cache_key or prompt_cache_options in place of prompt_cache."
        refusals.append(ModelRefusal("prompt_cache", "/model/prompt_cache", sentence))
    refusals += unfit_tools(request.tools, TITLE)
    return refusals


def unfit_messages(request: ChatRequest) -> list[ModelRefusal]:
    return [*unknown_members(request.messages, TITLE), *names_of_speakers(request.messages, TITLE)]


def write_body(request: ChatRequest) -> dict[str, Any]:
    settings = read_settings(request.parameters).without_idle_effort(request.profile.efforts)
    body: dict[str, Any] = {
        "model": request.model,
        "input": [item for message in request.messages for item in _items(message)],
        "store": False,
        **settings.others,
    }
    if name := chosen_function(body.get("tool_choice")):
        body["tool_choice"] = {"type": "function", "name": name}
    if settings.max_output_tokens is not None:
        body["max_output_tokens"] = settings.max_output_tokens
    reasoning = {"effort": settings.effort, "summary": settings.summary}
    if any(reasoning.values()):
        body["reasoning"] = {name: value for name, value in reasoning.items() if value is not None}
    text = {"verbosity": settings.verbosity, "format": _format(request.response_format)}
    if any(text.values()):
        body["text"] = {name: value for name, value in text.items() if value is not None}
    if request.tools:
        # Left out, `strict` would be true here: a schema that was fine for Chat Completions would be refused.
        usual = {"strict": False, "parameters": None}
        body["tools"] = [{**usual, **tool["function"], "type": "function"} for tool in request.tools]
    return body


def _format(response_format: Mapping[str, Any] | None) -> dict[str, Any] | None:
    kind = response_format.get("type") if response_format else None
    if response_format is None or kind in (None, "text"):
        return None
    return {"type": kind, **response_format.get("json_schema", {})}


def _items(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    role, content = message["role"], message.get("content")
    if role == "tool":
        parts = content if isinstance(content, str) else [_part(part, role) for part in content or ()]
        yield {"type": "function_call_output", "call_id": message["tool_call_id"], "output": parts}
        return
    if content or message.get("refusal") or not message.get("tool_calls"):
        parts = content if isinstance(content, str) else [_part(part, role) for part in content or ()]
        if message.get("refusal"):
            texts = [{"type": "output_text", "text": parts}] if isinstance(parts, str) and parts else parts or []
            parts = [*texts, {"type": "refusal", "refusal": message["refusal"]}]
        yield {"role": role, "content": parts or ""}
    for call in message.get("tool_calls") or ():
        yield {"type": "function_call", "call_id": call["id"], **call["function"]}


def _part(part: Mapping[str, Any], role: str) -> dict[str, Any]:
    if part["type"] == "text":
        return {"type": "output_text" if role == "assistant" else "input_text", "text": part["text"]}
    image = part["image_url"]
    return {"type": "input_image", "image_url": image["url"], "detail": image.get("detail", "auto")}


def read_answer(document: Mapping[str, Any], latency_ms: float, request_id: str) -> Completion:
    """Read a response; raises a CallError where it failed, or has nothing that can be read."""
    status = document.get("status")
    if status not in (None, "completed", "incomplete") or (document.get("error") and status != "incomplete"):
        raise error_in_answer(document.get("error") or f"the response is {str(status)[:60]}", request_id)
    output = document.get("output")
    if not isinstance(output, list):
        raise garbled_error("The answer has no output.", request_id)
    texts, refusals, thoughts, calls = list[str](), list[str](), list[str](), list[dict[str, Any]]()
    for item in output:
        kind = item.get("type") if isinstance(item, Mapping) else None
        if kind == "message":
            _read_message(item, texts, refusals, request_id)
        elif kind == "reasoning":
            thoughts += [part["text"] for part in _list(item.get("summary")) if isinstance(part.get("text"), str)]
        elif kind == "function_call":
            arguments = item.get("arguments")
            if not isinstance(arguments, str):
                arguments = json.dumps({} if arguments is None else arguments, ensure_ascii=False)
            calls.append({"name": storable(str(item.get("name") or "")), "arguments": storable(arguments)})
        else:
            raise unreadable_error(f"The answer has an item that is not text: {str(kind)[:60]!r}", request_id)
    text = "".join(texts)
    details = document.get("incomplete_details")
    reason = str(details.get("reason") or "") if isinstance(details, Mapping) else ""
    if reason == "content_filter" and not (text or refusals or calls):
        raise CallError("call.filtered", "The provider's content filter withheld the answer.", Remedy.GIVE_UP)
    return Completion(
        text=storable(text),
        thinking=storable("\n\n".join(thoughts)),
        refusal=storable("".join(refusals)),
        finish_reason=STOPS.get(reason, storable(reason)[:30]) or ("tool_calls" if calls else "stop"),
        tool_calls=calls or None,
        latency_ms=latency_ms,
        request_id=storable(request_id or str(document.get("id") or ""))[:100],
        model=storable(str(document.get("model") or "")),
        **_read_usage(document.get("usage")),
    )


def _read_message(item: Mapping[str, Any], texts: list[str], refusals: list[str], request_id: str) -> None:
    content = item.get("content")
    if isinstance(content, str):
        texts.append(content)
        return
    for part in content if isinstance(content, list) else ():
        if not isinstance(part, Mapping):
            raise unreadable_error(f"The answer has a part that is not text: {type(part).__name__!r}", request_id)
        if part.get("type") == "output_text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif part.get("type") == "refusal":
            refusals.append(str(part.get("refusal") or ""))
        else:
            kind = str(part.get("type"))[:60]
            raise unreadable_error(f"The answer has a part that is not text: {kind!r}", request_id)


def _list(value: object) -> Sequence[Mapping[str, Any]]:
    return [member for member in value if isinstance(member, Mapping)] if isinstance(value, list) else ()


def _read_usage(usage: object) -> dict[str, Any]:
    counts = usage if isinstance(usage, Mapping) else {}
    question, answer = (counts.get(f"{part}_tokens_details") for part in ("input", "output"))
    question, answer = (details if isinstance(details, Mapping) else {} for details in (question, answer))
    return {
        "tokens_in": read_count(counts.get("input_tokens")),
        "tokens_cached": read_count(question.get("cached_tokens")),
        "tokens_cache_write": read_count(question.get("cache_write_tokens")),
        "tokens_out": read_count(counts.get("output_tokens")),
        "tokens_reasoning": read_count(answer.get("reasoning_tokens")),
    }


class ResponseStream:
    """Pieces come as deltas; the last event has the whole response."""

    def __init__(self) -> None:
        self._response: Mapping[str, Any] | None = None
        self._pieces: list[str] = []
        self._size = 0

    def add(self, event: Mapping[str, Any]) -> str:
        kind = event.get("type")
        if kind == "error":
            raise error_in_answer(event.get("error") or event)
        if kind in ("response.completed", "response.incomplete", "response.failed"):
            response = event.get("response")
            self._response = response if isinstance(response, Mapping) else {}
            if kind == "response.failed":
                raise error_in_answer(self._response.get("error") or "the response failed")
        if kind != "response.output_text.delta":
            return ""
        piece = event.get("delta")
        piece = piece if isinstance(piece, str) else ""
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > MAX_ANSWER_CHARACTERS:
            raise garbled_error("The answer does not end.")
        return piece

    def completion(self, latency_ms: float) -> Completion:
        if self._response is None:
            raise garbled_error("The stream ended before the answer did.")
        answer = read_answer(self._response, latency_ms, "")
        # Some servers say the answer in pieces alone.
        is_told = answer.text or answer.refusal or answer.tool_calls
        return answer if is_told else replace(answer, text=storable("".join(self._pieces)))


def stream_reader() -> ResponseStream:
    return ResponseStream()
