"""Files and fine-tuning jobs of OpenAI's protocol. Tuned models are stored in a folder and survive a restart."""

import asyncio
import csv
import io
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from evaluations.sandbox import faults
from evaluations.sandbox.engine import Engine
from evaluations.sandbox.faults import Faults

MIN_EXAMPLES = 10
# The duration of each state of a job at a time scale of 1.
STATE_SECONDS = 2.0
EPOCHS = 3
# The number of events with losses while a job runs; its file of results has all losses.
MAX_EVENTS = 20
FINAL_STATUSES = ("succeeded", "failed", "cancelled")


class Tuning:
    def __init__(self, engine: Engine, folder: Path, time_scale: float, faults: Faults) -> None:
        self._engine = engine
        self._folder = folder
        self._time_scale = time_scale
        self._faults = faults
        self._jobs: dict[str, dict[str, Any]] = {}
        self._events: dict[str, list[dict[str, Any]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        (folder / "files").mkdir(parents=True, exist_ok=True)
        (folder / "jobs").mkdir(exist_ok=True)
        self._recall()

    def route(self, app: web.Application) -> None:
        app.router.add_post("/v1/files", self._faulty("upload", self._upload))
        app.router.add_get("/v1/files", self._faulty("list", self._files))
        app.router.add_get("/v1/files/{file}", self._file)
        app.router.add_get("/v1/files/{file}/content", self._content)
        app.router.add_post("/v1/fine_tuning/jobs", self._faulty("create", self._create))
        app.router.add_get("/v1/fine_tuning/jobs", self._faulty("list", self._list))
        app.router.add_get("/v1/fine_tuning/jobs/{job}", self._faulty("poll", self._job))
        app.router.add_post("/v1/fine_tuning/jobs/{job}/cancel", self._faulty("cancel", self._cancel))
        app.router.add_get("/v1/fine_tuning/jobs/{job}/events", self._list_events)
        app.router.add_get("/v1/fine_tuning/jobs/{job}/checkpoints", self._list_checkpoints)
        app.router.add_post("/sandbox/jobs/{job}", self._put_status)

    def _faulty(self, place: str, answer: Handler) -> Handler:
        """Wrap a handler with the faults of such calls."""

        async def faulty(request: web.Request) -> web.StreamResponse:
            fault = self._faults.draw(place)
            if fault and (instead := await faults.before_answer(fault, request)):
                return instead
            answered = await answer(request)
            if fault and (instead := await faults.after_doing(fault, request)):
                return instead
            return answered

        return faulty

    def _recall(self) -> None:
        for path in sorted((self._folder / "jobs").glob("*.json"), key=lambda path: path.stat().st_mtime):
            job = json.loads(path.read_text(encoding="utf-8"))
            self._jobs[job["id"]], self._events[job["id"]] = job, []
            if job["status"] == "succeeded":
                examples = _examples((self._folder / "files" / job["training_file"]).read_text(encoding="utf-8"))
                self._engine.tune(job["model"], job["fine_tuned_model"], examples, job["hyperparameters"]["n_epochs"])
            elif job["status"] not in FINAL_STATUSES:
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

    async def _files(self, _request: web.Request) -> web.Response:
        paths = sorted((self._folder / "files").glob("*.json"), key=lambda path: -path.stat().st_mtime)
        listed = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        return web.json_response({"object": "list", "data": listed, "has_more": False})

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
        method = job["method"]
        settings = (method.get(method.get("type")) or {}).get("hyperparameters") or {}
        epochs = settings.get("n_epochs")
        job["hyperparameters"] = {**settings, "n_epochs": epochs if isinstance(epochs, int) else EPOCHS}
        self._jobs[key], self._events[key] = job, []
        self._say(job, "Validating the training file.")
        task = asyncio.get_running_loop().create_task(self._run(job, path))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return web.json_response(job)

    async def _run(self, job: dict[str, Any], path: Path) -> None:
        pause = STATE_SECONDS * self._time_scale
        await asyncio.sleep(pause)
        # A job whose status was set from outside in the meantime does not go on.
        if job["status"] != "validating_files":
            return
        text = path.read_text(encoding="utf-8", errors="replace")
        try:
            examples = _examples(text)
        except (ValueError, KeyError, TypeError) as error:
            self._end(job, "failed", f"The training file cannot be read: {error}")
            return
        if len(examples) < MIN_EXAMPLES:
            self._end(job, "failed", f"The training file has {len(examples)} examples; at least {MIN_EXAMPLES}.")
            return
        for status in ("queued", "running"):
            job["status"] = status
            self._say(job, f"The job is {status}.")
            await asyncio.sleep(pause)
            if job["status"] != status:
                return
        epochs = job["hyperparameters"]["n_epochs"]
        name = f"ft:{job['model']}:sandbox:{job['suffix'] or 'tuned'}:{job['id'][-8:]}"
        losses = self._engine.tune(job["model"], name, examples, epochs)
        interval = max(1, len(losses) // MAX_EVENTS)
        for step, loss in enumerate(losses, start=1):
            if step % interval == 0 or step == len(losses):
                self._say(job, f"Step {step}: training loss {loss}", {"step": step, "train_loss": loss})
                await asyncio.sleep(pause / MAX_EVENTS)
                if job["status"] != "running":
                    return
        job.update(fine_tuned_model=name, trained_tokens=len(text) // 4 * epochs)
        job["result_files"] = [self._save_results(losses)]
        self._end(job, "succeeded")

    def _save_results(self, losses: Sequence[float]) -> str:
        key = f"file-{uuid.uuid4().hex[:24]}"
        table = io.StringIO()
        writer = csv.writer(table)
        writer.writerow(["step", "train_loss", "train_accuracy", "valid_loss"])
        # There is no validation here, so the last column is empty.
        writer.writerows([step, loss, round(1 / (1 + loss), 4), ""] for step, loss in enumerate(losses, start=1))
        (self._folder / "files" / key).write_text(table.getvalue(), encoding="utf-8")
        return key

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
        metadata = {name[9:-1]: value for name, value in request.query.items() if name.startswith("metadata[")}
        jobs = [
            job
            for job in reversed(self._jobs.values())
            if all(job["metadata"].get(name) == value for name, value in metadata.items())
        ]
        return web.json_response({"object": "list", "data": jobs, "has_more": False})

    async def _job(self, request: web.Request) -> web.Response:
        return web.json_response(self._get_job(request))

    async def _put_status(self, request: web.Request) -> web.Response:
        """Set any status of a job, for tests: no real provider does that on demand."""
        job = self._get_job(request)
        job["status"] = str((await request.json())["status"])
        return web.json_response(job)

    async def _list_checkpoints(self, request: web.Request) -> web.Response:
        job = self._get_job(request)
        steps = [event["data"] for event in self._events[job["id"]] if event["data"]]
        last = [steps[-1]] if steps and job["status"] == "succeeded" else []
        listed = [
            {
                "id": f"ftckpt-{job['id'][-8:]}-{checkpoint['step']}",
                "object": "fine_tuning.job.checkpoint",
                "fine_tuned_model_checkpoint": job["fine_tuned_model"],
                "step_number": checkpoint["step"],
                "metrics": checkpoint,
            }
            for checkpoint in last
        ]
        return web.json_response({"object": "list", "data": listed, "has_more": False})

    async def _cancel(self, request: web.Request) -> web.Response:
        job = self._get_job(request)
        if job["status"] in FINAL_STATUSES:
            return faults.error(400, f"The job has {job['status']}.", "invalid_request")
        self._end(job, "cancelled")
        return web.json_response(job)

    async def _list_events(self, request: web.Request) -> web.Response:
        events: Sequence[dict[str, Any]] = self._events[self._get_job(request)["id"]]
        return web.json_response({"object": "list", "data": list(reversed(events)), "has_more": False})

    def _get_job(self, request: web.Request) -> dict[str, Any]:
        job = self._jobs.get(request.match_info["job"])
        if job is None:
            raise web.HTTPNotFound(
                text=json.dumps({"error": {"message": "There is no such job.", "code": "not_found"}})
            )
        return job


def not_found(message: str) -> web.HTTPNotFound:
    """Return a 404 in the form of OpenAI's protocol."""
    body = json.dumps({"error": {"message": message, "code": "not_found"}})
    return web.HTTPNotFound(text=body, content_type="application/json")


def _examples(text: str) -> list[dict[str, Any]]:
    """Read the lines of a training file. ValueError, KeyError or TypeError for an invalid one. Of a preference pair the
    preferred answer is learned."""
    examples = [_as_example(json.loads(line)) for line in text.split("\n") if line.strip()]
    for example in examples:
        if not isinstance(example["messages"], list) or example["messages"][-1]["role"] != "assistant":
            raise ValueError("each line has messages, and the last of them is the assistant's")
    return examples


def _as_example(line: Mapping[str, Any]) -> dict[str, Any]:
    if "input" not in line:
        return dict(line)
    return {"messages": [*line["input"]["messages"], *line["preferred_output"]]}
