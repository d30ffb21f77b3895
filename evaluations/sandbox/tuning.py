"""Files and fine-tuning jobs as OpenAI's protocol has them. What was tuned is kept in a folder and is there again after
a restart."""

import asyncio
import json
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

from evaluations.sandbox import faults
from evaluations.sandbox.engine import Engine

LEAST_EXAMPLES = 10
# How long each state of a job lasts at a pace of 1.
STATE_SECONDS = 2.0
EPOCHS = 3
OVER = ("succeeded", "failed", "cancelled")


class Tuning:
    def __init__(self, engine: Engine, folder: Path, pace: float) -> None:
        self._engine = engine
        self._folder = folder
        self._pace = pace
        self._jobs: dict[str, dict[str, Any]] = {}
        self._events: dict[str, list[dict[str, Any]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        (folder / "files").mkdir(parents=True, exist_ok=True)
        (folder / "jobs").mkdir(exist_ok=True)
        self._recall()

    def route(self, app: web.Application) -> None:
        app.router.add_post("/v1/files", self._upload)
        app.router.add_get("/v1/files/{file}", self._file)
        app.router.add_get("/v1/files/{file}/content", self._content)
        app.router.add_post("/v1/fine_tuning/jobs", self._create)
        app.router.add_get("/v1/fine_tuning/jobs", self._list)
        app.router.add_get("/v1/fine_tuning/jobs/{job}", self._job)
        app.router.add_post("/v1/fine_tuning/jobs/{job}/cancel", self._cancel)
        app.router.add_get("/v1/fine_tuning/jobs/{job}/events", self._list_events)

    def _recall(self) -> None:
        for path in sorted((self._folder / "jobs").glob("*.json"), key=lambda one: one.stat().st_mtime):
            job = json.loads(path.read_text(encoding="utf-8"))
            self._jobs[job["id"]], self._events[job["id"]] = job, []
            if job["status"] == "succeeded":
                examples = _examples((self._folder / "files" / job["training_file"]).read_text(encoding="utf-8"))
                self._engine.tune(job["model"], job["fine_tuned_model"], examples, EPOCHS)
            elif job["status"] not in OVER:
                self._end(job, "failed", "The sandbox was stopped while it ran.")

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        sent = form.get("file")
        if not isinstance(sent, web.FileField):
            return faults.error(400, "A file is missing.", "invalid_request")
        data = sent.file.read()
        key = f"file-{uuid.uuid4().hex[:24]}"
        (self._folder / "files" / key).write_bytes(data)
        about = {
            "id": key,
            "object": "file",
            "bytes": len(data),
            "created_at": int(time.time()),
            "filename": sent.filename,
            "purpose": str(form.get("purpose", "fine-tune")),
            "status": "processed",
        }
        (self._folder / "files" / f"{key}.json").write_text(json.dumps(about), encoding="utf-8")
        return web.json_response(about)

    async def _file(self, request: web.Request) -> web.Response:
        path = self._path(request.match_info["file"], ".json")
        return web.Response(body=path.read_bytes(), content_type="application/json")

    async def _content(self, request: web.Request) -> web.Response:
        return web.Response(body=self._path(request.match_info["file"]).read_bytes())

    def _path(self, key: str, suffix: str = "") -> Path:
        path = self._folder / "files" / f"{key}{suffix}"
        if not key.removeprefix("file-").isalnum() or not path.exists():
            raise web.HTTPNotFound(
                text=json.dumps({"error": {"message": "There is no such file.", "code": "not_found"}})
            )
        return path

    async def _create(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body.get("model") not in self._engine.models():
            return faults.error(404, "The model does not exist.", "model_not_found")
        path = self._path(str(body.get("training_file", "")))
        key = f"ftjob-{uuid.uuid4().hex[:24]}"
        job: dict[str, Any] = {
            "id": key,
            "object": "fine_tuning.job",
            "model": body["model"],
            "created_at": int(time.time()),
            "finished_at": None,
            "fine_tuned_model": None,
            "training_file": path.name,
            "validation_file": body.get("validation_file"),
            "status": "validating_files",
            "trained_tokens": None,
            "error": None,
            "seed": body.get("seed", 0),
            "suffix": body.get("suffix"),
            "organization_id": "sandbox",
            "result_files": [],
            "hyperparameters": {"n_epochs": EPOCHS},
            "method": body.get("method", {"type": "supervised"}),
            "metadata": body.get("metadata") or {},
        }
        self._jobs[key], self._events[key] = job, []
        self._say(job, "Validating the training file.")
        task = asyncio.get_running_loop().create_task(self._run(job, path))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return web.json_response(job)

    async def _run(self, job: dict[str, Any], path: Path) -> None:
        pause = STATE_SECONDS * self._pace
        await asyncio.sleep(pause)
        if job["status"] in OVER:
            return
        text = path.read_text(encoding="utf-8", errors="replace")
        try:
            examples = _examples(text)
        except (ValueError, KeyError, TypeError) as error:
            self._end(job, "failed", f"The training file cannot be read: {error}")
            return
        if len(examples) < LEAST_EXAMPLES:
            self._end(job, "failed", f"The training file has {len(examples)} examples; at least {LEAST_EXAMPLES}.")
            return
        for status in ("queued", "running"):
            job["status"] = status
            self._say(job, f"The job is {status}.")
            await asyncio.sleep(pause)
            if job["status"] in OVER:
                return
        name = f"ft:{job['model']}:sandbox:{job['suffix'] or 'tuned'}:{job['id'][-8:]}"
        for step, loss in enumerate(self._engine.tune(job["model"], name, examples, EPOCHS), start=1):
            self._say(job, f"Step {step}: training loss {loss}", {"step": step, "train_loss": loss})
        job.update(fine_tuned_model=name, trained_tokens=len(text) // 4 * EPOCHS)
        self._end(job, "succeeded")

    def _end(self, job: dict[str, Any], status: str, message: str = "") -> None:
        job["status"], job["finished_at"] = status, int(time.time())
        if message:
            job["error"] = {"code": "invalid_training_file", "message": message, "param": "training_file"}
        self._say(job, message or f"The job has {status}.")
        (self._folder / "jobs" / f"{job['id']}.json").write_text(json.dumps(job), encoding="utf-8")

    def _say(self, job: dict[str, Any], message: str, data: dict[str, Any] | None = None) -> None:
        event = {
            "id": f"ftevent-{uuid.uuid4().hex[:16]}",
            "object": "fine_tuning.job.event",
            "created_at": int(time.time()),
            "level": "info",
            "message": message,
            "type": "metrics" if data else "message",
            "data": data,
        }
        self._events[job["id"]].append(event)

    async def _list(self, request: web.Request) -> web.Response:
        wanted = {name[9:-1]: value for name, value in request.query.items() if name.startswith("metadata[")}
        found = [
            job
            for job in reversed(self._jobs.values())
            if all(job["metadata"].get(name) == value for name, value in wanted.items())
        ]
        return web.json_response({"object": "list", "data": found, "has_more": False})

    async def _job(self, request: web.Request) -> web.Response:
        return web.json_response(self._found(request))

    async def _cancel(self, request: web.Request) -> web.Response:
        job = self._found(request)
        if job["status"] in OVER:
            return faults.error(400, f"The job has {job['status']}.", "invalid_request")
        self._end(job, "cancelled")
        return web.json_response(job)

    async def _list_events(self, request: web.Request) -> web.Response:
        events: Sequence[dict[str, Any]] = self._events[self._found(request)["id"]]
        return web.json_response({"object": "list", "data": list(reversed(events)), "has_more": False})

    def _found(self, request: web.Request) -> dict[str, Any]:
        job = self._jobs.get(request.match_info["job"])
        if job is None:
            raise web.HTTPNotFound(
                text=json.dumps({"error": {"message": "There is no such job.", "code": "not_found"}})
            )
        return job


def missing(message: str) -> web.HTTPNotFound:
    """404 as OpenAI's protocol words it."""
    body = json.dumps({"error": {"message": message, "code": "not_found"}})
    return web.HTTPNotFound(text=body, content_type="application/json")


def _examples(text: str) -> list[dict[str, Any]]:
    """The lines of a training file. ValueError, KeyError or TypeError where one is none."""
    found = [json.loads(line) for line in text.splitlines() if line.strip()]
    for one in found:
        if not isinstance(one["messages"], list) or one["messages"][-1]["role"] != "assistant":
            raise ValueError("each line has messages, and the last of them is the assistant's")
    return found
