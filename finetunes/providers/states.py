"""States of a job and their transitions. Pure data.

PostgreSQL refuses any other transition (finetunes.models.jobs). An unknown status changes nothing: it is shown as the
provider reports it, and polled again.
"""

from collections.abc import Mapping
from enum import StrEnum


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
