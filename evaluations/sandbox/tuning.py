"""The sandbox's fine-tuning: jobs take their time, and the simulation learns from the file of a job."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from evaluations.openai_server.errors import APIError
from evaluations.openai_server.files import Files
from evaluations.openai_server.jobs import FINAL_STATUSES, MIN_EXAMPLES, Job, Jobs
from evaluations.sandbox.faults import Faults
from evaluations.sandbox.neighbours import Neighbours

# The duration of each state of a job at a time scale of 1.
STATE_SECONDS = 2.0
EPOCHS = 3
# The number of events with losses while a job runs; its file of results has all losses.
MAX_EVENTS = 20


class SimulatedJobs(Jobs):
    """Jobs of the simulation. It stores no weights: at a start it learns again from the files of what succeeded."""

    owner = "sandbox"

    def __init__(self, files: Files, folder: Path, engine: Neighbours, time_scale: float, faults: Faults) -> None:
        super().__init__(files, folder, faults.wrap)
        self._engine = engine
        self._time_scale = time_scale

    def route(self, app: web.Application) -> None:
        super().route(app)
        app.router.add_post("/sandbox/jobs/{job}", self._put_status)

    def hyperparameters(self, model: str, method: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        if model not in self._engine.models():
            raise APIError(404, "The model does not exist.", "model_not_found", "model")
        epochs = settings.get("n_epochs")
        return {**settings, "n_epochs": epochs if isinstance(epochs, int) else EPOCHS}

    async def resume(self, job: Job) -> None:
        if job["status"] == "succeeded":
            examples = _examples(self.training_path(job).read_text(encoding="utf-8"))
            self._engine.tune(job["model"], job["fine_tuned_model"], examples, job["hyperparameters"]["n_epochs"])
        elif job["status"] not in FINAL_STATUSES:
            self.end(job, "failed", "The sandbox was stopped while it ran.", code="server_error")

    async def run(self, job: Job) -> None:
        pause = STATE_SECONDS * self._time_scale
        await asyncio.sleep(pause)
        # A job whose status was set from outside in the meantime does not go on.
        if job["status"] != "validating_files":
            return
        text = self.training_path(job).read_text(encoding="utf-8", errors="replace")
        try:
            examples = _examples(text)
        except (ValueError, KeyError, TypeError) as error:
            self.end(job, "failed", f"The training file cannot be read: {error}")
            return
        if len(examples) < MIN_EXAMPLES:
            self.end(job, "failed", f"The training file has {len(examples)} examples; at least {MIN_EXAMPLES}.")
            return
        for status in ("queued", "running"):
            self.set_status(job, status)
            await asyncio.sleep(pause)
            if job["status"] != status:
                return
        epochs = job["hyperparameters"]["n_epochs"]
        name = self.model_name(job)
        losses = self._engine.tune(job["model"], name, examples, epochs)
        interval = max(1, len(losses) // MAX_EVENTS)
        for step, loss in enumerate(losses, start=1):
            if step % interval == 0 or step == len(losses):
                self.say(job, f"Step {step}: training loss {loss}", {"step": step, "train_loss": loss})
                await asyncio.sleep(pause / MAX_EVENTS)
                if job["status"] != "running":
                    return
        job.update(fine_tuned_model=name, trained_tokens=len(text) // 4 * epochs)
        job["checkpoints"] = [
            {"step": len(losses), "model": name, "metrics": {"step": len(losses), "train_loss": losses[-1]}}
        ]
        # There is no validation here, so its columns are empty.
        rows = [
            {"step": step, "train_loss": loss, "train_accuracy": round(1 / (1 + loss), 4)}
            for step, loss in enumerate(losses, start=1)
        ]
        self.save_results(job, rows)
        self.end(job, "succeeded")

    async def _put_status(self, request: web.Request) -> web.Response:
        """Set any status of a job, for tests: no real provider does that on demand."""
        job = self.job_of(request)
        job["status"] = str((await request.json())["status"])
        return web.json_response(job)


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
