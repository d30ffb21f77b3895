"""Server: who may ask, chat (streamed too), embeddings and models."""

import hashlib
import json
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from evaluations.openai_server.bodies import Document, read_object
from evaluations.openai_server.errors import APIError, dumps, error
from evaluations.openai_server.files import Files
from evaluations.openai_server.jobs import Jobs

MAX_BODY_BYTES = 64 * 1024 * 1024
MAX_EMBEDDED = 2_048


class OpenAIServer(ABC):
    """A server with OpenAI's protocol.

    A chat call with an Idempotency-Key that was answered already gets the same answer again.
    """

    # How many answers are kept for calls that are made again.
    max_remembered = 200_000
    # Who owns its models, and the word for it in the names of tuned ones.
    owner: str

    def __init__(self, *, key: str, files: Files, jobs: Jobs) -> None:
        self._key = key
        self._files = files
        self._jobs = jobs
        self._answers: OrderedDict[str, tuple[str, Document]] = OrderedDict()

    @abstractmethod
    def models(self) -> Mapping[str, str | None]:
        """Return the models by name, each with the date of its shutdown if it has one."""

    @abstractmethod
    async def answer(self, request: web.Request, body: Document) -> web.StreamResponse:
        """Answer a chat request. APIError where it is refused."""

    @abstractmethod
    async def embed(self, body: Document, texts: list[str]) -> Document:
        """Answer a request for embeddings. APIError where it is refused."""

    def application(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[self._only_with_the_key, _refusals])
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/embeddings", self._embeddings)
        app.router.add_get("/v1/models", self._list_models)
        self._files.route(app)
        self._jobs.route(app)
        return app

    @web.middleware
    async def _only_with_the_key(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        # Pages in a user's browser must not reach it either.
        if request.headers.get("Authorization") != f"Bearer {self._key}":
            return error(401, "Incorrect API key provided.", "invalid_api_key")
        return await handler(request)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await read_object(request)
        if not isinstance(body.get("messages"), list) or not body["messages"]:
            raise APIError(400, "The body is not a chat request.", "invalid_request", "messages")
        self.require_model(body)
        return await self.answer(request, body)

    def require_model(self, body: Document) -> None:
        """Raise APIError where there is no such model."""
        name = body.get("model")
        if not isinstance(name, str) or name not in self.models():
            name = str(name)[:100]
            raise APIError(404, f"The model {name!r} does not exist.", "model_not_found", "model")

    def remember(self, request: web.Request, body: Document, document: Document) -> None:
        """Keep an answer for a call that is made again with its Idempotency-Key."""
        key = request.headers.get("Idempotency-Key", "")
        if key:
            self._answers[key] = (_digest(body), document)
            while len(self._answers) > self.max_remembered:
                self._answers.popitem(last=False)

    def remembered(self, request: web.Request, body: Document) -> Document | None:
        """Return the answer to a call that was made before. APIError where the key was another call's."""
        before = self._answers.get(request.headers.get("Idempotency-Key", ""))
        if before is None:
            return None
        digest, document = before
        if digest != _digest(body):
            raise APIError(400, "This Idempotency-Key was another call's.", "idempotency_error")
        return document

    async def _embeddings(self, request: web.Request) -> web.Response:
        body = await read_object(request)
        inputs = body.get("input")
        texts = [inputs] if isinstance(inputs, str) else inputs
        if not isinstance(texts, list) or not 0 < len(texts) <= MAX_EMBEDDED:
            raise APIError(400, f"Give 1 to {MAX_EMBEDDED} texts.", "invalid_request", "input")
        return web.json_response(await self.embed(body, [str(text) for text in texts]))

    async def _list_models(self, _request: web.Request) -> web.Response:
        rows = [
            {"id": name, "object": "model", "created": 0, "owned_by": self.owner, "shutdown_date": ends}
            for name, ends in self.models().items()
        ]
        return web.json_response({"object": "list", "data": rows})


def chunk_of(document: Mapping[str, Any], delta: Mapping[str, Any], finish_reason: str | None = None) -> Document:
    """Return a chunk of a streamed answer."""
    choices = [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
    return {
        **{name: document[name] for name in ("id", "created", "model")},
        "object": "chat.completion.chunk",
        "choices": choices,
    }


async def send_chunks(request: web.Request, chunks: AsyncIterator[Document]) -> web.StreamResponse:
    """Send chunks as server-sent events while they come."""
    response = await begin_stream(request)
    async for chunk in chunks:
        await response.write(dumps(chunk))
    await response.write(b"data: [DONE]\n\n")
    return response


async def begin_stream(request: web.Request) -> web.StreamResponse:
    """Send the head of a stream of server-sent events."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    return response


def _digest(body: Document) -> str:
    """Return what makes a call the same; how its answer is sent does not."""
    call = {name: value for name, value in body.items() if name not in ("stream", "stream_options")}
    return hashlib.sha256(json.dumps(call, sort_keys=True).encode()).hexdigest()


def now() -> int:
    """Return the time as the protocol writes it: whole seconds since 1970."""
    return int(time.time())


@web.middleware
async def _refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except APIError as refusal:
        return refusal.response()
