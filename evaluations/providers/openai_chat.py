"""Chat with any server that speaks OpenAI's protocol, and all the errors of it. Pure.

The client does not check a server's answer: 200 with an HTML page, with half a JSON document or with no choices are
answers to it. Here they are errors. Nothing is retried here: the caller knows the cost of a second call.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import httpx2
import openai
import orjson
from httpx_aiohttp.httpx2 import AiohttpTransport

from evaluations.providers.chat import CallError, ChatRequest, Completion, Endpoint, Remedy, storable
from evaluations.providers.outbound import Destinations, GuardedResolver

CONNECT_SECONDS = 5.0
# A whole answer may take so many times the provider's timeout.
MAX_TIMEOUTS = 3
MAX_DETAIL_LENGTH = 500
# A longer text is not an answer to a prompt; it would only fill the memory.
MAX_ANSWER_CHARACTERS = 2_000_000
# For any answer's body, files of results included; far less for one that is compressed although that was not requested.
MAX_BODY_BYTES = 32_000_000
MAX_PACKED_BYTES = 1_000_000
NO_CREDIT = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})


@asynccontextmanager
async def open_chat(endpoint: Endpoint, destinations: Destinations) -> AsyncIterator["OpenAIChat"]:
    """Open a chat over connections that are closed at the end."""
    async with open_client(endpoint, destinations) as client:
        yield OpenAIChat(client, endpoint.timeout_seconds)


@asynccontextmanager
async def open_client(endpoint: Endpoint, destinations: Destinations) -> AsyncIterator[openai.AsyncOpenAI]:
    """Open a client whose connections are closed at the end. It follows no redirect and uses no proxy: both would reach
    unchecked addresses."""
    destinations.require(endpoint.base_url)

    def session() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=endpoint.connections, resolver=GuardedResolver(destinations))
        # Cookies of one provider's answers must not be sent later.
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)

    http = httpx2.AsyncClient(
        transport=_Bounded(AiohttpTransport(client=session)),
        # An uncompressed body cannot expand.
        headers={"Accept-Encoding": "identity"},
        timeout=httpx2.Timeout(endpoint.timeout_seconds, connect=CONNECT_SECONDS),
        follow_redirects=False,
        trust_env=False,
    )
    client = openai.AsyncOpenAI(
        base_url=endpoint.base_url, api_key=endpoint.api_key or "none", max_retries=0, http_client=http
    )
    async with client:
        yield client


class _Bounded(httpx2.AsyncBaseTransport):
    """A transport with bounded answers: an endless body ends with an error instead of filling the memory."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await self._inner.handle_async_request(request)
        packed = response.headers.get("content-encoding", "identity") != "identity"
        max_bytes = MAX_PACKED_BYTES if packed else MAX_BODY_BYTES
        if isinstance(response.stream, httpx2.AsyncByteStream):
            response.stream = _BoundedStream(response.stream, max_bytes)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream, max_bytes: int) -> None:
        self._inner, self._max_bytes = inner, max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for piece in self._inner:
            size += len(piece)
            if size > self._max_bytes:
                raise garbled_error("The answer does not end.")
            yield piece

    async def aclose(self) -> None:
        await self._inner.aclose()


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


def read_object(text: str, request_id: str = "") -> Mapping[str, Any]:
    """Read the body of a 200 as a JSON object, or raise a CallError."""
    try:
        document = orjson.loads(text)
    except ValueError:
        start = text.lstrip()[:80]
        what = "an HTML page" if start.startswith("<") else "something that is not JSON"
        raise garbled_error(f"Answered 200 with {what}: {start!r}", request_id) from None
    if not isinstance(document, dict):
        raise garbled_error("The answer is not a JSON object.", request_id)
    return document


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


def garbled_error(detail: str, request_id: str = "") -> CallError:
    return CallError("call.garbled", storable(detail[:MAX_DETAIL_LENGTH]), Remedy.RETRY, request_id=request_id)


def translate_error(error: Exception) -> CallError:
    """Translate any error of the client to a CallError with its remedy."""
    if isinstance(error, CallError):
        return error
    if isinstance(error, TimeoutError):
        return CallError("call.timeout", "The provider did not finish its answer in time.", Remedy.RETRY)
    cause = error.__cause__ or error
    # The transport reports every failed connection as a timeout; the cause below tells them apart.
    is_late = isinstance(error, openai.APITimeoutError) and not isinstance(cause.__cause__, aiohttp.ClientOSError)
    if is_late and not isinstance(cause.__cause__, aiohttp.ServerDisconnectedError):
        return CallError("call.timeout", "The provider did not answer in time.", Remedy.RETRY)
    if isinstance(error, openai.APIConnectionError):
        return _unreachable_error(f"The provider cannot be reached: {cause}")
    if isinstance(error, openai.APIStatusError):
        return _status_error(error)
    if isinstance(error, ValueError | TypeError | AttributeError | openai.OpenAIError):
        return garbled_error(f"The answer cannot be read: {error}")
    if isinstance(error, OSError | httpx2.HTTPError | aiohttp.ClientError):
        return _unreachable_error(f"The connection broke: {error}")
    raise error


def _unreachable_error(detail: str) -> CallError:
    return CallError("call.unreachable", storable(detail[:MAX_DETAIL_LENGTH]), Remedy.RETRY)


def _status_error(error: openai.APIStatusError) -> CallError:
    status, code = error.status_code, str(error.code or "")
    detail = storable(f"{status}: {_error_detail(error)}"[:MAX_DETAIL_LENGTH])
    request_id = storable(str(error.request_id or "")[:100])

    def failure(name: str, remedy: Remedy, retry_after: float | None = None) -> CallError:
        return CallError(name, detail, remedy, retry_after, request_id)

    if code in NO_CREDIT or error.type in NO_CREDIT:
        return failure("call.no_credit", Remedy.CONFIGURE)
    if status == 429:
        return failure("call.rate_limited", Remedy.RETRY, retry_after(error.response.headers))
    if status in (401, 403):
        return failure("call.not_allowed", Remedy.CONFIGURE)
    if status == 404 or code == "model_not_found":
        return failure("call.unknown_model", Remedy.CONFIGURE)
    if 300 <= status < 400:
        return failure("call.redirected", Remedy.CONFIGURE)
    if status in (408, 409, 425) or status >= 500:
        return failure("call.overloaded", Remedy.RETRY, retry_after(error.response.headers))
    return failure("call.refused", Remedy.GIVE_UP)


def _error_detail(error: openai.APIStatusError) -> str:
    body = error.body
    if isinstance(body, dict) and isinstance(body.get("message"), str):
        return str(body["message"])
    text = str(body) if body else str(error.message)
    return "an HTML page" if text.lstrip().startswith("<") else text


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read the pause in seconds that a provider asks for; it may be in milliseconds, or unreadable."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) / unit
        except ValueError:
            continue
        if 0 <= seconds < 86_400:
            return seconds
    return None
