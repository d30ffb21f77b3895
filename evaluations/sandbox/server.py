"""The sandbox's server: OpenAI's protocol in front of the simulation, with faults on demand.

Beside the protocol, for operators and tests: `POST /sandbox/faults`, `DELETE /sandbox/faults`, `POST
/sandbox/jobs/{job}`, and `GET /sandbox/journal` (every call that was done, and so charged). Calls with an
Idempotency-Key that were done already are not charged again.
"""

import asyncio
import json
import uuid
from collections import deque
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from evaluations.openai_server.bodies import Document, read_object
from evaluations.openai_server.errors import APIError
from evaluations.openai_server.files import Files
from evaluations.openai_server.server import (
    OpenAIServer,
    chunk_of,
    now,
    send_chunks,
)
from evaluations.sandbox import faults as faulty
from evaluations.sandbox.faults import Fault, Faults
from evaluations.sandbox.neighbours import Neighbours
from evaluations.sandbox.reply import Reply
from evaluations.sandbox.tuning import SimulatedJobs

CHUNK_CHARACTERS = 12
# The fault that a call was drawn.
FAULT = web.RequestKey("fault", Fault)


class Sandbox(OpenAIServer):
    """The sandbox's server. `time_scale` scales the time of answers: 0 answers at once, 1 as slowly as a model.
    `tuning_time_scale` does so for fine-tuning only."""

    owner = "sandbox"

    def __init__(
        self,
        engine: Neighbours,
        *,
        key: str,
        folder: Path,
        time_scale: float = 1.0,
        tuning_time_scale: float | None = None,
    ) -> None:
        self._engine = engine
        self._time_scale = time_scale
        self._faults = Faults()
        self._journal: deque[dict[str, Any]] = deque(maxlen=self.max_remembered)
        files = Files(folder, self._faults.wrap)
        tuning_scale = time_scale if tuning_time_scale is None else tuning_time_scale
        jobs = SimulatedJobs(files, folder, engine, tuning_scale, self._faults)
        super().__init__(key=key, files=files, jobs=jobs)

    def application(self) -> web.Application:
        app = super().application()
        app.router.add_post("/sandbox/faults", self._put_fault)
        app.router.add_delete("/sandbox/faults", self._clear_faults)
        app.router.add_get("/sandbox/journal", self._read_journal)
        return app

    def models(self) -> Mapping[str, str | None]:
        return self._engine.models()

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        fault = self._faults.draw()
        if fault and (instead := await faulty.before_answer(fault, request)):
            return instead
        if fault:
            request[FAULT] = fault
        return await super()._chat(request)

    async def answer(self, request: web.Request, body: Document) -> web.StreamResponse:
        document = self.remembered(request, body)
        if document is None:
            reply = self._engine.reply(body)
            document = _document(body, reply)
            self._charge(request, body, document)
            await asyncio.sleep(reply.seconds * self._time_scale)
        answer = json.loads(json.dumps(document))
        fault = request.get(FAULT)
        if fault and (instead := await faulty.in_answer(fault, answer)):
            return instead
        if body.get("stream"):
            return await send_chunks(request, self._chunks(answer))
        return web.json_response(answer, headers={"x-request-id": answer["id"]})

    async def embed(self, body: Document, texts: list[str]) -> Document:
        vectors = self._engine.embed(texts)
        data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
        tokens = sum(len(text) // 4 for text in texts)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "data": data, "model": body.get("model"), "usage": usage}

    def _charge(self, request: web.Request, body: Document, document: Document) -> None:
        """Charge a call: from now on it has cost something, whether or not its answer arrives."""
        call = {name: document[name] for name in ("id", "model", "usage")}
        key = request.headers.get("Idempotency-Key", "")
        self._journal.append({"key": key, "trace": request.headers.get("traceparent", ""), **call})
        self.remember(request, body, document)

    async def _chunks(self, document: Document) -> AsyncIterator[Document]:
        choice = document["choices"][0]
        text = choice["message"]["content"] or ""
        yield chunk_of(document, {"role": "assistant", "content": ""})
        for start in range(0, len(text), CHUNK_CHARACTERS):
            yield chunk_of(document, {"content": text[start : start + CHUNK_CHARACTERS]})
            await asyncio.sleep(0.006 * self._time_scale)
        if choice["message"].get("refusal"):
            yield chunk_of(document, {"refusal": choice["message"]["refusal"]})
        yield chunk_of(document, {}, choice["finish_reason"])
        yield {**chunk_of(document, {}), "choices": [], "usage": document["usage"]}

    async def _put_fault(self, request: web.Request) -> web.Response:
        try:
            self._faults.put(await read_object(request))
        except (TypeError, ValueError) as error:
            raise APIError(400, str(error), "invalid_request") from None
        return web.json_response({"ok": True}, status=201)

    async def _clear_faults(self, _request: web.Request) -> web.Response:
        self._faults.clear()
        return web.json_response({"ok": True})

    async def _read_journal(self, _request: web.Request) -> web.Response:
        return web.json_response({"calls": list(self._journal)})


def _document(body: Mapping[str, Any], reply: Reply) -> Document:
    message = {"role": "assistant", "content": reply.text, "refusal": None}
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": now(),
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": reply.finish_reason, "logprobs": None}],
        "usage": {
            "prompt_tokens": reply.tokens_in,
            "completion_tokens": reply.tokens_out,
            "total_tokens": reply.tokens_in + reply.tokens_out,
            "prompt_tokens_details": {"cached_tokens": 0},
        },
    }
