"""The local engine: OpenAI's protocol in front of llama.cpp, streams passed through as they come."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from evaluations.local import base_file
from evaluations.local.jobs import LocalJobs
from evaluations.local.llama_server import EngineError, LlamaServer, ServerSettings
from evaluations.openai_server.bodies import Document, read_object
from evaluations.openai_server.errors import APIError
from evaluations.openai_server.files import Files
from evaluations.openai_server.server import OpenAIServer, send_chunks

# A long answer of a slow model takes minutes; a server that says nothing for so long does not answer any more.
READ_TIMEOUT_SECONDS = 600.0
# llama.cpp's own settings of a request that would reach other files or other tuned models.
WITHHELD = ("lora", "id_slot", "cache_prompt")
CODES = {"exceed_context_size_error": "context_length_exceeded"}


class LocalEngine(OpenAIServer):
    """One base and what was tuned from it, in a folder that keeps all of it."""

    owner = "local"

    def __init__(self, name: str, settings: ServerSettings, folder: Path) -> None:
        self._name = name
        self._llama = LlamaServer(settings)
        self._base = base_file.read_base(name, settings.path)
        files = Files(folder)
        self._local_jobs = LocalJobs(
            files,
            folder,
            self._base,
            key=settings.key,
            tokeniser=lambda: self._llama.url,
            on_adapters=self._serve_adapters,
        )
        self._session: aiohttp.ClientSession | None = None
        super().__init__(key=settings.key, files=files, jobs=self._local_jobs)

    def application(self) -> web.Application:
        app = super().application()
        # Before the jobs of the last process go on: they need what turns texts into tokens.
        app.on_startup.insert(0, self._start)
        app.on_cleanup.append(self._stop)
        app.router.add_post("/v1/responses", self._responses)
        app.router.add_get("/local/status", self._status)
        return app

    def models(self) -> Mapping[str, str | None]:
        return {self._name: None, **{adapter.model: None for adapter in self._local_jobs.adapters()}}

    async def answer(self, request: web.Request, body: Document) -> web.StreamResponse:
        document = self.remembered(request)
        if document is not None and not body.get("stream"):
            return web.json_response(document, headers={"x-request-id": str(document.get("id", ""))})
        return await self._forward(request, "/v1/chat/completions", body)

    async def embed(self, body: Document, texts: list[str]) -> Document:
        if not self._base.has_embeddings:
            raise APIError(400, f"{self._name} makes no embeddings.", "model_not_supported", "model")
        async with self._llama.call(self._name) as (url, _), self._post(url + "/v1/embeddings", body) as answer:
            document: Document = await answer.json(content_type=None)
            if answer.status != 200:
                raise _refusal(answer.status, document)
            return {**document, "model": body.get("model")}

    async def _responses(self, request: web.Request) -> web.StreamResponse:
        body = await read_object(request)
        if body.get("model") not in self.models():
            raise APIError(
                404, f"The model {str(body.get('model'))[:100]!r} does not exist.", "model_not_found", "model"
            )
        return await self._forward(request, "/v1/responses", body)

    async def _forward(self, request: web.Request, path: str, body: Document) -> web.StreamResponse:
        """Ask llama.cpp, and send what it answers under the name of the model that was asked for."""
        name = str(body["model"])
        body = {member: value for member, value in body.items() if member not in WITHHELD}
        async with AsyncExitStack() as stack:
            try:
                url, adapters = await stack.enter_async_context(self._llama.call(name))
                answer = await stack.enter_async_context(self._post(url + path, {**body, **adapters}))
                if answer.status != 200:
                    raise _refusal(answer.status, await answer.json(content_type=None))
                if body.get("stream"):
                    return await send_chunks(request, _chunks(answer, name))
                document: Document = {**await answer.json(content_type=None), "model": name}
            except (aiohttp.ClientError, EngineError, ValueError) as error:
                # It ended in the middle of the call, and is being started again.
                raise APIError(503, f"llama.cpp does not answer: {error}", "server_error") from None
        if path == "/v1/chat/completions":
            self.remember(request.headers.get("Idempotency-Key", ""), document)
        return web.json_response(document, headers={"x-request-id": str(document.get("id", ""))})

    def _post(self, url: str, body: Document) -> Any:
        assert self._session is not None  # noqa: S101 - made at the start
        return self._session.post(url, json=body)

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

    async def _serve_adapters(self) -> None:
        await self._llama.start(self._local_jobs.adapters())

    async def _start(self, _app: web.Application) -> None:
        timeout = aiohttp.ClientTimeout(total=None, sock_read=READ_TIMEOUT_SECONDS)
        # Calls wait for a slot in llama.cpp, not for a connection to it.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            headers={"Authorization": f"Bearer {self._llama.settings.key}"},
            timeout=timeout,
        )
        await self._serve_adapters()

    async def _stop(self, _app: web.Application) -> None:
        await self._local_jobs.close()
        await self._llama.stop()
        if self._session:
            await self._session.close()


async def _chunks(answer: aiohttp.ClientResponse, name: str) -> AsyncIterator[Document]:
    """Read a stream's events. What is no event, such as a comment that keeps the connection open, is not passed on."""
    async for line in answer.content:
        if not line.startswith(b"data: {"):
            continue
        chunk = json.loads(line.removeprefix(b"data: "))
        if "model" in chunk:
            chunk["model"] = name
        if isinstance(chunk.get("response"), dict):
            chunk["response"]["model"] = name
        yield chunk


def _refusal(status: int, document: Any) -> APIError:
    error = document.get("error") if isinstance(document, dict) else None
    error = error if isinstance(error, dict) else {"message": str(document)[:500]}
    kind = str(error.get("type", "invalid_request"))
    return APIError(status, str(error.get("message", ""))[:2_000], CODES.get(kind, kind))
