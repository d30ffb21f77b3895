"""Chat Completions of OpenAI, which most servers speak. Pure."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import openai

from evaluations.providers.base import ChatProtocol
from evaluations.providers.chat import CallError, ChatRequest, Completion, Endpoint, Remedy, storable
from evaluations.providers.openai_client import (
    MAX_ANSWER_CHARACTERS,
    MAX_TIMEOUTS,
    garbled_error,
    open_client,
    read_object,
    translate_error,
)
from evaluations.providers.outbound import Destinations


@asynccontextmanager
async def open_chat(endpoint: Endpoint, destinations: Destinations) -> AsyncIterator["OpenAIChat"]:
    """Open a chat over connections that are closed at the end."""
    async with open_client(endpoint, destinations) as client:
        yield OpenAIChat(client, endpoint.timeout_seconds)


class OpenAIChat:
    def __init__(self, client: openai.AsyncOpenAI, seconds: float) -> None:
        self._client = client
        # For a whole answer, from the first byte sent to the last one received.
        self._seconds = MAX_TIMEOUTS * seconds

    async def complete(self, request: ChatRequest, *, key: str = "") -> Completion:
        """Return the model's answer, or raise a CallError. `key` names the call: a server that supports idempotency
        keys answers the same call again without doing, or charging, it again."""
        started = time.perf_counter()
        try:
            # The body is in the protocol's form already, so the client need not convert it member by member: half the
            # time of a call, where many are made.
            # A server that sends a byte now and then is late as well: the transport's timeout is from byte to byte.
            async with asyncio.timeout(self._seconds):
                raw = await self._client.post(
                    "/chat/completions",
                    cast_to=httpx2.Response,
                    body=request.body(),
                    options={"headers": {"Idempotency-Key": key}} if key else {},
                )
                text = raw.text
        except Exception as error:
            raise translate_error(error) from error
        latency = (time.perf_counter() - started) * 1000
        return read_completion(text, latency, raw.headers.get("x-request-id") or "")

    async def stream(self, request: ChatRequest) -> AsyncIterator[str | Completion]:
        """Yield the pieces of an answer as they come, then the answer."""
        started = time.perf_counter()
        streamed = _StreamedAnswer()
        try:
            chunks = await self._client.chat.completions.create(
                **request.body(), stream=True, stream_options={"include_usage": True}
            )
            async for chunk in chunks:
                if piece := streamed.add(chunk):
                    yield piece
        except CallError:
            raise
        except Exception as error:
            raise translate_error(error) from error
        yield streamed.completion((time.perf_counter() - started) * 1000)

    async def models(self) -> list[dict[str, Any]]:
        """List the server's models: `{"name": ..., "shutdown_date": ... or None}`."""
        try:
            raw = await self._client.models.with_raw_response.list()
            listed = read_object(raw.text).get("data")
        except CallError:
            raise
        except Exception as error:
            raise translate_error(error) from error
        if not isinstance(listed, list):
            raise garbled_error("The answer to GET /models has no list of models.")
        return [
            {"name": str(model["id"])[:200], "shutdown_date": model.get("shutdown_date")}
            for model in listed
            if isinstance(model, dict) and model.get("id")
        ]


class _StreamedAnswer:
    """A streamed answer, put together from its pieces."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._refusals: list[str] = []
        self._calls: dict[int, dict[str, Any]] = {}
        self._size = 0
        self._finish = ""
        self._usage: Any = None
        self._model = self._id = ""

    def add(self, chunk: Any) -> str:
        """Add a chunk and return its text. A chunk may have any shape at all."""
        self._model, self._id = str(getattr(chunk, "model", "") or ""), str(getattr(chunk, "id", "") or "")
        self._usage = getattr(chunk, "usage", None) or self._usage
        choices = getattr(chunk, "choices", None)
        if not isinstance(choices, list) or not choices:
            return ""
        self._finish = str(getattr(choices[0], "finish_reason", None) or self._finish)
        delta = getattr(choices[0], "delta", None)
        for call in getattr(delta, "tool_calls", None) or ():
            function = getattr(call, "function", None)
            collected = self._calls.setdefault(int(call.index or 0), {"name": "", "arguments": ""})
            name, arguments = (str(getattr(function, member, None) or "") for member in ("name", "arguments"))
            collected["name"] += name
            collected["arguments"] += arguments
            self._grow(len(name) + len(arguments))
        if refusal := getattr(delta, "refusal", None):
            self._refusals.append(str(refusal))
            self._grow(len(str(refusal)))
        piece = getattr(delta, "content", None)
        if not isinstance(piece, str):
            return ""
        self._texts.append(piece)
        self._grow(len(piece))
        return piece

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > MAX_ANSWER_CHARACTERS:
            raise garbled_error("The answer does not end.")

    def completion(self, latency: float) -> Completion:
        if not (self._texts or self._calls or self._refusals or self._finish):
            raise garbled_error("The stream ended without an answer.")
        usage = self._usage.to_dict() if self._usage is not None else {}
        return Completion(
            text=storable("".join(self._texts)),
            refusal=storable("".join(self._refusals)),
            finish_reason=storable(self._finish)[:30],
            tool_calls=[
                {name: storable(value) for name, value in self._calls[place].items()} for place in sorted(self._calls)
            ]
            or None,
            latency_ms=latency,
            request_id=self._id[:100],
            model=self._model,
            **_read_usage(usage),
        )


def read_completion(text: str, latency_ms: float, request_id: str) -> Completion:
    """Read the body of a 200 as an answer, or raise a CallError."""
    if len(text) > MAX_ANSWER_CHARACTERS:
        raise garbled_error("The answer is too long.", request_id)
    document = read_object(text, request_id)
    choices = document.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    if not isinstance(first, dict) or not isinstance(message, dict):
        if isinstance(document.get("error"), dict):
            raise garbled_error(f"Answered 200 with an error: {document['error'].get('message')!s}", request_id)
        raise garbled_error("The answer has no choices.", request_id)
    content, refusal = message.get("content"), message.get("refusal")
    calls = message.get("tool_calls")
    if not isinstance(content, str) and not refusal and not calls:
        if content is not None:
            raise garbled_error("The answer's content is not text.", request_id)
        if first.get("finish_reason") == "content_filter":
            raise CallError("call.filtered", "The provider's content filter withheld the answer.", Remedy.GIVE_UP)
    return Completion(
        text=storable(content) if isinstance(content, str) else "",
        refusal=storable(str(refusal or "")),
        finish_reason=storable(str(first.get("finish_reason") or ""))[:30],
        tool_calls=_read_tool_calls(calls),
        latency_ms=latency_ms,
        request_id=storable(request_id or str(document.get("id") or ""))[:100],
        model=storable(str(document.get("model") or "")),
        **_read_usage(document.get("usage")),
    )


def _read_tool_calls(calls: Any) -> list[dict[str, Any]] | None:
    if not isinstance(calls, list):
        return None
    functions = [call.get("function") for call in calls if isinstance(call, dict)]
    tool_calls = [
        {"name": storable(str(function.get("name", ""))), "arguments": storable(str(function.get("arguments", "")))}
        for function in functions
        if isinstance(function, dict)
    ]
    return tool_calls or None


def _read_usage(usage: Any) -> dict[str, int]:
    """Read a server's token counts, 0 where it counted nothing."""
    usage = usage if isinstance(usage, dict) else {}
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    counts = {
        "tokens_in": usage.get("prompt_tokens"),
        "tokens_cached": cached,
        "tokens_out": usage.get("completion_tokens"),
    }
    return {name: value if isinstance(value, int) and 0 <= value < 2**31 else 0 for name, value in counts.items()}


PROTOCOL = ChatProtocol("Chat Completions (OpenAI and compatible servers)", open_chat)
