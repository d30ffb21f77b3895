"""A run's batches: which worker has which, and how what it found is kept. What two workers do at once meets here."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import orjson
from django.db import transaction
from django.db.models import F, Q, QuerySet, Sum
from django.utils import timezone

from evaluations.models import BatchState, CachedAnswer, Result, Run, RunBatch, RunState
from evaluations.runs.lifecycle import SILENCE
from infra.bulk_copy import copy_rows

# How long an answer to exactly the same request stands for a new one.
ANSWERS_KEPT = timedelta(days=90)
KEYS = ("run_id", "case_id")
PLAIN_COLUMNS = (
    *("run_id", "case_id", "repeat", "output", "refusal", "finish_reason", "error", "error_detail", "latency_ms"),
    *("tokens_in", "tokens_cached", "tokens_out", "cost_usd", "is_from_cache", "is_leaked", "request_id", "quality"),
    "passed",
)
COLUMNS = (*(name.removesuffix("_id") if name in KEYS else name for name in PLAIN_COLUMNS), "tool_calls", "scores")


@dataclass
class Held:
    """A batch that this worker has. `left` counts the answers that are not kept yet; `attempts` is how often it was
    taken: a worker with an older number has lost it."""

    batch: RunBatch
    attempts: int
    left: int = 0


@dataclass(frozen=True)
class Found:
    """A result to be kept, with the batch it belongs to, what it cost now, and the answer for the cache."""

    held: Held
    result: Result
    spent: Decimal
    answer: CachedAnswer | None


def begin(run: Run) -> bool:
    """Whether there is something to do; a run that waited is under way then."""
    now = timezone.now()
    Run.objects.filter(pk=run.pk, state=RunState.PENDING).update(state=RunState.RUNNING, started_at=now)
    run.refresh_from_db()
    return run.state == RunState.RUNNING and (run.not_before is None or run.not_before <= now)


def claim(run: Run) -> Held | None:
    """Take a batch that waits, or one whose worker is silent. Two that reach for the same get two."""
    now = timezone.now()
    free = Q(state=BatchState.PENDING) | Q(state=BatchState.CLAIMED, beat_at__lt=now - SILENCE)
    with transaction.atomic():
        rows = RunBatch.objects.select_for_update(skip_locked=True).filter(free, run=run).order_by("number")
        batch = rows.first()
        if batch is None:
            return None
        was_abandoned = batch.state == BatchState.CLAIMED
        batch.state, batch.attempts, batch.beat_at = BatchState.CLAIMED, batch.attempts + 1, now
        batch.save(update_fields=["state", "attempts", "beat_at"])
        if was_abandoned:
            # What that worker had in the air may have been done; a provider that knows calls by name charges it once.
            missing = len(batch.cases) * run.repeats - Result.objects.filter(run=run, case__in=batch.cases).count()
            Run.objects.filter(pk=run.pk).update(asked_again=F("asked_again") + missing)
    return Held(batch, batch.attempts)


def beat(held: Sequence[Held]) -> None:
    """Say that this worker lives."""
    for one in held:
        _mine(one).update(beat_at=timezone.now())


def give_back(held: Sequence[Held]) -> None:
    """Leave batches to others."""
    for one in held:
        _mine(one).update(state=BatchState.PENDING, beat_at=None)


def end(held: Held) -> None:
    """A batch that has all its answers."""
    _mine(held).update(state=BatchState.DONE, beat_at=None)


@transaction.atomic
def keep(run: Run, found: Sequence[Found]) -> Run:
    """Keep results, count them, and end the batches that they complete. The run's row is locked meanwhile, so whoever
    else has the same batch adds nothing twice; it comes back as it is now."""
    locked = Run.objects.select_for_update().get(pk=run.pk)
    cases = {one.result.case_id for one in found}
    there = set(Result.objects.filter(run=run, case__in=cases).values_list("case", "repeat"))
    fresh = [one for one in found if (one.result.case_id, one.result.repeat) not in there]
    copy_rows(Result, COLUMNS, (_columns(one.result) for one in fresh))
    CachedAnswer.objects.bulk_create([one.answer for one in found if one.answer], ignore_conflicts=True)
    for held in {id(one.held): one.held for one in found}.values():
        held.left -= sum(one.held is held for one in found)
        if held.left <= 0:
            end(held)
    if fresh:
        _count(locked, fresh)
    return locked


def _columns(result: Result) -> tuple[Any, ...]:
    found = [getattr(result, name) for name in PLAIN_COLUMNS]
    calls = None if result.tool_calls is None else orjson.dumps(result.tool_calls).decode()
    return (*found, calls, orjson.dumps(result.scores).decode())


def spent_beside(run: Run) -> Decimal:
    """What the other runs of the run's sweep have cost, in US dollars."""
    if run.sweep_id is None:
        return Decimal(0)
    others = Run.objects.filter(sweep=run.sweep_id).exclude(pk=run.pk)
    found: Decimal = others.aggregate(all=Sum("cost_usd"))["all"] or Decimal(0)
    return found


def forget_old_answers() -> int:
    """Remove answers that were kept for so long that asking anew is worth its price; how many."""
    old = CachedAnswer.objects.filter(created_at__lt=timezone.now() - ANSWERS_KEPT)
    return old.delete()[0]


@transaction.atomic
def keep_unjudged(run: Run, answer: CachedAnswer, cost: Decimal | None) -> None:
    """Keep an answer that was paid for and could not be judged: it is free when its case comes again."""
    CachedAnswer.objects.bulk_create([answer], ignore_conflicts=True)
    if cost:
        Run.objects.filter(pk=run.pk).update(cost_usd=F("cost_usd") + cost)


def is_complete(run: Run) -> bool:
    """Whether every batch is done."""
    return not RunBatch.objects.filter(run=run).exclude(state=BatchState.DONE).exists()


def _mine(held: Held) -> QuerySet[RunBatch]:
    return RunBatch.objects.filter(pk=held.batch.pk, attempts=held.attempts, state=BatchState.CLAIMED)


def _count(run: Run, fresh: Sequence[Found]) -> None:
    asked = [one for one in fresh if not one.result.is_from_cache]
    run.answered += len(fresh)
    run.failed += sum(bool(one.result.error) for one in fresh)
    run.from_cache += len(fresh) - len(asked)
    run.tokens_in += sum(one.result.tokens_in for one in asked)
    run.tokens_out += sum(one.result.tokens_out for one in asked)
    run.cost_usd += sum((one.spent for one in fresh), Decimal(0))
    # It goes on: earlier setbacks are over.
    run.setbacks, run.note = 0, ""
    run.save(
        update_fields=[
            *("answered", "failed", "from_cache", "tokens_in", "tokens_out", "cost_usd", "setbacks", "note"),
        ]
    )
