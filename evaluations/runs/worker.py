"""One worker's turn at a run: it takes batches, asks, judges, keeps, until its time is up or there is nothing left.

The rows say everything: a worker that dies loses what was in the air and no more, and the next one goes on. Calls have
names (run, case and repeat), so that a provider that knows calls by name charges each once.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone

from core.errors import Problem
from evaluations.models import Run, RunState
from evaluations.providers import configuration as providers
from evaluations.providers import rate_limits
from evaluations.providers.chat import CallError, Completion, Remedy
from evaluations.providers.concurrency import LONGEST_RETRY_AFTER, Caller, Withdrawn
from evaluations.providers.openai_chat import connected
from evaluations.runs import batches
from evaluations.runs.batches import Found, Held
from evaluations.runs.budget import NOTHING, May, Spending
from evaluations.runs.judges import JudgeError, Judges
from evaluations.runs.requests import PASSING, Ask, Preparation
from evaluations.runs.results import Recorder
from evaluations.scorers import specs
from evaluations.scorers.specs import Judged
from infra import work

logger = logging.getLogger(__name__)

TURN_SECONDS = 60.0
# Results are kept when there are so many of them, or when the oldest is so old.
KEPT_ROWS = 100
KEPT_SECONDS = 0.5
BEAT_SECONDS = 5.0
# A provider that does not answer is left alone for 5 s, then twice as long each time; after so many times the run ends.
FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=5)
MOST_SETBACKS = 8
# A run whose first answers all fail for one reason would fail to the end.
FIRST_ERRORS = 20
# Calls are queued no further than this many seconds ahead of their turn.
LOOK_AHEAD = 2.0
JUDGING_THREADS = 16
# How long a database that is away is waited for before a turn is given up.
DATABASE_SECONDS = 120.0
T = TypeVar("T")


class Turn(StrEnum):
    """How a turn ended."""

    AGAIN = "again"
    OVER = "over"
    WAITING = "waiting"


class Why(StrEnum):
    """Why no more is asked."""

    TIME = "time"
    TAKEN = "taken"
    BUDGET = "budget"
    SETBACK = "setback"
    FAILED = "failed"


@dataclass
class Asked:
    ask: Ask
    at: float


def drive(run: Run, *, seconds: float = TURN_SECONDS) -> Turn:
    """Take a turn at a run. Several workers may, at once."""
    if not batches.begin(run):
        return Turn.WAITING if run.is_open else Turn.OVER
    try:
        return _Drive(run, seconds).go()
    except Problem as problem:
        # What the run needs is not there any more: its provider's key, a judge.
        return _end(run, RunState.FAILED, problem.detail)
    except (OperationalError, InterfaceError):
        # The database is away for longer than it is waited for; the sweep goes on when it is back.
        raise
    except Exception:
        logger.exception("run.broken run=%s", run.pk)
        return _end(run, RunState.FAILED, work.BROKEN)


def _end(run: Run, state: RunState, error: str = "") -> Turn:
    ended = Run.objects.filter(pk=run.pk, state=RunState.RUNNING).update(
        state=state, error=error[:1_000], note="", finished_at=timezone.now()
    )
    if ended:
        logger.info("run.%s run=%s %s", state, run.pk, error)
    return Turn.OVER


class _Drive:
    def __init__(self, run: Run, seconds: float) -> None:
        self.run = run
        self.specs = specs.stored(run.scorers)
        self.until = time.monotonic() + seconds
        self.recorder = Recorder(run, self.specs)
        self.asks_judges = any(spec.definition.asks_model for spec in self.specs)
        self.preparation = Preparation(run, keeps_all=self.asks_judges)
        self.caller: Caller | None = None
        self.held: list[Held] = []
        self.ready: deque[Ask] = deque()
        self.in_air: dict[Future[Completion], Asked] = {}
        self.done: SimpleQueue[Future[Any]] = SimpleQueue()
        self.judged: dict[Future[Judged], tuple[Ask, Completion]] = {}
        self.found: list[Found] = []
        self.kept_at = self.beat_at = time.monotonic()
        self.succeeded_at = 0.0
        self.spending = Spending(run)
        # Until when the provider is left alone, and when the turn of the last call came (time.time()).
        self.blocked_until = self.last_turn = 0.0
        self.first_errors: set[str] = set()
        self.why: Why | None = None
        self.error = ""
        self.retry_after = 0.0

    def go(self) -> Turn:
        run = self.run
        with ExitStack() as stack:
            if not run.answers_of_id:
                reached, allowed = providers.endpoint(run.model.provider), providers.destinations()
                opened = Caller(lambda: connected(reached, allowed), run.model.provider.max_concurrency)
                self.caller = stack.enter_context(opened)
            self.judges = stack.enter_context(Judges(run, self.specs))
            self.threads = stack.enter_context(ThreadPoolExecutor(JUDGING_THREADS, "judging"))
            self._work()
        return self._close()

    def _work(self) -> None:
        while True:
            took = self._fill()
            if self.in_air or self.judged:
                self._collect()
            elif not took:
                break
            self._keep_if_due()
            self._beat_if_due()
        self._keep()

    # --- Asking ------------------------------------------------------------------------------------------------------

    def _fill(self) -> bool:
        """Ask as much as may be in the air; whether anything was taken up."""
        took = False
        while self._may_ask():
            if not self.ready and not self._claim():
                return took
            if not self.ready:
                return True
            took = True
            self._take_up(self.ready.popleft())
            if len(self.found) >= KEPT_ROWS:
                return True
        return took

    def _may_ask(self) -> bool:
        if self.why is None and time.monotonic() > self.until:
            # Calls whose turn has not come are for the next turn; those in the air arrive.
            self._stop(Why.TIME)
        if self.why is not None:
            return False
        most = 2 * self.caller.limit if self.caller else 2 * JUDGING_THREADS
        if len(self.in_air) + len(self.judged) >= most:
            return False
        if self.in_air and self.last_turn > time.time() + LOOK_AHEAD:
            # A turn that is reserved and not used is lost for every worker.
            return False
        return self._can_pay()

    def _can_pay(self) -> bool:
        unkept = sum((one.spent for one in self.found), NOTHING)
        may = self.spending.another(unkept, len(self.in_air) + len(self.judged))
        if may == May.END:
            self._stop(Why.BUDGET)
        return may == May.ASK

    def _claim(self) -> bool:
        held = self._surely(lambda: batches.claim(self.run))
        if held is None:
            return False
        self.held.append(held)
        self.ready.extend(self._surely(lambda: list(self.preparation.of(held))))
        if not held.left:
            # All of it was answered by a worker that died before it could say so.
            self._surely(lambda: batches.end(held))
        return True

    def _take_up(self, ask: Ask) -> None:
        if ask.error[0] in PASSING:
            self._stop(Why.SETBACK, ask.error[1])
        elif ask.error[0]:
            self.found.append(self.recorder.failed(ask, CallError(*ask.error, Remedy.GIVE_UP)))
        elif ask.known is not None:
            self._judge(ask, ask.known)
        elif ask.request is not None and self.caller is not None:
            key = f"cuebook-run-{self.run.pk}-{ask.case.pk}-{ask.repeat}"
            future = self.caller.submit(ask.request, key=key, not_before=self._turn())
            self.in_air[future] = Asked(ask, time.monotonic())
            future.add_done_callback(self.done.put)

    def _turn(self) -> float:
        """When a call's turn comes under limits that all workers share (time.time())."""
        provider = self.run.model.provider
        if not rate_limits.is_limited(provider):
            return self.blocked_until
        estimate = self.run.estimate
        tokens = (estimate["tokens_in"] + estimate["tokens_out"]) // max(1, self.run.planned)
        self.last_turn = self._surely(lambda: rate_limits.reserve(provider, requests=1, tokens=tokens)).timestamp()
        return self.last_turn

    # --- What comes back ---------------------------------------------------------------------------------------------

    def _collect(self) -> None:
        # A queue, and not `wait`: that would take hold of every future in the air each time.
        try:
            future = self.done.get(timeout=KEPT_SECONDS)
        except Empty:
            return
        if future in self.in_air:
            self._answered(future)
        else:
            self._was_judged(future)

    def _answered(self, future: "Future[Completion]") -> None:
        asked = self.in_air.pop(future)
        try:
            answer = future.result()
        except Withdrawn:
            return
        except CallError as error:
            self._call_failed(asked, error)
        else:
            self.succeeded_at = time.monotonic()
            self._judge(asked.ask, answer)

    def _call_failed(self, asked: Asked, error: CallError) -> None:
        if error.remedy == Remedy.CONFIGURE:
            self._stop(Why.FAILED, error.detail)
        elif error.remedy == Remedy.RETRY and self._is_down(asked, error):
            self._stop(Why.SETBACK, error.detail, error.retry_after or 0.0)
        else:
            self.found.append(self.recorder.failed(asked.ask, error))

    def _is_down(self, asked: Asked, error: CallError) -> bool:
        """Whether it is the provider that fails and not this call: since it was made, none went well."""
        return (error.retry_after or 0.0) > LONGEST_RETRY_AFTER or self.succeeded_at <= asked.at

    def _judge(self, ask: Ask, answer: Completion) -> None:
        sample = self.recorder.sample(ask, answer)
        if self.asks_judges:
            outside = self._surely(self.judges.for_one)
            future = self.threads.submit(specs.judge, sample, self.specs, outside)
            self.judged[future] = (ask, answer)
            future.add_done_callback(self.done.put)
        else:
            self.found.append(self.recorder.found(ask, answer, specs.judge(sample, self.specs, self.judges)))

    def _was_judged(self, future: "Future[Judged]") -> None:
        ask, answer = self.judged.pop(future)
        try:
            judged = future.result()
        except JudgeError as error:
            if ask.key and ask.known is None:
                kept, cost = self.recorder.cached(ask, answer), self.recorder.cost(answer)
                self._surely(lambda: batches.keep_unjudged(self.run, kept, cost))
            why = Why.FAILED if error.cause.remedy == Remedy.CONFIGURE else Why.SETBACK
            self._stop(why, str(error), error.cause.retry_after or 0.0)
        except Problem as problem:
            self._stop(Why.FAILED, f"The judge's rubric: {problem.detail}")
        else:
            self.found.append(self.recorder.found(ask, answer, judged))

    # --- Keeping -----------------------------------------------------------------------------------------------------

    def _keep_if_due(self) -> None:
        if len(self.found) >= KEPT_ROWS or time.monotonic() - self.kept_at > KEPT_SECONDS:
            self._keep()

    def _keep(self) -> None:
        self.kept_at = time.monotonic()
        found, self.found = self.found, []
        if not found:
            return
        paid = [one.spent for one in found if one.spent > 0]
        extra = self.judges.take_spent()
        if extra:
            paid.append(max(paid, default=NOTHING) + extra / len(found))
            found[0] = Found(found[0].held, found[0].result, found[0].spent + extra, found[0].answer)
        left = {id(one.held): one.held.left for one in found}

        def keep() -> Run:
            for one in found:
                one.held.left = left[id(one.held)]
            return batches.keep(self.run, found)

        self.spending.learn(paid)
        now = self._surely(keep)
        self.held = [one for one in self.held if one.left > 0]
        self._follow(now)
        self._look_at_first(found, now)

    def _follow(self, now: Run) -> None:
        """What others did to the run meanwhile: ended it, or spent of its budget."""
        self.run.cost_usd, self.run.answered, self.run.from_cache = now.cost_usd, now.answered, now.from_cache
        self.run.setbacks = now.setbacks
        self._surely(self.spending.look_beside)
        if now.state != RunState.RUNNING:
            self._stop(Why.TAKEN)

    def _look_at_first(self, found: list[Found], now: Run) -> None:
        if now.answered > 2 * FIRST_ERRORS + len(found):
            return
        self.first_errors |= {one.result.error for one in found}
        if now.failed == now.answered >= FIRST_ERRORS and len(self.first_errors) == 1:
            self._stop(Why.FAILED, f"The first {now.answered} answers all failed alike: {found[0].result.error_detail}")

    def _beat_if_due(self) -> None:
        now = time.monotonic()
        if now - self.beat_at < BEAT_SECONDS:
            return
        self.beat_at = now
        self._surely(lambda: batches.beat(self.held))
        provider = self.run.model.provider
        told = self.caller.told.blocked_until if self.caller else 0.0
        if told > max(self.blocked_until, time.time()):
            self._surely(lambda: rate_limits.block(provider, datetime.fromtimestamp(told, UTC)))
        until = self._surely(lambda: rate_limits.blocked_until(provider))
        self.blocked_until = until.timestamp() if until else 0.0
        if self._surely(lambda: Run.objects.values_list("state", flat=True).get(pk=self.run.pk)) != RunState.RUNNING:
            self._stop(Why.TAKEN)

    def _stop(self, why: Why, error: str = "", retry_after: float = 0.0) -> None:
        """Ask nothing more; what is in the air still arrives. The first reason counts."""
        if self.why in (None, Why.TIME):
            self.why, self.error, self.retry_after = why, error, retry_after
        if self.caller:
            self.caller.withdraw()

    def _surely(self, do: Callable[[], T]) -> T:
        """Reach the database, also where it is away for a minute: answers that are paid for are at stake."""
        for pause in _pauses(DATABASE_SECONDS):
            try:
                return do()
            except (OperationalError, InterfaceError) as error:
                logger.warning("run.database_away run=%s %s", self.run.pk, error)
                connection.close()
                time.sleep(pause)
        return do()

    # --- The end of a turn -------------------------------------------------------------------------------------------

    def _close(self) -> Turn:
        run = self.run
        self._surely(lambda: batches.give_back(self.held))
        match self.why:
            case Why.TIME:
                return Turn.AGAIN
            case Why.TAKEN:
                return Turn.OVER
            case Why.BUDGET:
                whose = "the sweep's " if run.sweep_id else "the "
                said = f"The next answer might have cost more than {whose}${self.spending.budget:f}."
                return _end(run, RunState.STOPPED, said)
            case Why.FAILED:
                return _end(run, RunState.FAILED, self.error)
            case Why.SETBACK:
                return self._put_off()
        # Nothing is left to take: another worker has the rest, or there is none.
        return _end(run, RunState.DONE) if batches.is_complete(run) else Turn.WAITING

    def _put_off(self) -> Turn:
        run = self.run
        if run.setbacks >= MOST_SETBACKS:
            return _end(run, RunState.FAILED, self.error)
        pause = max(min(FIRST_PAUSE * 2**run.setbacks, LONGEST_PAUSE), timedelta(seconds=self.retry_after))
        until = timezone.now() + pause
        note = f"{self.error} Goes on at {until:%H:%M:%S} UTC."[:500]
        changed = {"setbacks": run.setbacks + 1, "note": note, "not_before": until}
        Run.objects.filter(pk=run.pk, state=RunState.RUNNING).update(**changed)
        logger.warning("run.put_off run=%s seconds=%d %s", run.pk, pause.total_seconds(), self.error)
        return Turn.WAITING


def _pauses(seconds: float) -> Iterator[float]:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        yield 0.5
