"""The inference service over HTTP, on OpenAI's wires: an ASGI application."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route as Address

from core.errors import Problem
from core.json_values import read_request_body
from evaluations.providers.chat import CallError, Completion
from inference.gateway import answers
from inference.gateway.calls_in_progress import CallInProgress
from inference.gateway.request_reading import InferenceRequest, read_chat, read_responses
from inference.gateway.service import Gateway

logger = logging.getLogger(__name__)
MAX_BODY_BYTES = 16 * 1024 * 1024
# What is read beside the event loop, which others wait for.
LARGE_BODY_BYTES = 64 * 1024
BROKEN = "The inference service failed; it is its own fault."
EVENT_STREAM = "text/event-stream; charset=utf-8"
T = TypeVar("T")
Read = Callable[[Mapping[str, Any]], InferenceRequest]


def build_application(gateway: Gateway, *, is_ready: Callable[[], bool], lifespan: Callable[[], Any]) -> Starlette:
    """Return the application; `lifespan` is a context for as long as it runs."""

    @asynccontextmanager
    async def while_it_runs(_: Starlette) -> AsyncIterator[None]:
        async with lifespan():
            yield

    async def chat(request: Request) -> Response:
        return await _answer(gateway, request, read_chat, answers.ChatStream, answers.chat_answer)

    async def responses(request: Request) -> Response:
        return await _answer(gateway, request, read_responses, answers.ResponsesStream, answers.responses_answer)

    async def models(request: Request) -> Response:
        rows = [_model(name) for name in await gateway.targets(await gateway.caller(_token(request)))]
        return _json({"object": "list", "data": rows})

    async def model(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in await gateway.targets(await gateway.caller(_token(request))):
            raise Problem("not_found", f"There is no {name[:100]!r} here.")
        return _json(_model(name))

    async def health(_: Request) -> Response:
        return _json({"status": "ok"})

    async def ready(_: Request) -> Response:
        state = is_ready()
        return _json({"status": "ok" if state else "the registry cannot be heard"}, 200 if state else 503)

    addresses = [
        Address("/v1/chat/completions", _refusing(chat), methods=["POST"]),
        Address("/v1/responses", _refusing(responses), methods=["POST"]),
        Address("/v1/models", _refusing(models), methods=["GET"]),
        Address("/v1/models/{name:path}", _refusing(model), methods=["GET"]),
        Address("/healthz", health),
        Address("/readyz", ready),
    ]
    refusals: dict[Any, Any] = {404: _no_such_address, 405: _no_such_address}
    return Starlette(routes=addresses, lifespan=while_it_runs, exception_handlers=refusals)


async def _no_such_address(request: Request, error: HTTPException) -> Response:
    sentence = f"{request.method} {request.url.path} is no address of the inference service."
    if not request.url.path.startswith("/v1/"):
        sentence += " Its addresses begin with /v1: end base_url with that."
    document = answers.error_document(Problem("not_found", sentence))[1]
    return _json(document, error.status_code, error.headers)


def _refusing(view: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """Answer refusals in OpenAI's shape; what else goes wrong is a fault of ours, and says so."""

    async def guarded(request: Request) -> Response:
        try:
            return await view(request)
        except (Problem, CallError) as error:
            return _error(error)
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception:
            logger.exception("gateway.broken")
            return _error(Problem("server.error", BROKEN))

    return guarded


async def _answer(
    gateway: Gateway,
    request: Request,
    read: Read,
    stream_writer: type[answers.ChatStream] | type[answers.ResponsesStream],
    write: Callable[[Completion, str, str], dict[str, Any]],
) -> Response:
    # Before the body is read: a large one costs time.
    caller = await gateway.caller(_token(request))
    parsed = read(await _body(request))
    call = await gateway.begin(caller, parsed, request.headers)
    try:
        if parsed.is_streamed:
            return await _stream(gateway, request, call, stream_writer(call.id, parsed.model, parsed.includes_usage))
        answer = await _unless_left(request, gateway.complete(call))
    except (Problem, CallError) as error:
        # With the call's id, by which its record is found.
        return _error(error, call.headers)
    return _json(write(answer, call.id, parsed.model), headers=call.headers)


async def _stream(
    gateway: Gateway, request: Request, call: CallInProgress, writer: answers.ChatStream | answers.ResponsesStream
) -> Response:
    """Begin a stream when the first piece is there: until then a refusal has its own status."""
    pieces = gateway.stream(call)
    try:
        first = await _unless_left(request, anext(pieces))
    except ClientDisconnect:
        await pieces.aclose()
        raise

    async def written() -> AsyncIterator[bytes]:
        try:
            yield writer.begin()
            piece = first
            while not isinstance(piece, Completion):
                yield writer.piece(piece)
                piece = await anext(pieces)
            for part in writer.end(piece):
                yield part
        except (CallError, Problem) as error:
            for part in writer.fail(error):
                yield part
        except Exception:
            logger.exception("gateway.broken")
            for part in writer.fail(Problem("server.error", BROKEN)):
                yield part
        finally:
            await pieces.aclose()

    headers = {**call.headers, "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(written(), media_type=EVENT_STREAM, headers=headers)


async def _unless_left(request: Request, work: Awaitable[T]) -> T:
    """Wait for an answer, and stop it where the client goes away."""
    answering = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            answering.cancel()
            await asyncio.wait({answering})
            raise ClientDisconnect
        return answering.result()
    finally:
        leaving.cancel()
        if not answering.done():
            answering.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _body(request: Request) -> Mapping[str, Any]:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BODY_BYTES:
            raise Problem("request.too_large", f"A request has at most {MAX_BODY_BYTES:,} bytes.")
    is_large = len(data) > LARGE_BODY_BYTES
    body = await asyncio.to_thread(read_request_body, data) if is_large else read_request_body(data)
    if not isinstance(body, dict):
        raise Problem("request.malformed", "The body is no JSON object.")
    return body


def _token(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "cuebook"}


def _json(document: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(document), status, headers, media_type="application/json")


def _error(error: Problem | CallError, headers: Mapping[str, str] | None = None) -> Response:
    status, document = answers.error_document(error)
    headers = dict(headers or {})
    pause = error.retry_after if isinstance(error, CallError) else error.members.get("retry_after")
    if pause:
        headers["Retry-After"] = str(int(pause) + 1)
    return _json(document, status, headers)
