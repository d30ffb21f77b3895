"""The engine's fine-tuning: each job is a trainer's process, whose lines become the job's events."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluations.local import base_file
from evaluations.local.base_file import Base
from evaluations.local.lifeline import KEY_VARIABLE
from evaluations.local.llama_server import ROOT, Adapter, EngineError
from evaluations.openai_server.errors import APIError
from evaluations.openai_server.files import Files
from evaluations.openai_server.jobs import FINAL_STATUSES, Job, Jobs, read_lines

# The rate of a multiplier of 1.
RATE = 1e-3
MAX_EVENTS = 40
# A trainer that the system killed goes on from its checkpoint; one that is killed again and again does not.
MAX_RESTARTS = 3
RESTART_SECONDS = 1.0
LOG_TAIL_CHARACTERS = 500
MAX_LINE_BYTES = 1 << 20
MAX_LAYERS = 1_000
VALIDATION = ("valid_loss", "valid_mean_token_accuracy")


class LocalJobs(Jobs):
    """The jobs of one base; they run one after the other.

    `tokeniser` returns where the base is served, and `on_adapters` is awaited when there are new ones."""

    owner = "local"

    def __init__(
        self,
        files: Files,
        folder: Path,
        base: Base,
        *,
        key: str,
        tokeniser: Callable[[], str],
        on_adapters: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(files, folder)
        self._base = base
        self._key = key
        self._tokeniser = tokeniser
        self._on_adapters = on_adapters
        self._turn = asyncio.Lock()
        self._trainers: dict[str, asyncio.subprocess.Process] = {}

    def hyperparameters(self, model: str, method: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        if model != self._base.name:
            raise APIError(404, f"Only the base {self._base.name!r} can be tuned.", "model_not_found", "model")
        if self._base.refusal:
            raise APIError(400, self._base.refusal, "model_not_supported", "model")
        if method != "supervised":
            sentence = f"The trainer knows no method {method[:40]!r}, only supervised tuning."
            raise APIError(400, sentence, "invalid_method", "method")
        layers = self._base.layers
        # A third of the layers learns a task about as well as all of them, in about half the time and memory.
        limits: dict[str, tuple[float, float, float]] = {
            "n_epochs": (3, 1, 50),
            "batch_size": (4, 1, 64),
            "learning_rate_multiplier": (1.0, 0.001, 100.0),
            "rank": (8, 1, 128),
            "layers": (-(-layers // 3), 1, MAX_LAYERS),
        }
        unknown = sorted(set(settings) - set(limits))
        if unknown:
            raise APIError(400, f"The trainer has no setting {unknown[0]!r}.", "invalid_request", unknown[0])
        hyperparameters: dict[str, Any] = {}
        for name, (default, low, high) in limits.items():
            value = settings.get(name, "auto")
            value = default if value in ("auto", None) else value
            kind = int if isinstance(default, int) else (int, float)
            if isinstance(value, bool) or not isinstance(value, kind) or not low <= value <= high:
                raise APIError(400, f"{name} must be from {low:g} to {high:g}.", "invalid_request", name)
            hyperparameters[name] = value
        # More than there are means all, as the job then says.
        hyperparameters["layers"] = min(hyperparameters["layers"], layers)
        return hyperparameters

    def adapters(self) -> Sequence[Adapter]:
        """Return the models of all jobs of this base that were trained, with those of their other epochs.

        One that llama.cpp cannot read would keep it from starting, so a file that is gone or cut off is left out."""
        return [
            Adapter(checkpoint["model"], path)
            for job in self.every()
            if job["model"] == self._base.name and job["status"] not in ("failed", "cancelled")
            for checkpoint in self.checkpoints(job)
            if base_file.is_whole(path := Path(checkpoint["adapter"]))
        ]

    async def resume(self, job: Job) -> None:
        if job["status"] in FINAL_STATUSES:
            return
        if job["model"] != self._base.name:
            sentence = f"The engine was started again with another model, {self._base.name}."
            self.end(job, "failed", sentence, code="server_error")
        else:
            self.say(job, "The engine was started again; the job goes on from its last checkpoint.")
            self.start(job)

    async def stop(self, job: Job) -> None:
        trainer = self._trainers.get(job["id"])
        if trainer is not None:
            with contextlib.suppress(ProcessLookupError):
                trainer.kill()

    async def close(self) -> None:
        """End the trainers without ending their jobs: the next start goes on with them."""
        for task in self.running():
            task.cancel()
        await asyncio.gather(*self.running(), return_exceptions=True)

    async def run(self, job: Job) -> None:
        if self._turn.locked():
            self.set_status(job, "queued")
        async with self._turn:
            if job["status"] in FINAL_STATUSES:
                return
            self.set_status(job, "running")
            folder = self._folder / job["id"]
            folder.mkdir(exist_ok=True)
            for attempt in range(MAX_RESTARTS + 1):
                code = await self._train(job, folder)
                # Cancelled, at whatever moment.
                if job["status"] in FINAL_STATUSES:
                    return
                if code >= 0 and code != os.EX_TEMPFAIL:
                    break
                why = f"was ended by signal {-code}" if code < 0 else "could not reach llama.cpp"
                self.say(job, f"The trainer {why}; attempt {attempt + 1} of {MAX_RESTARTS + 1}.")
                await asyncio.sleep(RESTART_SECONDS)
                if job["status"] in FINAL_STATUSES:
                    return
            await self._finish(job, folder, code)

    async def _train(self, job: Job, folder: Path) -> int:
        """Run a trainer to its end; returns its exit code, negative where a signal ended it."""
        settings = job["hyperparameters"]
        arguments = [str(self._base.path), str(self.training_path(job)), str(folder), "--server", self._tokeniser()]
        arguments += ["--epochs", str(settings["n_epochs"]), "--batch", str(settings["batch_size"])]
        arguments += ["--rate", repr(RATE * settings["learning_rate_multiplier"]), "--seed", str(job["seed"])]
        arguments += ["--rank", str(settings["rank"]), "--layers", str(settings["layers"])]
        if job["validation_file"]:
            arguments += ["--validation", str(self._files.path(job["validation_file"]))]
        # A line that the last process was killed in is cut off, so that the next one does not continue it.
        read_lines(folder / "lines.jsonl")
        with (folder / "trainer.log").open("ab") as log:
            trainer = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "evaluations.local.trainer", *arguments),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, KEY_VARIABLE: self._key},
                limit=MAX_LINE_BYTES,
            )
        self._trainers[job["id"]] = trainer
        try:
            if job["status"] in FINAL_STATUSES:
                # Cancelled while it was being started, when there was nothing to stop yet.
                trainer.kill()
            assert trainer.stdout is not None  # noqa: S101 - it is a pipe
            async for line in trainer.stdout:
                self._hear(job, folder, line)
            return await trainer.wait()
        finally:
            self._trainers.pop(job["id"], None)
            if trainer.returncode is None:
                trainer.send_signal(signal.SIGKILL)
                await trainer.wait()

    def _hear(self, job: Job, folder: Path, line: bytes) -> None:
        """Keep a line of the trainer, and tell it as an event if it matters."""
        with (folder / "lines.jsonl").open("ab") as file:
            file.write(line)
        news = json.loads(line)
        # What was said before a restart is repeated, for the case that nobody heard it.
        if job["status"] in FINAL_STATUSES or news.get("repeated"):
            return
        if "train_loss" in news:
            step, last = news["step"], news["of"]
            if step % max(1, last // MAX_EVENTS) == 0 or step == last:
                metrics = {"step": step, "train_loss": news["train_loss"]}
                self.say(job, f"Step {step} of {last}: training loss {news['train_loss']}", metrics)
        elif "adapter" in news:
            measured = {name: news[name] for name in VALIDATION if name in news}
            result = f": validation loss {news['valid_loss']}" if measured else ""
            self.say(job, f"Epoch {news['epoch']} is over{result}", {"step": news["step"], **measured})
        elif "event" in news and news["event"] != "done":
            details = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in news.items() if name != "event")
            self.say(job, f"{news['event'].replace('_', ' ').capitalize()}: {details}")

    async def _finish(self, job: Job, folder: Path, code: int) -> None:
        lines = read_lines(folder / "lines.jsonl")
        done = next((line for line in reversed(lines) if line.get("event") == "done"), None)
        epochs = {line["epoch"]: line for line in lines if "adapter" in line}
        if code or done is None or done["best_epoch"] not in epochs:
            error = next((line["error"] for line in reversed(lines) if "error" in line), "")
            if error:
                self.end(job, "failed", error)
            else:
                log = (folder / "trainer.log").read_text(encoding="utf-8", errors="replace")[-LOG_TAIL_CHARACTERS:]
                self.end(job, "failed", f"The trainer ended with code {code}: {log.strip()}", code="server_error")
            return
        job["checkpoints"] = [
            {
                "step": line["step"],
                "model": self.model_name(job, 0 if epoch == done["best_epoch"] else line["step"]),
                "metrics": {name: line[name] for name in ("step", *VALIDATION) if name in line},
                "adapter": str(folder / line["adapter"]),
            }
            for epoch, line in sorted(epochs.items())
        ]
        job["trained_tokens"] = done["trained_tokens"]
        steps: dict[int, dict[str, Any]] = {}
        # A step that was done again after a restart replaces the first.
        for line in lines:
            if "train_loss" in line:
                steps[line["step"]] = {
                    "step": line["step"],
                    "train_loss": line["train_loss"],
                    "train_accuracy": line["train_mean_token_accuracy"],
                }
        for line in epochs.values():
            steps[line["step"]] |= {name: line[name] for name in VALIDATION if name in line}
        self.save_results(job, [steps[step] for step in sorted(steps)])
        seconds, memory = done["processor_seconds"], done["peak_mb"]
        self.say(
            job, f"It took {seconds:g} processor seconds and {memory:,} MB; the best epoch is {done['best_epoch']}."
        )
        try:
            await self._on_adapters()
        except EngineError as error:
            job["checkpoints"] = []
            self.end(job, "failed", f"The tuned model cannot be served: {error}", code="server_error")
            return
        # It may have been cancelled meanwhile.
        if job["status"] not in FINAL_STATUSES:
            job["fine_tuned_model"] = self.model_name(job)
            self.end(job, "succeeded")
