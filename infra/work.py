"""Rows of work, and the one lease by which workers hold them.

What is to be done is a row; a task only shortens the wait for it. A worker claims the row, works while a thread beats
for it, and finishes it:

    lease = work.claim(report)
    if lease:
        work.run(lease, lambda: lease.finish(WorkState.DONE, result=result_of(report)))

A lease lasts as long as its heartbeat. Who takes a row over from a silent worker gets a higher token, and from then on
the former holder can change nothing: `heartbeat`, `save`, `release` and `finish` raise `LeaseLostError`, inside the
transaction that saves the work, so that the late work goes with it. (Fencing tokens: M. Kleppmann, "How to do
distributed locking", 2016.)
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Event, Thread
from typing import Any, ClassVar, Generic, TypeVar

from celery import Task
from celery.signals import task_prerun
from django.db import DatabaseError, connection, models, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone
from kombu.exceptions import OperationalError

from core.errors import Problem
from infra import task_notices
from infra.limited.policy import BUSY

logger = logging.getLogger(__name__)

BROKEN = "Something went wrong on our side; the log has it."
MAX_ERROR_LENGTH = 1_000
# How often a worker beats while a lease lasts: one beat may be late and another lost.
BEATS_PER_LEASE = 4


class WorkState(models.TextChoices):
    """States of a work row. A kind lists those that it has; each means the same everywhere."""

    PENDING = "pending", "Waiting"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"
    STOPPED = "stopped", "Stopped at its budget"


OPEN = (WorkState.PENDING, WorkState.RUNNING)


class WorkItem(models.Model):
    """A row of work. Kinds differ in their states, in how long a silent worker keeps a row, and in how many workers may
    end over one."""

    # What a worker may claim, and the state that claiming moves to (None: the state stays).
    OPEN_STATES: ClassVar[Sequence[str]] = OPEN
    RUNNING_STATE: ClassVar[str | None] = WorkState.RUNNING
    LEASE_TIMEOUT: ClassVar[timedelta] = timedelta(minutes=2)
    # A row that ends its worker would go on ending workers.
    MAX_ATTEMPTS: ClassVar[int] = 3

    state = models.CharField(max_length=10, choices=WorkState.choices, default=WorkState.PENDING)
    # Claims since the last progress, this one included; 0 while nobody has tried.
    attempts = models.PositiveIntegerField(default=0)
    # The fencing token: it grows with each claim and is never reset.
    lease_token = models.PositiveBigIntegerField(default=0)
    # None while no worker holds the row.
    heartbeat_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=1_000, blank=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        abstract = True

    @classmethod
    def claimable(cls, now: datetime | None = None) -> Q:
        """Return the condition of rows that wait for a worker, or were left by one that went silent."""
        lapsed = (now or timezone.now()) - cls.LEASE_TIMEOUT
        return Q(state__in=list(cls.OPEN_STATES)) & (Q(heartbeat_at=None) | Q(heartbeat_at__lt=lapsed))


Item = TypeVar("Item", bound=WorkItem)


class LeaseLostError(Exception):
    """Another worker took the row over, or somebody ended it: what this worker did does not count."""


@dataclass
class Lease(Generic[Item]):
    """One worker's hold on a row, as it was when it was claimed."""

    item: Item
    token: int
    # Whether a worker had the row before and went silent.
    was_abandoned: bool = False

    def rows(self) -> "QuerySet[Item]":
        """Return the row as long as this worker holds it, else nothing."""
        rows = type(self.item)._default_manager.filter(pk=self.item.pk)
        return rows.filter(lease_token=self.token, state=self.item.state)

    def save(self, **members: Any) -> None:
        """Write members of the row, and beat."""
        self._update(heartbeat_at=timezone.now(), **members)

    def heartbeat(self) -> None:
        """Say that this worker lives."""
        self._update(heartbeat_at=timezone.now())

    def release(self, **members: Any) -> None:
        """Give the row back to whoever comes next. It made progress, so its attempts count from 0 again."""
        self._update(heartbeat_at=None, attempts=0, **members)

    def put_down(self, problem: Problem) -> None:
        """Leave the row to whoever comes next, for a reason that passes by itself. It made no progress."""
        logger.warning("work.put_down %s key=%s %s", type(self.item).__name__, self.item.pk, problem.detail)
        self._update(heartbeat_at=None)

    def finish(self, state: str, **members: Any) -> None:
        """End the row in this state."""
        self._update(state=state, heartbeat_at=None, finished_at=timezone.now(), **members)
        name = type(self.item).__name__.lower()
        logger.info("%s.%s key=%s", name, state, self.item.pk)

    def fail(self, problem: Problem) -> None:
        """End the row as failed, with the sentence for who waits."""
        self.finish(WorkState.FAILED, error=problem.detail[:MAX_ERROR_LENGTH])

    def _update(self, **members: Any) -> None:
        if self.rows().update(**members) != 1:
            raise LeaseLostError(f"{type(self.item).__name__} {self.item.pk}, lease {self.token}")
        for name, value in members.items():
            setattr(self.item, name, value)


def claim_next(rows: "QuerySet[Item]", **members: Any) -> Lease[Item] | None:
    """Claim the first of these rows that is free, setting `members` with it; None where there is none.

    Workers that reach for rows at once get different ones.
    """
    with transaction.atomic():
        free = rows.filter(rows.model.claimable())
        item = free.select_for_update(skip_locked=True, of=("self",)).first()
        if item is None:
            return None
        was_abandoned = item.heartbeat_at is not None
        item.attempts += 1
        item.lease_token += 1
        changes = {"heartbeat_at": timezone.now(), **members}
        if item.RUNNING_STATE is not None:
            changes["state"] = item.RUNNING_STATE
        for name, value in changes.items():
            setattr(item, name, value)
        item.save(update_fields=["attempts", "lease_token", *changes])
    return Lease(item, item.lease_token, was_abandoned)


def claim(item: Item, **members: Any) -> Lease[Item] | None:
    """Claim this row; None where another worker holds it or it is over. `item` is brought up to date."""
    lease = claim_next(type(item)._default_manager.filter(pk=item.pk), **members)
    if lease is None:
        return None
    fields = ["state", "attempts", "lease_token", "heartbeat_at", *members]
    for name in fields:
        setattr(item, name, getattr(lease.item, name))
    return Lease(item, lease.token, lease.was_abandoned)


def run(lease: Lease[Any], work: Callable[[], object], *, fail: Callable[[Problem], object] | None = None) -> None:
    """Do a row's work while a thread beats for it. A refusal, a fault of our own, or too many attempts end the row by
    `fail` (default: as failed, with the refusal's sentence); where the machine was too busy it is tried again. Work
    whose lease was lost is dropped."""
    item = lease.item
    try:
        try:
            if item.attempts > item.MAX_ATTEMPTS:
                raise Problem("server.error", f"{item.MAX_ATTEMPTS} workers ended over this without finishing it.")
            with beating(lambda: [lease]):
                work()
        except Problem as problem:
            if problem.code == BUSY and item.attempts < item.MAX_ATTEMPTS:
                # The machine's fault. The row goes back to what waits; its attempts stay counted.
                lease.put_down(problem)
            else:
                (fail or lease.fail)(problem)
        except LeaseLostError:
            raise
        except Exception:
            logger.exception("%s.broken key=%s", type(item).__name__.lower(), item.pk)
            (fail or lease.fail)(Problem("server.error", BROKEN))
    except LeaseLostError as lost:
        logger.warning("work.lease_lost %s", lost)


@contextmanager
def beating(leases: Callable[[], Sequence[Lease[Any]]]) -> Iterator[None]:
    """Beat for these leases by a thread of its own, on a connection of its own, until the block is left."""
    ended = Event()
    thread = Thread(target=_beat_until, args=(leases, ended), name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _beat_until(leases: Callable[[], Sequence[Lease[Any]]], ended: Event) -> None:
    try:
        while not ended.wait(_seconds_between_beats(leases())):
            for lease in leases():
                try:
                    # A lease that is lost meanwhile has no row here; its holder learns of it when it writes.
                    lease.rows().update(heartbeat_at=timezone.now())
                except DatabaseError as error:
                    # The lease outlasts some beats; the next may come through.
                    logger.warning("work.no_heartbeat key=%s %s", lease.item.pk, error)
                    connection.close()
    finally:
        connection.close()


def _seconds_between_beats(leases: Sequence[Lease[Any]]) -> float:
    timeouts = [lease.item.LEASE_TIMEOUT for lease in leases] or [WorkItem.LEASE_TIMEOUT]
    seconds: float = min(timeouts).total_seconds() / BEATS_PER_LEASE
    return seconds


def kinds() -> list[type[WorkItem]]:
    """Return every model of work rows that is installed."""
    from django.apps import apps  # noqa: PLC0415  # models are registered after this module is imported

    return [model for model in apps.get_models() if issubclass(model, WorkItem)]


def put_back(rows: "QuerySet[Any]", **members: Any) -> int:
    """Put rows back among what waits, and count them. Whoever holds one has lost it: the fencing token moves on."""
    fresh = {"attempts": 0, "heartbeat_at": None, "error": "", "finished_at": None}
    return rows.update(state=WorkState.PENDING, lease_token=F("lease_token") + 1, **fresh, **members)


def start(task: "Task[Any, Any]", *arguments: Any) -> None:
    """Send a task when the transaction is over. Without a broker the next reconciliation starts the row instead."""
    transaction.on_commit(lambda: _send(task, arguments))


def start_waiting(task: "Task[Any, Any]", keys: Iterable[Any]) -> None:
    """Send a task for each of these rows, but for those whose task waits in a queue already: while long work holds the
    workers, each round would add another message for everything that waits."""
    names = {_notice_name(task.name, (key,)): key for key in keys}
    for name in task_notices.without_notice(list(names)):
        start(task, names[name])


def _send(task: "Task[Any, Any]", arguments: tuple[Any, ...]) -> None:
    notice = _notice_name(task.name, arguments)
    # Before it is sent: a worker may have taken it a moment later, and has removed the notice then.
    task_notices.write(notice)
    try:
        task.apply_async(args=arguments, retry=False)
    except OperationalError as error:
        logger.warning("task.not_sent %s %s", task.name, error)
        task_notices.remove(notice)


def _notice_name(task: str, arguments: Sequence[Any]) -> str:
    return " ".join([task, *map(str, arguments)])[:200]


@task_prerun.connect
def _forget_notice(task: "Task[Any, Any]", args: Sequence[Any] = (), **_details: object) -> None:
    """A worker has taken a task: from now on its row says whether it is done."""
    if args:
        task_notices.remove(_notice_name(task.name, args))
