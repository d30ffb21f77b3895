"""Heartbeats of workers and beat. A process that exists may still take no tasks: its consumer crashed, its pool is full
of zombies. So a worker beats from its consumer's loop, and beat where it sends tasks; silence says that one does not
work, whatever the list of processes says.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from infra.queues import QUEUES
from registry.models import ProcessHeartbeat, ProcessKind

HEARTBEAT_SECONDS = 15.0
# Much longer than a beat: a busy machine delays one, and is no reason to end anybody.
UNRESPONSIVE_AFTER = timedelta(seconds=150)
FORGOTTEN_AFTER = timedelta(days=1)


@dataclass(frozen=True)
class Liveness:
    """Whether each queue has a worker that lives, whether beat lives, and the names of processes that fell silent."""

    queues: dict[str, bool]
    beat: bool
    unresponsive: list[str]


def record(name: str, kind: ProcessKind, *, queues: Sequence[str] = (), started_at: datetime) -> None:
    """Write down that a process lives."""
    values = {"kind": kind, "queues": sorted(queues), "started_at": started_at, "heartbeat_at": timezone.now()}
    ProcessHeartbeat.objects.update_or_create(name=name, defaults=values)


def remove(name: str) -> None:
    """Forget a process that ends as it should."""
    ProcessHeartbeat.objects.filter(name=name).delete()


def get_liveness() -> Liveness:
    """Read the heartbeats; a queue that no process has ever told of has no worker."""
    rows = list(ProcessHeartbeat.objects.all())
    living = [row for row in rows if not is_unresponsive(row)]
    return Liveness(
        queues={queue: _has_worker(living, queue) for queue in QUEUES},
        beat=any(row.kind == ProcessKind.BEAT for row in living),
        unresponsive=[row.name for row in rows if is_unresponsive(row)],
    )


def is_unresponsive(row: ProcessHeartbeat) -> bool:
    unresponsive: bool = row.heartbeat_at < timezone.now() - UNRESPONSIVE_AFTER
    return unresponsive


def _has_worker(living: Iterable[ProcessHeartbeat], queue: str) -> bool:
    return any(row.kind == ProcessKind.WORKER and queue in row.queues for row in living)


def clear_old() -> None:
    """Delete what has been silent for a day: the name of a process that is gone for good."""
    ProcessHeartbeat.objects.filter(heartbeat_at__lt=timezone.now() - FORGOTTEN_AFTER).delete()
