"""OpenAI's protocol over HTTP, in front of any engine: chat (streamed too), embeddings, models, files and fine-tuning.

Beside it, for operators and tests: `POST /sandbox/faults`, `DELETE /sandbox/faults`, `GET /sandbox/journal` (every call
that was done, and so charged). Calls with an Idempotency-Key that were done already are answered again and not charged
again.
"""

import asyncio
import json
import time
import uuid
from collections import OrderedDict, deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from evaluations.sandbox import faults as faulty
from evaluations.sandbox.engine import Engine, Reply
from evaluations.sandbox.faults import Faults
from evaluations.sandbox.tuning import Tuning

MAX_BODY_BYTES = 64 * 1024 * 1024
MAX_REMEMBERED = 200_000
MAX_EMBEDDED = 2_048
PIECE = 12


class Sandbox:
    """The sandbox's server. `time_scale` scales the time of answers: 0 answers at once, 1 as slowly as a model.
    `tuning_time_scale` does so for fine-tuning only."""

    def __init__(
        self, engine: Engine, *, key: str, folder: Path, time_scale: float = 1.0, tuning_time_scale: float | None = None
    ) -> None:
        self._engine = engine
        self._key = key
        self._time_scale = time_scale
        self._faults = Faults()
        self._answers: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._journal: deque[dict[str, Any]] = deque(maxlen=MAX_REMEMBERED)
        self._tuning = Tuning(
            engine, folder, time_scale if tuning_time_scale is None else tuning_time_scale, self._faults
        )

    def application(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[self._only_with_the_key])
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/embeddings", self._embeddings)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/sandbox/faults", self._put_fault)
        app.router.add_delete("/sandbox/faults", self._clear_faults)
        app.router.add_get("/sandbox/journal", self._read_journal)
        self._tuning.route(app)
        return app

    @web.middleware
    async def _only_with_the_key(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        # Pages in a user's browser must not reach it either.
        if request.headers.get("Authorization") != f"Bearer {self._key}":
            return faulty.error(401, "Incorrect API key provided.", "invalid_api_key")
        return await handler(request)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        fault = self._faults.draw()
        if fault and (instead := await faulty.before_answer(fault, request)):
            return instead
        try:
            body = await request.json()
            if not isinstance(body, dict) or not isinstance(body.get("messages"), list) or not body["messages"]:
                raise TypeError
        except (ValueError, TypeError):
            return faulty.error(400, "The body is not a chat request.", "invalid_request")
        key = request.headers.get("Idempotency-Key", "")
        document = self._answers.get(key) if key else None
        if document is None:
            try:
                reply = self._engine.reply(body)
            except KeyError:
                return faulty.error(
                    404, f"The model {str(body.get('model'))[:100]!r} does not exist.", "model_not_found"
                )
            document = _document(body, reply)
            self._charge(key, document, request.headers.get("traceparent", ""))
            await asyncio.sleep(reply.seconds * self._time_scale)
        answer = json.loads(json.dumps(document))
        if fault and (instead := await faulty.in_answer(fault, answer)):
            return instead
        if body.get("stream"):
            return await self._stream(request, answer)
        return web.json_response(answer, headers={"x-request-id": answer["id"]})

    def _charge(self, key: str, document: dict[str, Any], trace: str) -> None:
        """Charge a call: from now on it has cost something, whether or not its answer arrives."""
        call = {name: document[name] for name in ("id", "model", "usage")}
        self._journal.append({"key": key, "trace": trace, **call})
        if key:
            self._answers[key] = document
            while len(self._answers) > MAX_REMEMBERED:
                self._answers.popitem(last=False)

    async def _stream(self, request: web.Request, document: Mapping[str, Any]) -> web.StreamResponse:
        choice = document["choices"][0]
        text = choice["message"]["content"] or ""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        head = {"id": document["id"], "object": "chat.completion.chunk", "created": document["created"]}

        async def send(delta: Mapping[str, Any], finish: str | None = None) -> None:
            choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
            chunk = {**head, "model": document["model"], "choices": choices}
            await response.write(f"data: {json.dumps(chunk)}\n\n".encode())

        await send({"role": "assistant", "content": ""})
        for start in range(0, len(text), PIECE):
            await send({"content": text[start : start + PIECE]})
            await asyncio.sleep(0.006 * self._time_scale)
        if choice["message"].get("refusal"):
            await send({"refusal": choice["message"]["refusal"]})
        await send({}, choice["finish_reason"])
        usage = {**head, "model": document["model"], "choices": [], "usage": document["usage"]}
        await response.write(f"data: {json.dumps(usage)}\n\ndata: [DONE]\n\n".encode())
        return response

    async def _embeddings(self, request: web.Request) -> web.Response:
        body = await request.json()
        inputs = body.get("input")
        texts = [inputs] if isinstance(inputs, str) else inputs
        if not isinstance(texts, list) or not 0 < len(texts) <= MAX_EMBEDDED:
            return faulty.error(400, f"Give 1 to {MAX_EMBEDDED} texts.", "invalid_request")
        vectors = self._engine.embed([str(text) for text in texts])
        data = [{"object": "embedding", "index": place, "embedding": vector} for place, vector in enumerate(vectors)]
        used = sum(len(str(text)) // 4 for text in texts)
        usage = {"prompt_tokens": used, "total_tokens": used}
        return web.json_response({"object": "list", "data": data, "model": body.get("model"), "usage": usage})

    async def _models(self, _request: web.Request) -> web.Response:
        listed = [
            {"id": name, "object": "model", "created": 0, "owned_by": "sandbox", "shutdown_date": ends}
            for name, ends in self._engine.models().items()
        ]
        return web.json_response({"object": "list", "data": listed})

    async def _put_fault(self, request: web.Request) -> web.Response:
        try:
            self._faults.put(await request.json())
        except (TypeError, ValueError) as error:
            return faulty.error(400, str(error), "invalid_request")
        return web.json_response({"ok": True}, status=201)

    async def _clear_faults(self, _request: web.Request) -> web.Response:
        self._faults.clear()
        return web.json_response({"ok": True})

    async def _read_journal(self, _request: web.Request) -> web.Response:
        return web.json_response({"calls": list(self._journal)})


def _document(body: Mapping[str, Any], reply: Reply) -> dict[str, Any]:
    message = {"role": "assistant", "content": reply.text, "refusal": None}
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": reply.finish_reason, "logprobs": None}],
        "usage": {
            "prompt_tokens": reply.tokens_in,
            "completion_tokens": reply.tokens_out,
            "total_tokens": reply.tokens_in + reply.tokens_out,
            "prompt_tokens_details": {"cached_tokens": 0},
        },
    }
