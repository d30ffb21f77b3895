"""Answers of the inference service in OpenAI's wires: whole, streamed, and errors. Pure."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from core.errors import Problem
from evaluations.providers.chat import CallError, Completion, storable

DONE = b"data: [DONE]\n\n"
# Codes of calls, as HTTP says them; any other is what the provider did.
STATUS_OF_CALL_ERROR = {
    "call.rate_limited": 429,
    "call.timeout": 504,
    "gateway.model_down": 503,
    "gateway.no_turn": 503,
    "call.overloaded": 503,
    "call.refused": 400,
    "call.setting_refused": 400,
    "call.inexpressible": 400,
}

# Why Responses calls an answer incomplete, by Chat Completions' finish reason.
INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


def event(document: Mapping[str, Any], name: str = "") -> bytes:
    """Write a server-sent event."""
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + orjson.dumps(document) + b"\n\n"


def error_document(error: Problem | CallError) -> tuple[int, dict[str, Any]]:
    """Return a refusal's status and its document in OpenAI's shape; `code` is ours."""
    if isinstance(error, Problem):
        status, code, pointer = error.kind.status, error.code, error.faults[0].pointer if error.faults else None
        kind = {401: "authentication_error", 403: "permission_error", 404: "not_found_error"}.get(status)
    else:
        status, code, pointer, kind = STATUS_OF_CALL_ERROR.get(error.code, 502), error.code, None, None
    kind = kind or (
        "rate_limit_error" if status == 429 else "server_error" if status >= 500 else "invalid_request_error"
    )
    parameter = pointer.strip("/").replace("/", ".") if pointer else None
    sentence = error.detail
    return status, {"error": {"message": sentence, "type": kind, "param": parameter, "code": code}}


def chat_usage(answer: Completion) -> dict[str, Any]:
    return {
        "prompt_tokens": answer.tokens_in,
        "completion_tokens": answer.tokens_out,
        "total_tokens": answer.tokens_in + answer.tokens_out,
        "prompt_tokens_details": {"cached_tokens": answer.tokens_cached},
        "completion_tokens_details": {"reasoning_tokens": answer.tokens_reasoning},
    }


def _tool_calls(answer: Completion, call: str) -> list[dict[str, Any]]:
    """Return the tools that a model calls as OpenAI writes them. The ids are ours: not every protocol has some."""
    return [
        {
            "id": f"call_{call}_{place}",
            "type": "function",
            "function": {"name": each["name"], "arguments": each["arguments"]},
        }
        for place, each in enumerate(answer.tool_calls or ())
    ]


def chat_answer(answer: Completion, call: str, model: str) -> dict[str, Any]:
    """Return an answer as Chat Completions writes it."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None, "refusal": answer.refusal or None}
    if calls := _tool_calls(answer, call):
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "finish_reason": answer.finish_reason or "stop", "logprobs": None}
    head = {"id": f"chatcmpl-{call}", "object": "chat.completion", "created": int(time.time()), "model": model}
    return {**head, "choices": [choice], "usage": chat_usage(answer)}


@dataclass
class ChatStream:
    """Writes a streamed answer as Chat Completions does."""

    call: str
    model: str
    includes_usage: bool
    created: int = field(default_factory=lambda: int(time.time()))

    def begin(self) -> bytes:
        return self._chunk({"role": "assistant", "content": ""})

    def piece(self, text: str) -> bytes:
        return self._chunk({"content": storable(text)})

    def end(self, answer: Completion) -> Iterator[bytes]:
        if answer.refusal:
            yield self._chunk({"refusal": answer.refusal})
        if calls := _tool_calls(answer, self.call):
            yield self._chunk({"tool_calls": [{"index": place, **each} for place, each in enumerate(calls)]})
        yield self._chunk({}, answer.finish_reason or "stop")
        if self.includes_usage:
            yield event({**self._head(), "choices": [], "usage": chat_usage(answer)})
        yield DONE

    def fail(self, error: CallError | Problem) -> Iterator[bytes]:
        yield event(error_document(error)[1])
        yield DONE

    def _head(self) -> dict[str, Any]:
        head = {"id": f"chatcmpl-{self.call}", "object": "chat.completion.chunk"}
        return {**head, "created": self.created, "model": self.model}

    def _chunk(self, delta: Mapping[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
        return event({**self._head(), "choices": [choice]})


def responses_answer(answer: Completion, call: str, model: str, created: int | None = None) -> dict[str, Any]:
    """Return an answer as Responses writes it."""
    reason = INCOMPLETE.get(answer.finish_reason)
    output: list[dict[str, Any]] = []
    if answer.text or answer.refusal or not answer.tool_calls:
        output.append(_message_item(answer, call, has_text=bool(answer.text) or not answer.refusal))
    output += [
        {
            "type": "function_call",
            "id": f"fc_{call}_{place}",
            "call_id": each["id"],
            "name": each["function"]["name"],
            "arguments": each["function"]["arguments"],
            "status": "completed",
        }
        for place, each in enumerate(_tool_calls(answer, call))
    ]
    return {
        **_response_head(call, model, created),
        "status": "incomplete" if reason else "completed",
        "incomplete_details": {"reason": reason} if reason else None,
        "output": output,
        "usage": {
            "input_tokens": answer.tokens_in,
            "input_tokens_details": {
                "cached_tokens": answer.tokens_cached,
                "cache_write_tokens": answer.tokens_cache_write,
            },
            "output_tokens": answer.tokens_out,
            "output_tokens_details": {"reasoning_tokens": answer.tokens_reasoning},
            "total_tokens": answer.tokens_in + answer.tokens_out,
        },
    }


def _response_head(call: str, model: str, created: int | None) -> dict[str, Any]:
    created = int(time.time()) if created is None else created
    return {
        **{"id": f"resp_{call}", "object": "response", "created_at": created, "model": model},
        **{"error": None, "instructions": None, "metadata": {}, "parallel_tool_calls": True, "tools": []},
        **{"tool_choice": "auto", "temperature": None, "top_p": None},
    }


def _message_item(answer: Completion, call: str, *, has_text: bool) -> dict[str, Any]:
    part = {"type": "output_text", "text": answer.text, "annotations": []}
    refusal = {"type": "refusal", "refusal": answer.refusal}
    content = [*([part] if has_text else []), *([refusal] if answer.refusal else [])]
    status = "incomplete" if answer.finish_reason in INCOMPLETE else "completed"
    return {"type": "message", "id": f"msg_{call}", "role": "assistant", "status": status, "content": content}


@dataclass
class ResponsesStream:
    """Writes a streamed answer as Responses does."""

    call: str
    model: str
    includes_usage: bool = True
    number: int = 0
    created: int = field(default_factory=lambda: int(time.time()))

    def begin(self) -> bytes:
        head = {
            **_response_head(self.call, self.model, self.created),
            "status": "in_progress",
            "output": [],
            "usage": None,
        }
        item = {
            "type": "message",
            "id": f"msg_{self.call}",
            "role": "assistant",
            "status": "in_progress",
            "content": [],
        }
        part = {"type": "output_text", "text": "", "annotations": []}
        return b"".join(
            (
                self._event("response.created", {"response": head}),
                self._event("response.in_progress", {"response": head}),
                self._event("response.output_item.added", {"output_index": 0, "item": item}),
                self._event("response.content_part.added", {**self._place(), "part": part}),
            )
        )

    def piece(self, text: str) -> bytes:
        return self._event("response.output_text.delta", {**self._place(), "delta": storable(text), "logprobs": []})

    def end(self, answer: Completion) -> Iterator[bytes]:
        whole = responses_answer(answer, self.call, self.model, self.created)
        # The item that the stream began with, whose first part is text: there, even where the answer has none.
        item = _message_item(answer, self.call, has_text=True)
        whole["output"] = [item, *(each for each in whole["output"] if each["type"] != "message")]
        yield self._event("response.output_text.done", {**self._place(), "text": answer.text, "logprobs": []})
        yield self._event("response.content_part.done", {**self._place(), "part": item["content"][0]})
        yield from self._refusal(answer.refusal)
        yield self._event("response.output_item.done", {"output_index": 0, "item": item})
        for place, call in enumerate(whole["output"][1:], start=1):
            added = {**call, "arguments": "", "status": "in_progress"}
            where = {"output_index": place, "item_id": call["id"]}
            yield self._event("response.output_item.added", {"output_index": place, "item": added})
            yield self._event("response.function_call_arguments.delta", {**where, "delta": call["arguments"]})
            done = {**where, "arguments": call["arguments"], "name": call["name"]}
            yield self._event("response.function_call_arguments.done", done)
            yield self._event("response.output_item.done", {"output_index": place, "item": call})
        name = "response.incomplete" if whole["status"] == "incomplete" else "response.completed"
        yield self._event(name, {"response": whole})

    def fail(self, error: CallError | Problem) -> Iterator[bytes]:
        document = error_document(error)[1]["error"]
        yield self._event("error", {"code": document["code"], "message": document["message"], "param": None})

    def _refusal(self, refusal: str) -> Iterator[bytes]:
        """A refusal is a part of its own, after the text that came, if any."""
        if not refusal:
            return
        place = {**self._place(), "content_index": 1}
        part = {"type": "refusal", "refusal": refusal}
        yield self._event("response.content_part.added", {**place, "part": {**part, "refusal": ""}})
        yield self._event("response.refusal.delta", {**place, "delta": refusal})
        yield self._event("response.refusal.done", {**place, "refusal": refusal})
        yield self._event("response.content_part.done", {**place, "part": part})

    def _place(self) -> dict[str, Any]:
        return {"item_id": f"msg_{self.call}", "output_index": 0, "content_index": 0}

    def _event(self, name: str, members: Mapping[str, Any]) -> bytes:
        document = {"type": name, "sequence_number": self.number, **members}
        self.number += 1
        return event(document, name)
