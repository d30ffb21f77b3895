"""Client of servers that speak OpenAI's wire, with bounds on what comes back, and all its errors in our words. Pure.

The library does not check a server's answer: 200 with an HTML page or with half a JSON document are answers to it. Here
they are errors. Nothing is retried here: the caller (evaluations.providers.caller)
knows the cost of a second call.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import aiohttp
import httpx2
import openai
import orjson
from httpx_aiohttp.httpx2 import AiohttpTransport

from evaluations.providers.answer_shapes import NO_CREDIT, error_in_answer, garbled_error, read_object
from evaluations.providers.chat import CallError, Endpoint, Remedy, storable
from evaluations.providers.outbound import Destinations
from evaluations.providers.retries import asked_pause_seconds
from evaluations.providers.transport.guarded_resolver import GuardedResolver
from evaluations.providers.transport.posts import Posts

CONNECT_SECONDS = 5.0
# A whole answer may take so many times the provider's timeout.
MAX_TIMEOUTS = 3
MAX_DETAIL_LENGTH = 500
# What Anthropic and Google say with a 400 that others say with a 402 and a 401.
EMPTY_ACCOUNT, WRONG_KEY = "credit balance is too low", "api key not valid"
# For any answer's body, files of results included; far less for one that is compressed although that was not requested.
MAX_BODY_BYTES = 32_000_000


@asynccontextmanager
async def open_client(endpoint: Endpoint, destinations: Destinations) -> AsyncIterator[openai.AsyncOpenAI]:
    """Open a client whose connections are closed at the end."""
    http = open_connections(endpoint, destinations)
    async with client_over(http, endpoint) as client:
        yield client


def open_connections(endpoint: Endpoint, destinations: Destinations) -> httpx2.AsyncClient:
    """Open connections to a provider, without redirects and proxies: both would reach unchecked addresses."""
    destinations.require(endpoint.base_url)

    def session() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=endpoint.connections, resolver=GuardedResolver(destinations))
        # Cookies of one provider's answers must not be sent later.
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)

    return httpx2.AsyncClient(
        transport=_Bounded(AiohttpTransport(client=session)),
        # An uncompressed body cannot expand.
        headers={"Accept-Encoding": "identity"},
        timeout=httpx2.Timeout(endpoint.timeout_seconds, connect=CONNECT_SECONDS),
        follow_redirects=False,
        trust_env=False,
    )


def client_over(http: httpx2.AsyncClient, endpoint: Endpoint) -> openai.AsyncOpenAI:
    """Return the SDK's client over these connections; it closes them at its end."""
    base, query = split_address(endpoint.base_url)
    return openai.AsyncOpenAI(
        base_url=base,
        api_key=endpoint.api_key or "none",
        max_retries=0,
        http_client=http,
        default_query=query,
        # Addresses with a version are Azure's, which takes a key by this name and tokens by the other.
        default_headers={"api-key": endpoint.api_key} if query and endpoint.api_key else None,
    )


def posts_over(client: openai.AsyncOpenAI, http: httpx2.AsyncClient) -> Posts:
    """Return POSTs below the client's address, with its key, query and headers."""
    headers = {name: value for name, value in client.default_headers.items() if isinstance(value, str)}
    headers["Authorization"] = f"Bearer {client.api_key}"
    return Posts(
        http, str(client.base_url), {name: str(value) for name, value in client.default_query.items()}, headers
    )


async def list_models(client: openai.AsyncOpenAI) -> list[dict[str, Any]]:
    """List a server's models: `{"name": ..., "shutdown_date": ... or None}`."""
    try:
        raw = await client.models.with_raw_response.list()
        # OpenAI's `data`, or the bare list that some servers answer with.
        listed = orjson.loads(raw.text) if raw.text.lstrip().startswith("[") else read_object(raw.text).get("data")
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


def split_address(address: str) -> tuple[str, dict[str, str]]:
    """Split a server's address into the part that paths are added to, and the query that every request has."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(query="")).rstrip("/"), dict(parse_qsl(parts.query))


class _Bounded(httpx2.AsyncBaseTransport):
    """A transport with bounded answers: an endless body ends with an error instead of filling the memory."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await self._inner.handle_async_request(request)
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            # Unpacking has no bound: 1 MB can stand for a gigabyte.
            await response.aclose()
            raise garbled_error(f"The answer is packed ({encoding[:40]}), though that was not asked for.")
        if isinstance(response.stream, httpx2.AsyncByteStream):
            response.stream = _BoundedStream(response.stream, MAX_BODY_BYTES)
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
    if isinstance(error, openai.APIError):
        # An error in the midst of a stream that began with a 200.
        return error_in_answer(error.body or str(error))
    # Of more levels than Python goes down, too.
    if isinstance(error, ValueError | TypeError | AttributeError | RecursionError | openai.OpenAIError):
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

    if (
        status == 402
        or code in NO_CREDIT
        or error.type in NO_CREDIT
        or (status == 400 and EMPTY_ACCOUNT in detail.lower())
    ):
        return failure("call.no_credit", Remedy.CONFIGURE)
    if status == 429:
        return failure("call.rate_limited", Remedy.RETRY, asked_pause_seconds(error.response.headers))
    if status in (401, 403) or (status == 400 and WRONG_KEY in detail.lower()):
        return failure("call.not_allowed", Remedy.CONFIGURE)
    if status == 404 or code == "model_not_found":
        return failure("call.unknown_model", Remedy.CONFIGURE)
    if 300 <= status < 400:
        return failure("call.redirected", Remedy.CONFIGURE)
    if status in (408, 409, 425) or status >= 500:
        return failure("call.overloaded", Remedy.RETRY, asked_pause_seconds(error.response.headers))
    return failure("call.refused", Remedy.GIVE_UP)


def _error_detail(error: openai.APIStatusError) -> str:
    body = error.body
    if isinstance(body, dict) and isinstance(body.get("message"), str):
        return str(body["message"])
    text = str(body) if body else str(error.message)
    return "an HTML page" if text.lstrip().startswith("<") else text
