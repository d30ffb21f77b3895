"""Interface of providers that fine-tune: requests, answers and the client protocol. Pure.

An engine on one's own machine can be such a provider: nothing here assumes a cloud. Errors are CallError, with a remedy
(evaluations.providers.chat).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from finetunes.providers.curves import CurvePoint
from finetunes.providers.jsonl import Method

# The longest upload of a file.
UPLOAD_SECONDS = 540.0
CLIENT_REFERENCE = "cuebook_ref"


@dataclass(frozen=True)
class CreateRequest:
    """Request to create a job. `reference` is ours, and stays the same when the request is repeated."""

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
    """A job as its provider reports it; `status` is the provider's own word."""

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
    point: CurvePoint | None = None


@dataclass(frozen=True)
class RemoteCheckpoint:
    id: str
    step: int
    model: str
    point: CurvePoint | None = None


class TuningClient(Protocol):
    """A client of a provider that tunes models. It never retries a call by itself."""

    async def upload(self, name: str, data: bytes) -> str:
        """Send a training file; returns the provider's id of it."""
        ...

    async def find_file(self, name: str) -> str | None:
        """Return the id of a file of this name that the provider already has."""
        ...

    async def create(self, request: CreateRequest) -> RemoteJob: ...

    async def find_job(self, request: CreateRequest) -> RemoteJob | None:
        """Return the job that this request has already created, however often it was sent."""
        ...

    async def retrieve(self, key: str) -> RemoteJob: ...

    async def cancel(self, key: str) -> RemoteJob: ...

    async def events(self, key: str) -> list[RemoteEvent]:
        """Return the newest events, oldest first; none where the provider reports none."""
        ...

    async def checkpoints(self, key: str) -> list[RemoteCheckpoint]: ...

    async def result(self, file: str) -> bytes: ...
