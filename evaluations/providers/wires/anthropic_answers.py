"""Answers of Anthropic's Messages, whole and in pieces. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from evaluations.providers.answer_shapes import (
    MAX_ANSWER_CHARACTERS,
    error_in_answer,
    garbled_error,
    read_count,
    sum_counts,
    unreadable_error,
)
from evaluations.providers.chat import Completion, storable

STOPS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


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
            # In pieces they are the model's own words, which may be no JSON.
            arguments = block["arguments"] if "arguments" in block else _as_json(block.get("input"))
            self.calls.append({"name": storable(str(block.get("name") or "")), "arguments": storable(arguments)})
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
            tokens_in=sum_counts(fresh, read, written),
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
            if event.get("index") in self._blocks:
                raise garbled_error("The stream begins the same block twice.")
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
                block["arguments"] = text or _as_json(block.get("input"))
            elif text:
                member = "thinking" if block.get("type") == "thinking" else "text"
                block[member] = f"{block.get(member) or ''}{text}"
            answer.add_block(block)
        return answer.completion(self._message, self._usage, latency_ms, "")


def _as_json(arguments: object) -> str:
    return json.dumps({} if arguments is None else arguments, ensure_ascii=False)


def stream_reader() -> MessageStream:
    return MessageStream()
