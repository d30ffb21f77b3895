"""The local engine: OpenAI's protocol in front of llama.cpp, streams passed through as they come."""

import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from evaluations.local import base_file
from evaluations.local.jobs import LocalJobs
from evaluations.local.llama_server import EngineError, LlamaServer, ServerSettings
from evaluations.openai_server.bodies import Document, read_object
from evaluations.openai_server.errors import APIError, dumps
from evaluations.openai_server.files import Files
from evaluations.openai_server.server import OpenAIServer, begin_stream

# A long answer of a slow model takes minutes; a server that says nothing for so long does not answer any more.
READ_TIMEOUT_SECONDS = 600.0
# llama.cpp's own settings of a request: other tuned models, other callers' slots, and what ends the process when it is
# nested too deeply.
REFUSED = ("lora", "id_slot", "grammar")
MAX_LINE_BYTES = 4 * 1024 * 1024
CODES = {"exceed_context_size_error": "context_length_exceeded"}


class LocalEngine(OpenAIServer):
    """One base and what was tuned from it, in a folder that keeps all of it."""

    owner = "local"
    max_remembered = 10_000

    def __init__(self, name: str, settings: ServerSettings, folder: Path) -> None:
        self._name = name
        self._llama = LlamaServer(settings, lambda: self._local_jobs.adapters())
        self._base = base_file.read_base(name, settings.path)
        files = Files(folder)
        self._local_jobs = LocalJobs(
            files,
            folder,
            self._base,
            key=settings.key,
            tokeniser=lambda: self._llama.url,
            on_adapters=self._llama.reload,
        )
        self._session: aiohttp.ClientSession | None = None
        super().__init__(key=settings.key, files=files, jobs=self._local_jobs)

    def application(self) -> web.Application:
        app = super().application()
        # Before the jobs of the last process go on: they need what turns texts into tokens.
        app.on_startup.insert(0, self._start)
        app.on_cleanup.append(self._stop)
        app.router.add_post("/v1/responses", self._responses)
        app.router.add_get("/props", self._props)
        app.router.add_get("/local/status", self._status)
        return app

    def models(self) -> Mapping[str, str | None]:
        return {self._name: None, **{adapter.model: None for adapter in self._llama.adapters}}

    async def answer(self, request: web.Request, body: Document) -> web.StreamResponse:
        document = self.remembered(request, body)
        if document is not None and not body.get("stream"):
            return web.json_response(document, headers={"x-request-id": str(document.get("id", ""))})
        return await self._forward(request, "/v1/chat/completions", body)

    async def embed(self, body: Document, texts: list[str]) -> Document:
        if not self._base.has_embeddings:
            raise APIError(400, f"{self._name} makes no embeddings.", "model_not_supported", "model")
        async with (
            self._llama.call() as (url, _),
            self._post(url + "/v1/embeddings", body) as answer,
        ):
            document: Document = await answer.json(content_type=None)
            if answer.status != 200:
                raise _refusal(answer.status, document)
            return {**document, "model": body.get("model")}

    async def _responses(self, request: web.Request) -> web.StreamResponse:
        body = await read_object(request)
        self.require_model(body)
        return await self._forward(request, "/v1/responses", body)

    async def _forward(self, request: web.Request, path: str, body: Document) -> web.StreamResponse:
        """Ask llama.cpp, and send what it answers under the name of the model that was asked for."""
        name = str(body["model"])
        for member in REFUSED:
            if member in body:
                raise APIError(400, f"{member} is not taken here.", "invalid_request", member)
        async with AsyncExitStack() as stack:
            try:
                url, adapters = await stack.enter_async_context(self._llama.call(name if name != self._name else ""))
                answer = await stack.enter_async_context(self._post(url + path, {**body, **adapters}))
                if answer.status != 200:
                    raise _refusal(answer.status, await answer.json(content_type=None))
                if body.get("stream"):
                    return await _pass_through(request, answer, name)
                document: Document = {**await answer.json(content_type=None), "model": name}
            except (aiohttp.ClientError, EngineError, ValueError) as error:
                # It ended in the middle of the call, and is being started again.
                raise APIError(503, f"llama.cpp does not answer: {error}", "server_error") from None
        if path == "/v1/chat/completions":
            self.remember(request, body, document)
        return web.json_response(document, headers={"x-request-id": str(document.get("id", ""))})

    def _post(self, url: str, body: Document) -> Any:
        assert self._session is not None  # noqa: S101 - made at the start
        return self._session.post(url, json=body)

    async def _props(self, _request: web.Request) -> web.Response:
        """Say how many calls are answered at a time, as llama.cpp does."""
        return web.json_response({"total_slots": self._llama.settings.slots})

    async def _status(self, _request: web.Request) -> web.Response:
        """Say what is served, for whoever registers it as a provider."""
        settings = self._llama.settings
        return web.json_response(
            {
                "model": self._name,
                "file": settings.path.name,
                "slots": settings.slots,
                "context": settings.context,
                "has_embeddings": self._base.has_embeddings,
                "tuning_refusal": self._base.refusal,
            }
        )

    async def _start(self, _app: web.Application) -> None:
        timeout = aiohttp.ClientTimeout(total=None, sock_read=READ_TIMEOUT_SECONDS)
        # Calls wait for a slot in llama.cpp, not for a connection to it.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            headers={"Authorization": f"Bearer {self._llama.settings.key}"},
            timeout=timeout,
            # The last event of a response has the whole answer in one line.
            read_bufsize=MAX_LINE_BYTES,
        )
        await self._llama.start()

    async def _stop(self, _app: web.Application) -> None:
        await self._local_jobs.close()
        await self._llama.stop()
        if self._session:
            await self._session.close()


async def _pass_through(request: web.Request, answer: aiohttp.ClientResponse, name: str) -> web.StreamResponse:
    """Send a stream's lines as they come, but for the model's name. Where llama.cpp ends in the middle, the last event
    says so: what was sent cannot become an error any more."""
    response = await begin_stream(request)
    try:
        async for line in answer.content:
            await response.write(_renamed(line, name) if line.startswith(b"data: {") else line)
    except aiohttp.ClientError as error:
        message = f"llama.cpp ended in the middle of its answer: {error}"
        await response.write(dumps({"error": {"message": message, "type": "server_error", "code": "server_error"}}))
    return response


def _renamed(line: bytes, name: str) -> bytes:
    chunk = json.loads(line.removeprefix(b"data: "))
    if "model" in chunk:
        chunk["model"] = name
    if isinstance(chunk.get("response"), dict):
        chunk["response"]["model"] = name
    return b"data: " + json.dumps(chunk).encode() + b"\n"


def _refusal(status: int, document: Any) -> APIError:
    error = document.get("error") if isinstance(document, dict) else None
    error = error if isinstance(error, dict) else {"message": str(document)[:500]}
    kind = str(error.get("type", "invalid_request"))
    return APIError(status, str(error.get("message", ""))[:2_000], CODES.get(kind, kind))
