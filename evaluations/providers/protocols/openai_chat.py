"""Chat Completions of OpenAI, which most servers speak. Pure."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx2
import openai
import orjson

from evaluations.providers.answer_shapes import (
    StreamedToolCalls,
    error_in_answer,
    read_content,
    read_count,
    split_thinking,
)
from evaluations.providers.base import ChatProtocol
from evaluations.providers.chat import CallError, ChatRequest, Completion, Endpoint, Remedy, storable
from evaluations.providers.openai_client import (
    MAX_ANSWER_CHARACTERS,
    MAX_TIMEOUTS,
    client_over,
    garbled_error,
    open_connections,
    read_object,
    translate_error,
)
from evaluations.providers.outbound import Destinations
from evaluations.providers.posts import Posts
from registry.content import tokens

# A day: anything longer is no time of a call.
MAX_SERVER_MS = 86_400_000.0
logger = logging.getLogger(__name__)


@asynccontextmanager
async def open_chat(endpoint: Endpoint, destinations: Destinations) -> AsyncIterator["OpenAIChat"]:
    """Open a chat over connections that are closed at the end."""
    http = open_connections(endpoint, destinations)
    async with client_over(http, endpoint) as client:
        yield OpenAIChat(client, Posts(client, http, "/chat/completions"), endpoint.timeout_seconds)


class OpenAIChat:
    def __init__(self, client: openai.AsyncOpenAI, posts: Posts, seconds: float) -> None:
        self._client = client
        self._posts = posts
        # For a whole answer, from the first byte sent to the last one received.
        self._seconds = MAX_TIMEOUTS * seconds

    async def complete(self, request: ChatRequest, *, key: str = "") -> Completion:
        """Return the model's answer, or raise a CallError. `key` names the call: a server that supports idempotency
        keys answers the same call again without doing, or charging, it again."""
        started = time.perf_counter()
        try:
            # A server that sends a byte now and then is late as well: the transport's timeout is from byte to byte.
            async with asyncio.timeout(self._seconds):
                raw = await self._posts.post(request.body(), {"Idempotency-Key": key} if key else {})
                text = raw.text
        except Exception as error:
            raise translate_error(error) from error
        latency = (time.perf_counter() - started) * 1000
        answer = read_completion(text, latency, raw.headers.get("x-request-id") or "")
        return _with_usage(answer, request)

    async def stream(self, request: ChatRequest) -> AsyncIterator[str | Completion]:
        """Yield the pieces of an answer as they come, then the answer."""
        started = time.perf_counter()
        streamed = _StreamedAnswer()
        try:
            chunks = await self._open_stream(request.body())
            async for chunk in chunks:
                if piece := streamed.add(chunk):
                    yield piece
        except CallError:
            raise
        except Exception as error:
            raise translate_error(error) from error
        yield _with_usage(streamed.completion((time.perf_counter() - started) * 1000), request)

    async def _open_stream(self, body: dict[str, Any]) -> Any:
        """Open a stream that tells the tokens at its end; from a server that refuses to be asked for them, without."""
        create = self._client.chat.completions.create
        try:
            return await create(**body, stream=True, stream_options={"include_usage": True})
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            if "stream_options" not in str(error):
                raise
        return await create(**body, stream=True)

    async def models(self) -> list[dict[str, Any]]:
        """List the server's models: `{"name": ..., "shutdown_date": ... or None}`."""
        try:
            raw = await self._client.models.with_raw_response.list()
            listed = _read_models(raw.text)
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

    async def slots(self) -> int | None:
        """Return the slots of a llama.cpp server, which tells them beside its OpenAI addresses; None for others, which
        answer anything there."""
        root = self._client.with_options(base_url=str(self._client.base_url).rstrip("/").removesuffix("/v1"))
        try:
            raw = await root.get("/props", cast_to=httpx2.Response)
            slots = read_object(raw.text).get("total_slots")
        except Exception as error:
            logger.info("slots.not_told %s", translate_error(error).code)
            return None
        return read_count(slots) or None


def _read_models(text: str) -> Any:
    """Return the list of models: OpenAI's `data`, or the bare list that some servers answer with."""
    return orjson.loads(text) if text.lstrip().startswith("[") else read_object(text).get("data")


class _StreamedAnswer:
    """A streamed answer, put together from its pieces."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._refusals: list[str] = []
        self._calls = StreamedToolCalls()
        self._size = 0
        self._finish = ""
        self._usage: Any = None
        self._model = self._id = ""

    def add(self, chunk: Any) -> str:
        """Add a chunk and return its text. A chunk may have any shape at all."""
        self._model, self._id = str(getattr(chunk, "model", "") or ""), str(getattr(chunk, "id", "") or "")
        self._usage = getattr(chunk, "usage", None) or self._usage
        if error := getattr(chunk, "error", None):
            raise error_in_answer(error)
        choices = getattr(chunk, "choices", None)
        if not isinstance(choices, list) or not choices:
            return ""
        self._finish = str(getattr(choices[0], "finish_reason", None) or self._finish)
        if (error := getattr(choices[0], "error", None)) or self._finish == "error":
            raise error_in_answer(error or "the provider ended it so")
        delta = getattr(choices[0], "delta", None)
        for call in getattr(delta, "tool_calls", None) or ():
            function = getattr(call, "function", None)
            name, arguments = (getattr(function, member, None) for member in ("name", "arguments"))
            self._grow(self._calls.add(getattr(call, "index", None), getattr(call, "id", None), name, arguments))
        if refusal := getattr(delta, "refusal", None):
            self._refusals.append(str(refusal))
            self._grow(len(str(refusal)))
        piece = read_content(getattr(delta, "content", None), streamed=True).text
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
        usage = self._usage.to_dict() if hasattr(self._usage, "to_dict") else {}
        answer = split_thinking("".join(self._texts))
        return Completion(
            text=storable(answer.text),
            thinking=storable(answer.thinking),
            refusal=storable("".join(self._refusals)),
            finish_reason=storable(self._finish)[:30],
            tool_calls=self._calls.as_list() or None,
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
    if error := document.get("error") or (first.get("error") if isinstance(first, dict) else None):
        raise error_in_answer(error, request_id)
    if not isinstance(first, dict) or not isinstance(message, dict):
        raise garbled_error("The answer has no choices.", request_id)
    finish_reason = str(first.get("finish_reason") or "")
    if finish_reason == "error":
        raise error_in_answer("the provider ended it so", request_id)
    answer = read_content(message.get("content"), request_id)
    refusal, calls = message.get("refusal") or answer.refusal, _read_tool_calls(message.get("tool_calls"))
    if not answer.text and not refusal and not calls and finish_reason == "content_filter":
        raise CallError("call.filtered", "The provider's content filter withheld the answer.", Remedy.GIVE_UP)
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    return Completion(
        text=storable(answer.text),
        thinking=storable(answer.thinking or (reasoning if isinstance(reasoning, str) else "")),
        refusal=storable(str(refusal or "")),
        finish_reason=storable(finish_reason)[:30],
        tool_calls=calls,
        latency_ms=latency_ms,
        request_id=storable(request_id or str(document.get("id") or ""))[:100],
        model=storable(str(document.get("model") or "")),
        server_ms=_read_server_ms(document.get("timings")),
        **_read_usage(document.get("usage")),
    )


def _read_server_ms(timings: Any) -> float | None:
    """Return a server's own time for a call, as llama.cpp tells it: reading and writing, without the queue."""
    times = [timings.get(name) for name in ("prompt_ms", "predicted_ms")] if isinstance(timings, dict) else [None]
    numbers = [float(time) for time in times if isinstance(time, int | float) and 0 <= time < MAX_SERVER_MS]
    return sum(numbers) if len(numbers) == len(times) else None


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


def _read_usage(usage: Any) -> dict[str, Any]:
    """Read a server's token counts, 0 where it counted nothing."""
    usage = usage if isinstance(usage, dict) else {}
    question, answer = (usage.get(f"{part}_tokens_details") for part in ("prompt", "completion"))
    question, answer = (details if isinstance(details, dict) else {} for details in (question, answer))
    counts = {
        "tokens_in": usage.get("prompt_tokens"),
        # DeepSeek tells the cached ones beside the others.
        "tokens_cached": question.get("cached_tokens") or usage.get("prompt_cache_hit_tokens"),
        # OpenRouter's name, and Anthropic's own.
        "tokens_cache_write": question.get("cache_write_tokens") or usage.get("cache_creation_input_tokens"),
        "tokens_out": usage.get("completion_tokens"),
        "tokens_reasoning": answer.get("reasoning_tokens"),
    }
    counted = {name: read_count(value) for name, value in counts.items()}
    if read_count(usage.get("total_tokens")) == sum(
        counted[name] for name in ("tokens_in", "tokens_out", "tokens_reasoning")
    ):
        # xAI counts reasoning beside the completion, and bills both.
        counted["tokens_out"] += counted["tokens_reasoning"]
    return counted


def _with_usage(answer: Completion, request: ChatRequest) -> Completion:
    """Count the tokens of a call for which the provider tells none. As 0 they would cost nothing, and no budget would
    end a run."""
    if answer.tokens_in or answer.tokens_out:
        return answer
    calls = json.dumps(answer.tool_calls) if answer.tool_calls else ""
    return replace(
        answer,
        tokens_in=tokens.count_messages(request.messages, request.model).tokens,
        tokens_out=tokens.count(f"{answer.thinking}{answer.text}{calls}", request.model).tokens,
        is_usage_estimated=True,
    )


PROTOCOL = ChatProtocol("Chat Completions (OpenAI and compatible servers)", open_chat)
