"""Interface of providers that fine-tune: requests, answers and the client protocol. Pure.

An engine on one's own machine can be such a provider: nothing here assumes a cloud. Errors are CallError, with a remedy
(evaluations.providers.chat).
"""

import importlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Protocol

from evaluations.providers.chat import Endpoint
from evaluations.providers.outbound import Destinations
from finetunes.providers.curves import CurvePoint
from finetunes.providers.jsonl import Method
from finetunes.providers.states import JobState

# The longest upload of a file.
UPLOAD_SECONDS = 540.0
# OpenAI's, and those of servers with its wire.
MIN_EXAMPLES = 10
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


@dataclass(frozen=True)
class TuningProtocol:
    """How a kind of provider tunes: what its statuses mean, and its limits. Pure data; the client is loaded when it is
    used.

    `closes` is the day from which it accepts no new jobs; `max_suffix_length` bounds the part of the model's name that
    can be chosen; `keeps_metadata` says whether jobs carry the metadata that we send; `deploys` whether a tuned model
    has to be deployed by hand before it answers; `hosts` are the ends of addresses by which it is recognised.
    """

    name: str
    title: str
    statuses: Mapping[str, JobState]
    max_suffix_length: int = 64
    keeps_metadata: bool = True
    deploys: bool = False
    closes: date | None = None
    hosts: Sequence[str] = ()
    # What it learns from, and whether a job may change its learning rate by a factor.
    methods: Sequence[Method] = tuple(Method)
    has_rate_multiplier: bool = True
    # Settings beyond those that all have: "rank", "layers".
    more_settings: Sequence[str] = ()
    # Its rules of files: fewer or more examples are refused there.
    min_examples: int = MIN_EXAMPLES
    max_examples: int | None = None
    # The module whose `connect` opens a client.
    client: str = "finetunes.providers.openai_tuning"

    def connect(self, endpoint: Endpoint, destinations: Destinations) -> AbstractAsyncContextManager[TuningClient]:
        """Open a client for the time of some calls; its library is loaded with it."""
        opened: AbstractAsyncContextManager[TuningClient] = importlib.import_module(self.client).connect(
            endpoint, destinations, self
        )
        return opened

    def state_for_status(self, status: str) -> JobState | None:
        """Return the state that a provider's status stands for, or None for an unknown status."""
        return self.statuses.get(status.strip().lower())


# What servers with OpenAI's wire say of a job.
OPENAI_STATUSES: Mapping[str, JobState] = {
    "validating_files": JobState.QUEUED,
    "queued": JobState.QUEUED,
    "pending": JobState.QUEUED,
    "running": JobState.RUNNING,
    "succeeded": JobState.SUCCEEDED,
    "failed": JobState.FAILED,
    "cancelled": JobState.CANCELLED,
    "canceled": JobState.CANCELLED,
}
