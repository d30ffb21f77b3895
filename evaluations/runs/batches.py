"""Batches of a run: leases for workers, and saving of results. Here concurrent workers meet."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import orjson
from django.db import transaction
from django.db.models import F, Sum
from django.utils import timezone

from evaluations.models import BatchState, CachedAnswer, Result, Run, RunBatch, RunState
from infra import work
from infra.bulk_copy import copy_rows
from infra.work import Lease

# The time for which a cached answer replaces a call with exactly the same request.
CACHE_DURATION = timedelta(days=90)
KEYS = ("run_id", "case_id")
PLAIN_COLUMNS = (
    *("run_id", "case_id", "repeat", "output", "refusal", "finish_reason", "error", "error_detail", "latency_ms"),
    *("calls_in_flight", "server_ms"),
    *("tokens_in", "tokens_cached", "tokens_cache_write", "tokens_out", "tokens_reasoning", "cost_usd"),
    *("is_from_cache", "is_leaked", "request_id", "quality", "passed", "is_usage_estimated"),
)
JSON_COLUMNS = ("tool_calls", "retrieved", "scores")
COLUMNS = (*(name.removesuffix("_id") if name in KEYS else name for name in PLAIN_COLUMNS), *JSON_COLUMNS)


@dataclass
class BatchLease:
    """A batch that this worker holds; `answers_left` counts the answers that are not saved yet."""

    lease: Lease[RunBatch]
    answers_left: int = 0

    @property
    def batch(self) -> RunBatch:
        return self.lease.item


@dataclass(frozen=True)
class NewResult:
    """A result to be saved, with its batch, its cost in this run, and the answer for the cache."""

    batch_lease: BatchLease
    result: Result
    spent: Decimal
    answer: CachedAnswer | None


def begin(run: Run) -> bool:
    """Start a waiting run; return whether there is something to do now."""
    now = timezone.now()
    Run.objects.filter(pk=run.pk, state=RunState.PENDING).update(state=RunState.RUNNING, started_at=now)
    run.refresh_from_db()
    return run.state == RunState.RUNNING and (run.not_before is None or run.not_before <= now)


@transaction.atomic
def claim(run: Run, own: Sequence[BatchLease] = ()) -> BatchLease | None:
    """Claim a batch that waits, or one whose worker has died. Concurrent workers get different ones; a run that limits
    its calls in flight is one worker's, which has `own` batches."""
    if run.concurrency is not None:
        Run.objects.select_for_update().get(pk=run.pk)
        others = RunBatch.objects.filter(run=run).exclude(RunBatch.claimable()).exclude(state=BatchState.DONE)
        # By their tokens: a batch that was lost meanwhile is another worker's.
        if others.exclude(lease_token__in=[batch_lease.lease.token for batch_lease in own]).exists():
            return None
    lease = work.claim_next(RunBatch.objects.filter(run=run).order_by("number"))
    if lease is None:
        return None
    if lease.was_abandoned:
        # That worker's calls in flight may have been done; a provider with idempotency keys charges them once.
        cases = lease.item.cases
        missing = len(cases) * run.repetitions - Result.objects.filter(run=run, case__in=cases).count()
        Run.objects.filter(pk=run.pk).update(asked_again=F("asked_again") + missing)
    return BatchLease(lease)


def release(batch_leases: Sequence[BatchLease]) -> None:
    """Leave batches to other workers."""
    for batch_lease in batch_leases:
        batch_lease.lease.rows().update(state=BatchState.PENDING, heartbeat_at=None, attempts=0)


def finish(batch_lease: BatchLease) -> None:
    """Finish a batch that has all its answers. Another worker may hold it by now; it finds that nothing is missing."""
    batch_lease.lease.rows().update(state=BatchState.DONE, heartbeat_at=None, finished_at=timezone.now())


@transaction.atomic
def save_results(run: Run, new_results: Sequence[NewResult]) -> Run:
    """Save results, count them, and finish the batches that they complete. The run's row is locked, so another worker
    with the same batch adds nothing twice; the row is returned as it is now."""
    locked = Run.objects.select_for_update().get(pk=run.pk)
    cases = {new_result.result.case_id for new_result in new_results}
    existing = set(Result.objects.filter(run=run, case__in=cases).values_list("case", "repeat"))
    fresh = [
        new_result
        for new_result in new_results
        if (new_result.result.case_id, new_result.result.repeat) not in existing
    ]
    copy_rows(Result, COLUMNS, (_columns(new_result.result) for new_result in fresh))
    CachedAnswer.objects.bulk_create(
        [new_result.answer for new_result in new_results if new_result.answer], ignore_conflicts=True
    )
    for batch_lease in {id(new_result.batch_lease): new_result.batch_lease for new_result in new_results}.values():
        batch_lease.answers_left -= sum(new_result.batch_lease is batch_lease for new_result in new_results)
        if batch_lease.answers_left <= 0:
            finish(batch_lease)
    if fresh:
        _count_results(locked, fresh)
    return locked


def _columns(result: Result) -> tuple[Any, ...]:
    values = [getattr(result, name) for name in PLAIN_COLUMNS]
    documents = [getattr(result, name) for name in JSON_COLUMNS]
    return (*values, *(None if document is None else orjson.dumps(document).decode() for document in documents))


def cost_of_other_runs(run: Run) -> Decimal:
    """Return the cost of the other runs of the run's sweep, in US dollars."""
    if run.sweep_id is None:
        return Decimal(0)
    others = Run.objects.filter(sweep=run.sweep_id).exclude(pk=run.pk)
    cost: Decimal = others.aggregate(all=Sum("cost_usd"))["all"] or Decimal(0)
    return cost


def clear_old_answers() -> int:
    """Remove old answers from the cache; return how many."""
    old = CachedAnswer.objects.filter(created_at__lt=timezone.now() - CACHE_DURATION)
    return old.delete()[0]


@transaction.atomic
def save_unjudged_answer(run: Run, answer: CachedAnswer, cost: Decimal | None) -> None:
    """Cache an answer that was paid for and could not be judged: it is free when its case comes again."""
    CachedAnswer.objects.bulk_create([answer], ignore_conflicts=True)
    if cost:
        Run.objects.filter(pk=run.pk).update(cost_usd=F("cost_usd") + cost)


def is_complete(run: Run) -> bool:
    """Return whether every batch is done."""
    return not RunBatch.objects.filter(run=run).exclude(state=BatchState.DONE).exists()


def _count_results(run: Run, fresh: Sequence[NewResult]) -> None:
    called = [new_result for new_result in fresh if not new_result.result.is_from_cache]
    run.answered += len(fresh)
    run.failed += sum(bool(new_result.result.error) for new_result in fresh)
    run.from_cache += len(fresh) - len(called)
    run.tokens_in += sum(new_result.result.tokens_in for new_result in called)
    run.tokens_out += sum(new_result.result.tokens_out for new_result in called)
    run.cost_usd += sum((new_result.spent for new_result in fresh), Decimal(0))
    # A success ends the consecutive failures.
    run.consecutive_failures, run.note = 0, ""
    run.save(
        update_fields=[
            *(
                "answered",
                "failed",
                "from_cache",
                "tokens_in",
                "tokens_out",
                "cost_usd",
                "consecutive_failures",
                "note",
            ),
        ]
    )
