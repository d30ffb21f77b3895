"""The lease of work rows, for every kind that is installed: a new kind joins by existing, and by a row in work_rows."""

import time
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from celery.signals import task_prerun
from django.db import transaction
from django.utils import timezone
from kombu.exceptions import OperationalError

from core.errors import Problem
from evaluations import tasks as evaluation_tasks
from evaluations.models import Report, ReportState
from infra import task_notices, work
from infra.limited.policy import BUSY
from infra.work import Lease, LeaseLostError, WorkItem, WorkState
from registry.models import Prompt, TaskNotice
from tests.conftest import Stage
from tests.infra.work_rows import make_row

# States of a kind's own, beside those that mean the same everywhere.
OWN_STATES = {"DatasetImport": {"uploading"}}
# A job's states follow its provider (finetunes.providers.states).
ENDS = {"FineTune": "cancelled", "RunBatch": "done"}


@pytest.fixture(params=work.kinds(), ids=lambda kind: kind.__name__)
def row(request: pytest.FixtureRequest, stage: Stage) -> Any:
    return make_row(stage, request.param)


def fall_silent(row: WorkItem) -> None:
    """Leave a row as a worker does that died."""
    lapsed = timezone.now() - row.LEASE_TIMEOUT - timedelta(seconds=1)
    type(row)._default_manager.filter(pk=row.pk).update(heartbeat_at=lapsed)


def fresh(row: WorkItem) -> Any:
    return type(row)._default_manager.get(pk=row.pk)


def test_there_are_kinds_of_work():
    assert len(work.kinds()) >= 10


def test_one_worker_holds_a_row(row: Any):
    lease = work.claim(row)

    assert lease
    assert not lease.was_abandoned
    # Neither another one nor the holder itself, asked again while it prepares what to do.
    assert work.claim(fresh(row)) is None
    assert work.claim(row) is None
    assert fresh(row).attempts == 1


def test_the_finish_of_a_worker_that_lost_its_lease_changes_nothing(row: Any):
    late = work.claim(row)
    fall_silent(row)
    successor = work.claim(fresh(row))
    assert late
    assert successor
    assert successor.was_abandoned
    successor.finish(ENDS.get(type(row).__name__, WorkState.DONE))
    ended = fresh(row)

    for act in (
        lambda: late.finish(WorkState.FAILED, error="late"),
        lambda: late.fail(Problem("server.error", "late")),
        lambda: late.save(error="late"),
        lambda: late.heartbeat(),
        lambda: late.release(),
    ):
        with pytest.raises(LeaseLostError):
            act()

    now = fresh(row)
    assert (now.state, now.error, now.finished_at) == (ended.state, "", ended.finished_at)
    assert (now.attempts, now.heartbeat_at) == (2, None)


def test_what_was_given_back_is_claimed_anew(row: Any):
    lease = work.claim(row)
    assert lease
    lease.release()

    again = work.claim(fresh(row))

    assert again
    assert (again.was_abandoned, again.item.attempts) == (False, 1)
    assert again.token > lease.token


def test_states_are_the_words_that_all_kinds_share():
    for kind in work.kinds():
        values = {value for value, _ in kind._meta.get_field("state").choices or ()}
        if kind.__name__ != "FineTune":
            assert values <= set(WorkState.values) | OWN_STATES.get(kind.__name__, set()), kind


def test_what_a_busy_machine_broke_off_is_tried_again(row: Any):
    """But not for ever."""

    def fail(lease: Lease[Any], problem: Problem) -> None:
        lease.finish(ENDS.get(type(row).__name__, WorkState.FAILED), error=problem.detail)

    def break_off() -> None:
        raise Problem(BUSY, "The machine is too busy for this.")

    for attempt in range(1, row.MAX_ATTEMPTS + 1):
        lease = work.claim(fresh(row))
        assert lease
        work.run(lease, break_off, fail=partial(fail, lease))
        if attempt < row.MAX_ATTEMPTS:
            now = fresh(row)
            assert (now.attempts, now.error, now.finished_at) == (attempt, "", None)

    assert fresh(row).error == "The machine is too busy for this."


@pytest.mark.slow
def test_work_that_outlasts_its_lease_is_not_taken_again(live_stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """A lease ends when its worker is silent, and not when the work is long: a thread beats while it goes on."""
    monkeypatch.setattr(Report, "LEASE_TIMEOUT", timedelta(seconds=2))
    row = make_row(live_stage, Report)
    lease = work.claim(row)
    assert lease
    others = []

    def outlast() -> None:
        until = time.monotonic() + 5
        while time.monotonic() < until:
            others.append(work.claim(fresh(row)))
            time.sleep(0.2)
        lease.finish(ReportState.DONE)

    work.run(lease, outlast)

    assert not any(others)
    assert (fresh(row).state, fresh(row).attempts) == ("done", 1)


def test_what_is_saved_with_a_lost_lease_goes_with_it(stage: Stage):
    row = make_row(stage, Report)
    lease = work.claim(row)
    assert lease
    fall_silent(row)
    assert work.claim(fresh(row))

    def save_late() -> None:
        with transaction.atomic():
            Prompt.objects.create(project=stage.project, name="late", created_by_name="x")
            lease.finish(ReportState.DONE)

    work.run(lease, save_late)

    assert not Prompt.objects.filter(name="late").exists()
    assert fresh(row).state == ReportState.RUNNING


def test_a_row_that_ends_its_workers_is_given_up(stage: Stage):
    row = make_row(stage, Report)
    for _ in range(Report.MAX_ATTEMPTS):
        assert work.claim(fresh(row))
        fall_silent(row)
    lease = work.claim(fresh(row))
    assert lease

    work.run(lease, lambda: pytest.fail("It was tried once more."))

    assert fresh(row).state == ReportState.FAILED
    assert "3 workers ended over this" in fresh(row).error


def test_a_fault_of_ours_ends_the_row_and_says_little(stage: Stage):
    row = make_row(stage, Report)
    lease = work.claim(row)
    assert lease

    def break_down() -> None:
        raise RuntimeError("a secret")

    work.run(lease, break_down)

    assert (fresh(row).state, fresh(row).error) == (ReportState.FAILED, work.BROKEN)


def test_what_is_put_back_is_lost_to_its_worker(stage: Stage):
    row = make_row(stage, Report)
    lease = work.claim(row)
    assert lease

    assert work.put_back(Report.objects.filter(pk=row.pk)) == 1

    with pytest.raises(LeaseLostError):
        lease.finish(ReportState.DONE)
    assert (fresh(row).state, fresh(row).attempts) == (ReportState.PENDING, 0)


def test_what_waits_in_a_queue_is_not_sent_again(live_stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """While long work holds the workers, each round of reconciliation would add a message for everything that waits."""
    sent: list[Any] = []
    monkeypatch.setattr(evaluation_tasks.make_report, "apply_async", lambda args, **_how: sent.append(args))

    for _ in range(3):
        work.start_waiting(evaluation_tasks.make_report, [1, 2])
    assert sent == [(1,), (2,)]

    # A worker takes one, and dies over it.
    task_prerun.send(sender=evaluation_tasks.make_report, task=evaluation_tasks.make_report, args=[1])
    work.start_waiting(evaluation_tasks.make_report, [1, 2])
    assert sent == [(1,), (2,), (1,)]

    # The broker lost what it had.
    TaskNotice.objects.update(sent_at=timezone.now() - task_notices.VALID_FOR - timedelta(seconds=1))
    work.start_waiting(evaluation_tasks.make_report, [1, 2])
    assert sent[3:] == [(1,), (2,)]


def test_without_a_broker_nothing_counts_as_sent(live_stage: Stage, monkeypatch: pytest.MonkeyPatch):
    def fail(**_how: Any) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(evaluation_tasks.make_report, "apply_async", fail)

    work.start_waiting(evaluation_tasks.make_report, [1])

    assert not TaskNotice.objects.exists()
