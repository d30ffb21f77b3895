"""Worker of a run: a tick claims batches, calls the model, judges and saves, until its time is up or nothing is left.

All state is in rows: a worker that dies loses only the calls in flight, and the next one goes on. Calls have names
(run, case and repetition), so that a provider that supports idempotency keys charges each once.
"""

import logging
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import timedelta
from enum import StrEnum
from queue import Empty, SimpleQueue
from typing import Any

from django.db import InterfaceError, OperationalError
from django.utils import timezone

from core.errors import Problem
from evaluations.models import Run, RunState
from evaluations.providers import configuration as providers
from evaluations.providers import profiles, slots
from evaluations.providers.caller import CallWithdrawn
from evaluations.providers.chat import CallError, Completion, Remedy
from evaluations.providers.protocols import open_chat
from evaluations.runs import batches, judging
from evaluations.runs.budget import Budget, BudgetDecision
from evaluations.runs.calls import CallInFlight, Calls
from evaluations.runs.database_retry import retry_database
from evaluations.runs.judges import JudgeError, Judges
from evaluations.runs.judging import Judging
from evaluations.runs.requests import TRANSIENT_ERRORS, BatchPreparation, PendingCall
from evaluations.runs.results import ResultBuilder
from evaluations.runs.unsaved import SAVE_SECONDS, SavedResults, UnsavedResults
from evaluations.scorers import specs as scoring
from infra import work

logger = logging.getLogger(__name__)

TICK_SECONDS = 60.0
# The interval at which a worker reads the run's state and the provider's block.
REFRESH_SECONDS = 5.0
# A provider that does not answer gets a pause of 5 s, then twice as long each time; after so many times the run fails.
FIRST_PAUSE = timedelta(seconds=5)
MAX_PAUSE = timedelta(minutes=5)
MAX_CONSECUTIVE_FAILURES = 8
# A run whose first answers all fail for one reason would fail to the end.
FIRST_ERRORS = 20
MAX_JUDGED_AT_ONCE = 50


class TickResult(StrEnum):
    """The end of a tick: another tick is due, the run is over, or it waits."""

    AGAIN = "again"
    OVER = "over"
    WAITING = "waiting"


class StopReason(StrEnum):
    """The reason why a tick makes no more calls."""

    TIME = "time"
    RUN_ENDED = "run ended"
    BUDGET = "budget"
    BACKOFF = "backoff"
    FAILED = "failed"


def tick(run: Run, *, seconds: float = TICK_SECONDS) -> TickResult:
    """Work on a run for some time. Several workers may, at once."""
    if not batches.begin(run):
        return TickResult.WAITING if run.is_open else TickResult.OVER
    try:
        return _Tick(run, seconds).run_to_end()
    except Problem as problem:
        # Something that the run needs is gone: its provider's key, a judge.
        return _end(run, RunState.FAILED, problem.detail)
    except (OperationalError, InterfaceError):
        # The database is away for too long; reconciliation goes on when it is back.
        raise
    except Exception:
        logger.exception("run.broken run=%s", run.pk)
        return _end(run, RunState.FAILED, work.BROKEN)


def _end(run: Run, state: RunState, error: str = "") -> TickResult:
    ended = Run.objects.filter(pk=run.pk, state=RunState.RUNNING).update(
        state=state, error=error[:1_000], note="", finished_at=timezone.now()
    )
    if ended:
        logger.info("run.%s run=%s %s", state, run.pk, error)
    return TickResult.OVER


class _Tick:
    """One tick: it decides about the next call, and stops for the first reason to."""

    def __init__(self, run: Run, seconds: float) -> None:
        self._run = run
        if run.model.archived_at:
            raise Problem("model.archived", f"{run.model} was archived; restore it, and resume the run.")
        self._until = time.monotonic() + seconds
        self._specs = scoring.specs_from_json(run.scorers)
        self._builder = ResultBuilder(run, self._specs)
        self._preparation = BatchPreparation(run, keeps_all=judging.asks_models(self._specs))
        self._budget = Budget(run)
        self._pending: deque[PendingCall] = deque()
        self._unjudged: list[tuple[PendingCall, Completion]] = []
        self._done: SimpleQueue[Future[Any]] = SimpleQueue()
        self._refreshed_at = time.monotonic()
        self._first_errors: set[str] = set()
        self._stop_reason: StopReason | None = None
        self._error = ""
        self._retry_after = 0.0

    def run_to_end(self) -> TickResult:
        with ExitStack() as stack:
            self._calls = self._open_calls(stack)
            judges = stack.enter_context(Judges(self._run, self._specs))
            threads = stack.enter_context(ThreadPoolExecutor(judging.MAX_THREADS, "judging"))
            self._judging = Judging(self._run, self._specs, judges, self._builder, threads, self._done)
            self._unsaved = UnsavedResults(self._run, judges, self._budget)
            # In a thread of its own: rendering a batch, or waiting for the database, may take longer than a lease.
            stack.enter_context(work.beating(lambda: [batch_lease.lease for batch_lease in self._unsaved.batch_leases]))
            self._work()
        return self._close()

    def _open_calls(self, stack: ExitStack) -> Calls | None:
        """Open the connection to the provider; None where the run has its answers already."""
        if self._run.answers_of_id:
            return None
        provider = self._run.model.provider
        endpoint, allowed = providers.endpoint(provider), providers.destinations()
        caller = stack.enter_context(
            slots.open_caller(provider, lambda: open_chat(endpoint, allowed), most=self._run.concurrency)
        )
        return Calls(self._run, caller, self._done)

    def _work(self) -> None:
        while True:
            has_submitted = self._submit_calls()
            self._judge_answers()
            if self._in_flight:
                self._collect()
            elif not has_submitted:
                break
            self._follow(self._unsaved.save_if_due())
            self._refresh_if_due()
        self._follow(self._unsaved.save())

    @property
    def _in_flight(self) -> int:
        """Return how many answers are awaited, from the model or from judges."""
        return (len(self._calls) if self._calls else 0) + len(self._unjudged) + len(self._judging)

    # --- Calls -------------------------------------------------------------------------------------------------------

    def _submit_calls(self) -> bool:
        """Submit as many calls as may be in flight; return whether there were any."""
        has_submitted = False
        while self._may_call():
            if not self._pending and not self._claim_batch():
                return has_submitted
            if not self._pending:
                return True
            has_submitted = True
            self._submit(self._pending.popleft())
            if self._unsaved.is_full:
                return True
        return has_submitted

    def _may_call(self) -> bool:
        if self._stop_reason is None and time.monotonic() > self._until:
            # Calls that wait for the rate limiter are for the next tick; those in flight arrive.
            self._stop(StopReason.TIME)
        if self._stop_reason is not None:
            return False
        if self._in_flight >= (self._calls.limit if self._calls else 2 * judging.MAX_THREADS):
            return False
        if self._calls and self._calls.is_far_ahead:
            return False
        decision = self._budget.decide(self._unsaved.cost, self._in_flight)
        if decision == BudgetDecision.STOP:
            self._stop(StopReason.BUDGET)
        return decision == BudgetDecision.CALL

    def _claim_batch(self) -> bool:
        calls = self._unsaved.claim_batch(self._preparation)
        self._pending.extend(calls or ())
        return calls is not None

    def _submit(self, call: PendingCall) -> None:
        code, detail = call.error
        if code in TRANSIENT_ERRORS:
            self._stop(StopReason.BACKOFF, detail)
        elif code:
            self._unsaved.add(self._builder.failed(call, CallError(code, detail, Remedy.GIVE_UP)))
        elif call.known_answer is not None:
            self._unjudged.append((call, call.known_answer))
        elif call.request is not None and self._calls is not None:
            try:
                self._calls.submit(call)
            except Problem as problem:
                refused = CallError(problem.code, problem.detail[:1_000], Remedy.GIVE_UP)
                self._unsaved.add(self._builder.failed(call, refused))

    # --- Answers -----------------------------------------------------------------------------------------------------

    def _collect(self) -> None:
        """Wait for an answer, take those that came with it, and judge them together."""
        # A queue, and not `wait`, which would lock every future in flight each time.
        with suppress(Empty):
            self._take(self._done.get(timeout=SAVE_SECONDS))
            while len(self._unjudged) < MAX_JUDGED_AT_ONCE:
                self._take(self._done.get_nowait())
        self._judge_answers()

    def _take(self, future: "Future[Any]") -> None:
        if self._calls is not None and future in self._calls:
            self._collect_answer(self._calls, future)
        else:
            self._collect_scores(future)

    def _collect_answer(self, calls: Calls, future: "Future[Completion]") -> None:
        finished = calls.pop(future)
        try:
            answer = future.result()
        except CallWithdrawn:
            return
        except CallError as error:
            self._handle_failure(calls, finished, error)
        else:
            calls.succeeded()
            self._unjudged.append((finished.call, answer))

    def _handle_failure(self, calls: Calls, finished: CallInFlight, error: CallError) -> None:
        if error.remedy == Remedy.CONFIGURE:
            profiles.note_refusal(self._run.model, error)
            self._stop(StopReason.FAILED, error.detail)
        elif error.remedy == Remedy.RETRY and calls.is_provider_down(finished, error):
            self._stop(StopReason.BACKOFF, error.detail, error.retry_after or 0.0)
        else:
            self._unsaved.add(self._builder.failed(finished.call, error))

    def _judge_answers(self) -> None:
        answers, self._unjudged = self._unjudged, []
        if not answers:
            return
        try:
            for result in self._judging.judge(answers):
                self._unsaved.add(result)
        except Problem as problem:
            if problem.code not in TRANSIENT_ERRORS:
                raise
            for call, answer in answers:
                self._keep_unjudged(call, answer)
            self._stop(StopReason.BACKOFF, problem.detail)

    def _keep_unjudged(self, call: PendingCall, answer: Completion) -> None:
        """Keep an answer that is paid for, so that it costs nothing when its case comes again."""
        if call.key and call.known_answer is None:
            entry, cost = self._builder.cache_entry(call, answer), self._builder.cost(answer)
            retry_database(self._run, lambda: batches.save_unjudged_answer(self._run, entry, cost))

    def _collect_scores(self, future: "Future[scoring.AnswerScores]") -> None:
        call, answer = self._judging.pop(future)
        try:
            scores = future.result()
        except JudgeError as error:
            self._keep_unjudged(call, answer)
            reason = StopReason.FAILED if error.cause.remedy == Remedy.CONFIGURE else StopReason.BACKOFF
            self._stop(reason, str(error), error.cause.retry_after or 0.0)
        except Problem as problem:
            self._stop(StopReason.FAILED, f"The judge's rubric: {problem.detail}")
        else:
            self._unsaved.add(self._builder.judged(call, answer, scores))

    # --- State of the run --------------------------------------------------------------------------------------------

    def _follow(self, saved: SavedResults | None) -> None:
        """Take over changes by others: they may have ended the run, or spent some of its budget."""
        if saved is None:
            return
        run, now = self._run, saved.run
        run.cost_usd, run.answered, run.from_cache = now.cost_usd, now.answered, now.from_cache
        run.consecutive_failures = now.consecutive_failures
        retry_database(run, self._budget.refresh_other_runs)
        if now.state != RunState.RUNNING:
            self._stop(StopReason.RUN_ENDED)
        self._check_first_errors(saved)

    def _check_first_errors(self, saved: SavedResults) -> None:
        now = saved.run
        if now.answered > 2 * FIRST_ERRORS + len(saved.results):
            return
        self._first_errors |= {new_result.result.error for new_result in saved.results}
        if now.failed == now.answered >= FIRST_ERRORS and len(self._first_errors) == 1:
            detail = saved.results[0].result.error_detail
            self._stop(StopReason.FAILED, f"The first {now.answered} answers all failed alike: {detail}")

    def _refresh_if_due(self) -> None:
        now = time.monotonic()
        if now - self._refreshed_at < REFRESH_SECONDS:
            return
        self._refreshed_at = now
        if self._calls is not None:
            self._calls.refresh_block()
            if self._calls.waits_for_slots:
                retry_database(self._run, self._note_wait)
        states = Run.objects.values_list("state", flat=True)
        if retry_database(self._run, lambda: states.get(pk=self._run.pk)) != RunState.RUNNING:
            self._stop(StopReason.RUN_ENDED)

    def _note_wait(self) -> None:
        """Say on the run what it waits for; the next saved answer removes the note."""
        provider = self._run.model.provider
        sentence = f"Waits: {provider.name} takes {provider.max_concurrency} calls at a time, and others have them."
        Run.objects.filter(pk=self._run.pk, state=RunState.RUNNING).update(note=sentence)

    def _stop(self, reason: StopReason, error: str = "", retry_after: float = 0.0) -> None:
        """Make no more calls; those in flight still arrive. The first reason counts."""
        if self._stop_reason in (None, StopReason.TIME):
            self._stop_reason, self._error, self._retry_after = reason, error, retry_after
        if self._calls is not None:
            self._calls.withdraw()

    # --- The end of a tick -------------------------------------------------------------------------------------------

    def _close(self) -> TickResult:
        run = self._run
        self._unsaved.release_batches()
        match self._stop_reason:
            case StopReason.TIME:
                return TickResult.AGAIN
            case StopReason.RUN_ENDED:
                return TickResult.OVER
            case StopReason.BUDGET:
                whose = "the sweep's " if run.sweep_id else "the "
                sentence = f"The next answer might have cost more than {whose}${self._budget.limit:f}."
                return _end(run, RunState.STOPPED, sentence)
            case StopReason.FAILED:
                return _end(run, RunState.FAILED, self._error)
            case StopReason.BACKOFF:
                return self._back_off()
        # No batch is left: other workers have the rest, or all are done.
        return _end(run, RunState.DONE) if batches.is_complete(run) else TickResult.WAITING

    def _back_off(self) -> TickResult:
        run = self._run
        if run.consecutive_failures >= MAX_CONSECUTIVE_FAILURES:
            return _end(run, RunState.FAILED, self._error)
        pause = max(min(FIRST_PAUSE * 2**run.consecutive_failures, MAX_PAUSE), timedelta(seconds=self._retry_after))
        until = timezone.now() + pause
        note = f"{self._error} Goes on at {until:%H:%M:%S} UTC."[:500]
        changes = {"consecutive_failures": run.consecutive_failures + 1, "note": note, "not_before": until}
        Run.objects.filter(pk=run.pk, state=RunState.RUNNING).update(**changes)
        logger.warning("run.back_off run=%s seconds=%d %s", run.pk, pause.total_seconds(), self._error)
        return TickResult.WAITING
