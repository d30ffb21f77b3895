"""What a provider of tuning is asked and answers, whoever it is. Pure.

An engine on one's own machine is such a provider as well: nothing here assumes a cloud. Errors are CallError, with what
is to be done about them (evaluations.providers.chat).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from finetunes.providers.curves import Point
from finetunes.providers.jsonl import Method

# How long sending a file may take.
UPLOAD_SECONDS = 540.0
CLIENT_REFERENCE = "cuebook_ref"


@dataclass(frozen=True)
class Order:
    """What is to be tuned. `reference` is ours, and the same however often we have to ask."""

    reference: str
    model: str
    training_file: str
    validation_file: str | None
    method: Method
    hyperparameters: Mapping[str, Any]
    suffix: str
    seed: int | None = None


@dataclass(frozen=True)
class RemoteJob:
    """A job as its provider tells it; `status` is its own word."""

    id: str
    status: str
    fine_tuned_model: str = ""
    trained_tokens: int | None = None
    error: str = ""
    result_files: Sequence[str] = ()
    training_file: str = ""
    reference: str = ""
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RemoteEvent:
    id: str
    at: float
    level: str
    message: str
    point: Point | None = None


@dataclass(frozen=True)
class RemoteCheckpoint:
    id: str
    step: int
    model: str
    point: Point | None = None


class Tuning(Protocol):
    """A provider that tunes models. No call is tried again by itself."""

    async def upload(self, name: str, data: bytes) -> str:
        """Send a training file; returns what the provider calls it."""
        ...

    async def uploaded(self, name: str) -> str | None:
        """What a file of this name is called that is there already."""
        ...

    async def create(self, order: Order) -> RemoteJob: ...

    async def created(self, order: Order) -> RemoteJob | None:
        """The job that this order has become already, however often it was sent."""
        ...

    async def retrieve(self, key: str) -> RemoteJob: ...

    async def cancel(self, key: str) -> RemoteJob: ...

    async def events(self, key: str) -> list[RemoteEvent]:
        """The newest events, oldest first; none where the provider tells none."""
        ...

    async def checkpoints(self, key: str) -> list[RemoteCheckpoint]: ...

    async def result(self, file: str) -> bytes: ...
