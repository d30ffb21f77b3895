"""Training: Adam over the batches of each epoch, stopped where the validation loss no longer falls, and resumable."""

import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from evaluations.local.trainer.adapter import AdapterShape, Parameters, write_adapter
from evaluations.local.trainer.network import Gradients, Network, Text
from evaluations.local.trainer.weights import Floats

# Adam (Kingma and Ba 2014, arXiv 1412.6980), with the authors' values.
DECAY_1, DECAY_2, TINY = np.float32(0.9), np.float32(0.999), np.float32(1e-8)
MAX_GRADIENT_NORM = 1.0
WARM_UP_STEPS = 5
CHECKPOINT_SECONDS = 20.0
VALIDATION_BATCH = 8
Say = Callable[..., None]


@dataclass(frozen=True)
class Settings:
    """What a job is trained with. The defaults are cautious: few epochs, a small adapter."""

    epochs: int = 3
    batch: int = 4
    rate: float = 1e-3
    seed: int = 0
    shape: AdapterShape = field(default_factory=lambda: AdapterShape(8, 16.0, 0))


@dataclass
class Progress:
    """How far the training is; beside the numbers of the adapter it is all that a resumed one needs."""

    step: int = 0
    epoch: int = 0
    best_epoch: int = 0
    best_loss: float | None = None
    is_done: bool = False
    # What was said of steps and epochs, to be repeated for whoever was not there to hear it.
    lines: list[dict[str, Any]] = field(default_factory=list)


class Training:
    """One job's training in its folder: `checkpoint.npz` to resume from, `epoch-N.gguf` after each epoch."""

    def __init__(
        self, network: Network, texts: Sequence[Text], validation: Sequence[Text], settings: Settings, folder: Path
    ) -> None:
        self._network = network
        self._texts = texts
        self._validation = validation
        self._settings = settings
        self._folder = folder
        self._progress = Progress()
        self._first: Parameters = {key: np.zeros_like(values) for key, values in network.parameters.items()}
        self._second: Parameters = {key: np.zeros_like(values) for key, values in network.parameters.items()}
        self._saved_at = time.monotonic()

    @property
    def steps_in_epoch(self) -> int:
        return math.ceil(len(self._texts) / self._settings.batch)

    @property
    def steps(self) -> int:
        return self.steps_in_epoch * self._settings.epochs

    def run(self, say: Say, architecture: str) -> Progress:
        """Train to the end, from the last checkpoint if there is one; `say` is called with each step and epoch."""
        if self._resume():
            for line in self._progress.lines:
                say(**line, repeated=True)
            say(event="resumed", step=self._progress.step)
        while not self._progress.is_done:
            self._epoch(say)
            self._end_epoch(say, architecture)
        return self._progress

    def _epoch(self, say: Say) -> None:
        # The order of an epoch depends on nothing but the seed, so that a resumed one has the same.
        order = np.random.default_rng([self._settings.seed, self._progress.epoch]).permutation(len(self._texts))
        batch = self._settings.batch
        for start in range((self._progress.step % self.steps_in_epoch) * batch, len(order), batch):
            began = time.monotonic()
            loss, gradients = self._network.loss_and_gradients([self._texts[i] for i in order[start : start + batch]])
            self._progress.step += 1
            self._update(gradients)
            line = {
                "step": self._progress.step,
                "of": self.steps,
                "train_loss": round(loss.mean, 4),
                "train_mean_token_accuracy": round(loss.accuracy, 4),
                "seconds": round(time.monotonic() - began, 3),
            }
            self._progress.lines.append(line)
            say(**line)
            is_last = start + batch >= len(order)
            if not is_last and time.monotonic() - self._saved_at > CHECKPOINT_SECONDS:
                self._save()

    def _update(self, gradients: Gradients) -> None:
        step = self._progress.step
        norm = math.sqrt(sum(float((gradient * gradient).sum()) for gradient in gradients.values()))
        clip = np.float32(min(1.0, MAX_GRADIENT_NORM / (norm + 1e-6)))
        warm_up = min(1.0, step / WARM_UP_STEPS)
        rate = np.float32(self._settings.rate * warm_up * (1 - (step - 1) / self.steps))
        for key, raw in gradients.items():
            gradient: Floats = raw * clip
            first = self._first[key] = DECAY_1 * self._first[key] + (1 - DECAY_1) * gradient
            second = self._second[key] = DECAY_2 * self._second[key] + (1 - DECAY_2) * gradient * gradient
            mean = first / (1 - DECAY_1 ** np.float32(step))
            variance = second / (1 - DECAY_2 ** np.float32(step))
            self._network.parameters[key] -= rate * mean / (np.sqrt(variance) + TINY)

    def _end_epoch(self, say: Say, architecture: str) -> None:
        progress = self._progress
        progress.epoch += 1
        adapter = self._folder / f"epoch-{progress.epoch}.gguf"
        write_adapter(adapter, self._network.parameters, self._settings.shape, architecture)
        measured: dict[str, Any] = {}
        is_worse = False
        if self._validation:
            loss, accuracy = self._validate()
            measured = {"valid_loss": round(loss, 4), "valid_mean_token_accuracy": round(accuracy, 4)}
            is_worse = progress.best_loss is not None and loss >= progress.best_loss
            if not is_worse:
                progress.best_loss = loss
        if not is_worse:
            progress.best_epoch = progress.epoch
        progress.is_done = is_worse or progress.epoch >= self._settings.epochs
        line = {"epoch": progress.epoch, "step": progress.step, "adapter": adapter.name, **measured}
        progress.lines.append(line)
        self._save()
        say(**line)
        if is_worse and progress.epoch < self._settings.epochs:
            say(event="stopped_early", epoch=progress.epoch, best_epoch=progress.best_epoch)

    def _validate(self) -> tuple[float, float]:
        """Return the mean loss and accuracy of the validation file's answer tokens."""
        losses = [
            self._network.loss(self._validation[start : start + VALIDATION_BATCH])
            for start in range(0, len(self._validation), VALIDATION_BATCH)
        ]
        tokens = sum(loss.tokens for loss in losses)
        return (
            sum(loss.mean * loss.tokens for loss in losses) / tokens,
            sum(loss.accuracy * loss.tokens for loss in losses) / tokens,
        )

    def _save(self) -> None:
        """Write a checkpoint, which replaces the last one as a whole."""
        arrays: dict[str, Any] = {
            f"{group}/{layer}/{name}/{matrix}": values
            for group, parameters in self._groups()
            for (layer, name, matrix), values in parameters.items()
        }
        path = self._folder / "checkpoint.npz"
        unfinished = path.with_name("checkpoint.part")
        with unfinished.open("wb") as file:
            np.savez(file, progress=np.array(json.dumps(asdict(self._progress))), **arrays)
        os.replace(unfinished, path)
        self._saved_at = time.monotonic()

    def _resume(self) -> bool:
        path = self._folder / "checkpoint.npz"
        if not path.exists():
            return False
        with np.load(path, allow_pickle=False) as arrays:
            self._progress = Progress(**json.loads(str(arrays["progress"])))
            for group, parameters in self._groups():
                for layer, name, matrix in parameters:
                    parameters[layer, name, matrix] = arrays[f"{group}/{layer}/{name}/{matrix}"]
        return True

    def _groups(self) -> tuple[tuple[str, Parameters], ...]:
        return ("adapter", self._network.parameters), ("first", self._first), ("second", self._second)
