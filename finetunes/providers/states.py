"""States of a job, their transitions, and the meaning of providers' statuses. Pure data.

PostgreSQL refuses any other transition (finetunes.models.jobs). An unknown status changes nothing: it is shown as the
provider reports it, and polled again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from urllib.parse import urlsplit


class JobState(StrEnum):
    DRAFT = "draft"
    VALIDATING = "validating"
    UPLOADING = "uploading"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    NEEDS_ATTENTION = "attention"


MOVES: Mapping[JobState, tuple[JobState, ...]] = {
    JobState.DRAFT: (JobState.VALIDATING, JobState.CANCELLED),
    JobState.VALIDATING: (JobState.UPLOADING, JobState.NEEDS_ATTENTION, JobState.CANCELLED),
    JobState.UPLOADING: (
        *(JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED),
        JobState.NEEDS_ATTENTION,
    ),
    JobState.QUEUED: (
        *(JobState.RUNNING, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.NEEDS_ATTENTION),
    ),
    JobState.RUNNING: (
        *(JobState.QUEUED, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.NEEDS_ATTENTION),
    ),
    # A user has fixed the cause; the job goes on where it was.
    JobState.NEEDS_ATTENTION: (
        *(JobState.VALIDATING, JobState.UPLOADING, JobState.QUEUED, JobState.RUNNING, JobState.CANCELLED),
    ),
}
# States in which a worker has a step to take.
WORKER_STATES = (JobState.VALIDATING, JobState.UPLOADING, JobState.QUEUED, JobState.RUNNING)
# States in which a job takes one of a provider's slots.
STATES_AT_PROVIDER = (JobState.UPLOADING, JobState.QUEUED, JobState.RUNNING)
FINAL_STATES = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True)
class Protocol:
    """Protocol of a kind of provider: its words for states, and its differences from OpenAI's.

    `closes` is the day from which it accepts no new jobs; `max_suffix_length` bounds the part of the model's name that
    can be chosen; `keeps_metadata` says whether jobs carry the metadata that we send; `deploys` whether a tuned model
    has to be deployed by hand before it answers.
    """

    name: str
    title: str
    statuses: Mapping[str, JobState]
    max_suffix_length: int = 64
    keeps_metadata: bool = True
    deploys: bool = False
    closes: date | None = None


_COMMON: Mapping[str, JobState] = {
    "validating_files": JobState.QUEUED,
    "queued": JobState.QUEUED,
    "pending": JobState.QUEUED,
    "running": JobState.RUNNING,
    "succeeded": JobState.SUCCEEDED,
    "failed": JobState.FAILED,
    "cancelled": JobState.CANCELLED,
    "canceled": JobState.CANCELLED,
}
PROTOCOLS: Mapping[str, Protocol] = {
    # Since 2026-07-02 only organisations that used a tuned model lately; from 2027-01-06 nobody (OpenAI's page of
    # deprecations).
    "openai": Protocol("openai", "OpenAI", _COMMON, closes=date(2027, 1, 6)),
    "azure": Protocol(
        "azure",
        "Azure OpenAI",
        {**_COMMON, "notrunning": JobState.QUEUED, "creating": JobState.QUEUED},
        max_suffix_length=18,
        keeps_metadata=False,
        deploys=True,
    ),
    "compatible": Protocol(
        "compatible",
        "Compatible with OpenAI",
        {
            **_COMMON,
            **{"created": JobState.QUEUED, "compressing": JobState.RUNNING, "uploading": JobState.RUNNING},
            **{"completed": JobState.SUCCEEDED, "success": JobState.SUCCEEDED, "error": JobState.FAILED},
        },
        max_suffix_length=40,
        keeps_metadata=False,
    ),
    "sandbox": Protocol("sandbox", "Sandbox", _COMMON),
}


def protocol_of(base_url: str, *, is_simulation: bool = False) -> Protocol:
    """Guess the protocol of a server by its address."""
    host = (urlsplit(base_url).hostname or "").lower()
    if is_simulation:
        return PROTOCOLS["sandbox"]
    if host == "api.openai.com":
        return PROTOCOLS["openai"]
    is_azure = host.endswith((".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com"))
    return PROTOCOLS["azure" if is_azure else "compatible"]


def state_for_status(protocol: Protocol, status: str) -> JobState | None:
    """Return the state that a provider's status stands for, or None for an unknown status."""
    return protocol.statuses.get(status.strip().lower())
