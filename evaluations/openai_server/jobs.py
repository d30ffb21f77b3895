"""Fine-tuning jobs of OpenAI's protocol. Jobs, events and checkpoints are files, so that they survive a restart."""

import asyncio
import csv
import io
import json
import logging
import os
import re
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

from evaluations.openai_server.bodies import object_in, read_object
from evaluations.openai_server.errors import APIError, not_found
from evaluations.openai_server.files import Files, Wrap, unwrapped

log = logging.getLogger(__name__)

MIN_EXAMPLES = 10
MAX_SEED = 2**31
SUFFIX = re.compile(r"[A-Za-z0-9._-]{1,64}")
FINAL_STATUSES = ("succeeded", "failed", "cancelled")
# The columns of OpenAI's file of results.
RESULT_COLUMNS = ("step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy")
Job = dict[str, Any]


class Jobs(ABC):
    """The jobs of a server. What trains is the server's own: `run`, `stop` and `resume`."""

    # Who trains, in the names of tuned models.
    owner: str

    def __init__(self, files: Files, folder: Path, wrap: Wrap = unwrapped) -> None:
        self._files = files
        self._folder = folder / "jobs"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._wrap = wrap
        self._jobs: dict[str, Job] = {}
        self._events: dict[str, list[dict[str, Any]]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        for path in sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime):
            job = json.loads(path.read_text(encoding="utf-8"))
            self._jobs[job["id"]], self._events[job["id"]] = job, self._read_events(job)

    @abstractmethod
    def hyperparameters(self, model: str, method: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a job is trained with. APIError where the model, the method or a setting is refused."""

    @abstractmethod
    async def run(self, job: Job) -> None:
        """Train a job to its end, and `end` it."""

    @abstractmethod
    async def resume(self, job: Job) -> None:
        """Go on with a job that the last process left, whatever its status."""

    async def stop(self, job: Job) -> None:  # noqa: B027 - nothing to stop where `run` looks at the status
        """End the work for a job that was cancelled."""

    def route(self, app: web.Application) -> None:
        wrap = self._wrap
        app.router.add_post("/v1/fine_tuning/jobs", wrap("create", self._create))
        app.router.add_get("/v1/fine_tuning/jobs", wrap("list", self._list))
        app.router.add_get("/v1/fine_tuning/jobs/{job}", wrap("poll", self._get))
        app.router.add_post("/v1/fine_tuning/jobs/{job}/cancel", wrap("cancel", self._cancel))
        app.router.add_get("/v1/fine_tuning/jobs/{job}/events", self._list_events)
        app.router.add_get("/v1/fine_tuning/jobs/{job}/checkpoints", self._list_checkpoints)
        app.on_startup.append(self._resume_all)

    def job_of(self, request: web.Request) -> Job:
        job = self._jobs.get(request.match_info["job"])
        if job is None:
            raise not_found("There is no such job.")
        return job

    def every(self) -> Sequence[Job]:
        """Return all jobs, the oldest first."""
        return list(self._jobs.values())

    def running(self) -> Sequence[asyncio.Task[None]]:
        """Return the tasks of the jobs that run."""
        return list(self._tasks.values())

    def training_path(self, job: Job) -> Path:
        return self._files.path(job["training_file"])

    def model_name(self, job: Job, checkpoint: int = 0) -> str:
        """Return the name of a job's model, or of the checkpoint at a step."""
        name = f"ft:{job['model']}:{self.owner}:{job['suffix'] or 'tuned'}:{job['id'][-8:]}"
        return f"{name}:ckpt-step-{checkpoint}" if checkpoint else name

    def save(self, job: Job) -> None:
        path = self._folder / f"{job['id']}.json"
        unfinished = path.with_suffix(".part")
        unfinished.write_text(json.dumps(job), encoding="utf-8")
        os.replace(unfinished, path)

    def set_status(self, job: Job, status: str) -> None:
        job["status"] = status
        self.save(job)
        self.say(job, f"The job is {status}.")

    def end(self, job: Job, status: str, message: str = "", *, code: str = "invalid_training_file") -> None:
        job["status"], job["finished_at"] = status, int(time.time())
        if message:
            param = "training_file" if code == "invalid_training_file" else None
            job["error"] = {"code": code, "message": message, "param": param}
        self.say(job, message or f"The job has {status}.")
        self.save(job)

    def say(self, job: Job, message: str, data: Mapping[str, Any] | None = None) -> None:
        """Add an event to a job; one with `data` has metrics."""
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
        with self._events_path(job).open("a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")

    def save_results(self, job: Job, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the file of results; `rows` have the columns of RESULT_COLUMNS that they know."""
        table = io.StringIO()
        writer = csv.DictWriter(table, RESULT_COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
        about = self._files.save(table.getvalue().encode(), "step_metrics.csv", "fine-tune-results")
        job["result_files"] = [about["id"]]

    def start(self, job: Job) -> None:
        """Run a job in the background."""
        task = asyncio.get_running_loop().create_task(self._run_to_an_end(job))
        self._tasks[job["id"]] = task
        task.add_done_callback(lambda _task: self._tasks.pop(job["id"], None))

    async def _run_to_an_end(self, job: Job) -> None:
        """Run a job; one whose work fails in a way that nobody foresaw has an end, too."""
        try:
            await self.run(job)
        except Exception as error:
            log.exception("job %s", job["id"])
            if job["status"] not in FINAL_STATUSES:
                self.end(job, "failed", f"The server failed: {error}", code="server_error")

    def checkpoints(self, job: Job) -> Sequence[Mapping[str, Any]]:
        """Return a job's checkpoints, the oldest first: {"step", "model", "metrics"} each."""
        rows: Sequence[Mapping[str, Any]] = job.get("checkpoints", [])
        return rows

    async def _resume_all(self, _app: web.Application) -> None:
        for job in list(self._jobs.values()):
            await self.resume(job)

    async def _create(self, request: web.Request) -> web.Response:
        body = await read_object(request)
        training_file = self._files.path(str(body.get("training_file", ""))).name
        validation_file = body.get("validation_file")
        if validation_file:
            self._files.path(str(validation_file))
        method = object_in(body, "method") or {"type": "supervised"}
        method_name = str(method.get("type"))
        settings = object_in(object_in(method, method_name), "hyperparameters")
        seed, suffix = body.get("seed") or 0, body.get("suffix") or None
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < MAX_SEED:
            raise APIError(400, f"seed must be a whole number from 0 to {MAX_SEED - 1:,}.", "invalid_request", "seed")
        if suffix is not None and not SUFFIX.fullmatch(str(suffix)):
            raise APIError(400, "suffix must be up to 64 letters, digits, - or _.", "invalid_request", "suffix")
        key = f"ftjob-{uuid.uuid4().hex[:24]}"
        job: Job = {
            "id": key,
            "object": "fine_tuning.job",
            "model": body.get("model"),
            "created_at": int(time.time()),
            "finished_at": None,
            "fine_tuned_model": None,
            "training_file": training_file,
            "validation_file": validation_file,
            "status": "validating_files",
            "trained_tokens": None,
            "error": None,
            "seed": seed,
            "suffix": suffix,
            "organization_id": self.owner,
            "result_files": [],
            "hyperparameters": self.hyperparameters(str(body.get("model")), method_name, settings),
            "method": method,
            "metadata": object_in(body, "metadata"),
        }
        self._jobs[key], self._events[key] = job, []
        self.save(job)
        self.say(job, "Validating the training file.")
        self.start(job)
        return web.json_response(_public(job))

    async def _list(self, request: web.Request) -> web.Response:
        metadata = {name[9:-1]: value for name, value in request.query.items() if name.startswith("metadata[")}
        jobs = [
            _public(job)
            for job in reversed(self._jobs.values())
            if all(job["metadata"].get(name) == value for name, value in metadata.items())
        ]
        return web.json_response({"object": "list", "data": jobs, "has_more": False})

    async def _get(self, request: web.Request) -> web.Response:
        return web.json_response(_public(self.job_of(request)))

    async def _cancel(self, request: web.Request) -> web.Response:
        job = self.job_of(request)
        if job["status"] in FINAL_STATUSES:
            raise APIError(400, f"The job has {job['status']}.", "invalid_request")
        self.end(job, "cancelled")
        await self.stop(job)
        return web.json_response(_public(job))

    async def _list_events(self, request: web.Request) -> web.Response:
        events = list(reversed(self._events[self.job_of(request)["id"]]))
        return web.json_response({"object": "list", "data": events, "has_more": False})

    async def _list_checkpoints(self, request: web.Request) -> web.Response:
        job = self.job_of(request)
        rows = [
            {
                "id": f"ftckpt-{job['id'][-8:]}-{checkpoint['step']}",
                "object": "fine_tuning.job.checkpoint",
                "fine_tuned_model_checkpoint": checkpoint["model"],
                "fine_tuning_job_id": job["id"],
                "step_number": checkpoint["step"],
                "metrics": checkpoint["metrics"],
            }
            for checkpoint in reversed(self.checkpoints(job))
        ]
        return web.json_response({"object": "list", "data": rows, "has_more": False})

    def _events_path(self, job: Job) -> Path:
        return self._folder / f"{job['id']}.events.jsonl"

    def _read_events(self, job: Job) -> list[dict[str, Any]]:
        return read_lines(self._events_path(job))


def _public(job: Job) -> Job:
    """Return what the protocol says of a job; checkpoints have an address of their own, and places in our folder."""
    return {name: value for name, value in job.items() if name != "checkpoints"}


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a file of JSON lines that is appended to. A line that its writer was killed in is cut off, so that the next
    one does not continue it."""
    if not path.exists():
        return []
    text = path.read_bytes()
    end = text.rfind(b"\n") + 1
    if end < len(text):
        os.truncate(path, end)
    return [json.loads(line) for line in text[:end].splitlines()]
