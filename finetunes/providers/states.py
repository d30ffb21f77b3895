"""What a job can be, what may follow what, and what the words of a provider mean. Pure data.

PostgreSQL refuses any other move (finetunes.models.jobs). A status that nobody here knows moves nothing: it is shown as
the provider says it, and asked about again.
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
    # A person has mended what was wrong; the job goes on where it was.
    JobState.NEEDS_ATTENTION: (
        *(JobState.VALIDATING, JobState.UPLOADING, JobState.QUEUED, JobState.RUNNING, JobState.CANCELLED),
    ),
}
# What a worker has something to do for.
DRIVEN = (JobState.VALIDATING, JobState.UPLOADING, JobState.QUEUED, JobState.RUNNING)
# What takes one of a provider's places.
UNDER_WAY = (JobState.UPLOADING, JobState.QUEUED, JobState.RUNNING)
OVER = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True)
class Dialect:
    """How a kind of provider speaks: its words for states, and where it differs from OpenAI's protocol.

    `closes` is the day from which it makes no new jobs; `longest_suffix` bounds the part of the model's name that one
    may choose; `keeps_metadata` says whether jobs carry what we send as metadata; `deploys` whether a tuned model has
    to be deployed by hand before it answers.
    """

    name: str
    title: str
    statuses: Mapping[str, JobState]
    longest_suffix: int = 64
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
DIALECTS: Mapping[str, Dialect] = {
    # Since 2026-07-02 only organisations that used a tuned model lately; from 2027-01-06 nobody (OpenAI's page of
    # deprecations).
    "openai": Dialect("openai", "OpenAI", _COMMON, closes=date(2027, 1, 6)),
    "azure": Dialect(
        "azure",
        "Azure OpenAI",
        {**_COMMON, "notrunning": JobState.QUEUED, "creating": JobState.QUEUED},
        longest_suffix=18,
        keeps_metadata=False,
        deploys=True,
    ),
    "compatible": Dialect(
        "compatible",
        "Compatible with OpenAI",
        {
            **_COMMON,
            **{"created": JobState.QUEUED, "compressing": JobState.RUNNING, "uploading": JobState.RUNNING},
            **{"completed": JobState.SUCCEEDED, "success": JobState.SUCCEEDED, "error": JobState.FAILED},
        },
        longest_suffix=40,
        keeps_metadata=False,
    ),
    "sandbox": Dialect("sandbox", "Sandbox", _COMMON),
}


def dialect_of(base_url: str, *, is_simulation: bool = False) -> Dialect:
    """The dialect that a server most likely speaks, by its address."""
    host = (urlsplit(base_url).hostname or "").lower()
    if is_simulation:
        return DIALECTS["sandbox"]
    if host == "api.openai.com":
        return DIALECTS["openai"]
    is_azure = host.endswith((".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com"))
    return DIALECTS["azure" if is_azure else "compatible"]


def meant(dialect: Dialect, status: str) -> JobState | None:
    """The state that a provider's status stands for, or None for one that nobody here knows."""
    return dialect.statuses.get(status.strip().lower())
