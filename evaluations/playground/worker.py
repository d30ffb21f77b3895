"""One worker's work for the playground: ask every model about every input at once, and keep the pieces as they come.

Calls are made by evaluations.providers.concurrency, so limits, turned-away calls and pauses are as they are for runs. What is open
when its time is up, or when somebody cancels, ends as it is then.
"""

import logging
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from django.utils import timezone

from core.errors import Problem
from evaluations.models import TRIAL_OPEN, Provider, Trial, TrialAnswer, TrialState
from evaluations.playground import adherence
from evaluations.providers import configuration as providers
from evaluations.providers import rate_limits
from evaluations.providers.chat import CallError, ChatRequest, Completion, Remedy, request_of, storable
from evaluations.providers.concurrency import LONGEST_RETRY_AFTER, Caller
from evaluations.providers.openai_chat import OpenAIChat, connected, garbled
from evaluations.runs.planning import USUAL_ANSWER_TOKENS
from evaluations.runs.requests import PASSING, messages_of
from evaluations.scorers.base import Sample
from evaluations.scorers.text import exact
from infra import work as attempts
from registry.content import tokens
from registry.prompts import includes, versions

logger = logging.getLogger(__name__)

# How often what has come is written, for who looks on.
WRITE_SECONDS = 0.25
BEAT_SECONDS = 5.0
LONGEST_SECONDS = 300.0
# How long examples that are just being embedded are waited for.
PATIENT_SECONDS = 60.0


def perform(trial: Trial) -> None:
    """Ask; does nothing where another worker does, or where somebody cancelled."""
    mine = Trial.objects.filter(pk=trial.pk, state=TrialState.PENDING)
    if mine.update(state=TrialState.RUNNING, beat_at=timezone.now()) != 1:
        return
    work = _Work(trial)
    try:
        work.go()
    except Exception:
        logger.exception("trial.broken trial=%s", trial.pk)
        work.end("server.error", attempts.BROKEN)
    else:
        work.end("call.timeout", f"There was no whole answer within {LONGEST_SECONDS:.0f} s.")


@dataclass
class _Piece:
    """A piece of an answer; None says that the answer begins (again, where it is tried again)."""

    key: str
    text: str | None
    at: float = field(default_factory=time.perf_counter)


class _Told:
    """A chat that hands on the pieces of its answers."""

    def __init__(self, chat: OpenAIChat, put: Callable[[_Piece], None]) -> None:
        self._chat = chat
        self._put = put

    async def complete(self, request: ChatRequest, *, key: str = "") -> Completion:
        self._put(_Piece(key, None))
        async for piece in self._chat.stream(request):
            if isinstance(piece, Completion):
                return piece
            self._put(_Piece(key, piece))
        raise garbled("The stream ended without an answer.")


@dataclass
class _Open:
    """An answer that is on its way."""

    answer: TrialAnswer
    began: float = 0.0
    pieces: list[str] = field(default_factory=list)
    is_new: bool = True


class _Work:
    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        roots = includes.partials_of_content(trial.project_id, trial.content)
        self.partials = {key: version.content for key, version in roots.items()}
        self.waiting = list(trial.answers.all())
        self.open: dict[str, _Open] = {}
        self.events: SimpleQueue[_Piece | tuple[str, Future[Completion]]] = SimpleQueue()
        self.until = time.monotonic() + LONGEST_SECONDS
        self.patient_until = time.monotonic() + PATIENT_SECONDS
        self.beat_at = time.monotonic()
        self.callers: dict[int, Caller] = {}

    def go(self) -> None:
        with ExitStack() as stack:
            while (self.waiting or self.open) and time.monotonic() < self.until:
                self._ask_what_waits(stack)
                self._gather()
                self._write()
                if not self._is_wanted():
                    break
            for caller in self.callers.values():
                caller.withdraw()

    def end(self, code: str, detail: str) -> None:
        """Whatever is open ends without an answer, for this reason."""
        for answer in self.trial.answers.all():
            if answer.state in TRIAL_OPEN:
                self._failed(answer, code, detail)
        Trial.objects.filter(pk=self.trial.pk, state=TrialState.RUNNING).update(
            state=TrialState.DONE, finished_at=timezone.now()
        )

    def _ask_what_waits(self, stack: ExitStack) -> None:
        waiting, self.waiting = self.waiting, []
        for answer in waiting:
            try:
                self._ask(answer, stack)
            except Problem as problem:
                if problem.code in PASSING and time.monotonic() < self.patient_until:
                    self.waiting.append(answer)
                    self._says_why(answer, problem.detail)
                else:
                    self._failed(answer, problem.code, problem.detail)
            except CallError as error:
                self._failed(answer, error.code, error.detail)

    def _says_why(self, answer: TrialAnswer, detail: str) -> None:
        if answer.error_detail != detail:
            answer.error_detail = detail
            _store(answer)

    def _ask(self, answer: TrialAnswer, stack: ExitStack) -> None:
        trial, model = self.trial, answer.model
        rendered = versions.request_for(trial.project_id, trial.content, answer.variables, self.partials)
        request = request_of(messages_of(rendered), model.name, trial.parameters)
        answer.request = request.body()
        caller = self._caller(model.provider, stack)
        key, turn = str(answer.pk), _turn(model.provider, request)
        answer.error_detail = ""
        _sent(answer)
        self.open[key] = _Open(answer)
        future = caller.submit(request, key=key, not_before=turn)
        future.add_done_callback(lambda found: self.events.put((key, found)))

    def _caller(self, provider: Provider, stack: ExitStack) -> Caller:
        if provider.pk not in self.callers:
            reached, allowed = providers.endpoint(provider), providers.destinations()

            @asynccontextmanager
            async def opened() -> AsyncIterator[_Told]:
                async with connected(reached, allowed) as chat:
                    yield _Told(chat, self.events.put)

            self.callers[provider.pk] = stack.enter_context(Caller(opened, provider.max_concurrency))
        return self.callers[provider.pk]

    def _gather(self) -> None:
        """Take what comes, for as long as it may stay unwritten."""
        until = time.monotonic() + WRITE_SECONDS
        while (self.waiting or self.open) and (left := until - time.monotonic()) > 0:
            try:
                event = self.events.get(timeout=left)
            except Empty:
                return
            if isinstance(event, _Piece):
                self._piece(event)
            else:
                self._over(*event)

    def _piece(self, piece: _Piece) -> None:
        one = self.open.get(piece.key)
        if one is None:
            return
        one.is_new = True
        if piece.text is None:
            one.began, one.pieces, one.answer.first_piece_ms = piece.at, [], None
            return
        if not one.pieces:
            one.answer.first_piece_ms = (piece.at - one.began) * 1_000
        one.pieces.append(piece.text)

    def _over(self, key: str, future: "Future[Completion]") -> None:
        one = self.open.pop(key)
        try:
            found = future.result()
        except CallError as error:
            one.answer.output = storable("".join(one.pieces))
            self._failed(one.answer, error.code, error.detail)
        else:
            self._answered(one.answer, found)

    def _answered(self, answer: TrialAnswer, found: Completion) -> None:
        price = providers.price_of(answer.model)
        answer.state, answer.output, answer.refusal = TrialState.DONE, found.text, found.refusal
        answer.tool_calls = [dict(call) for call in found.tool_calls or ()] or None
        answer.finish_reason, answer.latency_ms = found.finish_reason, found.latency_ms
        answer.tokens_in, answer.tokens_out = found.tokens_in, found.tokens_out
        answer.cost_usd = price.of(found.tokens_in, found.tokens_cached, found.tokens_out) if price else None
        answer.faults = adherence.faults(self.trial.content, found)
        answer.is_expected = _is_expected(answer)
        _store(answer)

    def _failed(self, answer: TrialAnswer, code: str, detail: str) -> None:
        answer.state, answer.error, answer.error_detail = TrialState.FAILED, code, detail[:1_000]
        _store(answer)

    def _write(self) -> None:
        for one in self.open.values():
            if one.is_new:
                one.is_new = False
                one.answer.state, one.answer.output = TrialState.RUNNING, storable("".join(one.pieces))
                _store(one.answer)

    def _is_wanted(self) -> bool:
        now = time.monotonic()
        mine = Trial.objects.filter(pk=self.trial.pk, state=TrialState.RUNNING)
        if now - self.beat_at < BEAT_SECONDS:
            return mine.exists()
        self.beat_at = now
        return mine.update(beat_at=timezone.now()) == 1


def _is_expected(answer: TrialAnswer) -> bool | None:
    if answer.case is None or answer.case.expected is None:
        return None
    return exact.is_same(Sample(output=answer.output, expected=answer.case.expected))


def _sent(answer: TrialAnswer) -> None:
    """Keep what the model is sent: once, because it may be large."""
    TrialAnswer.objects.filter(pk=answer.pk).update(request=answer.request, changed_at=timezone.now())


def _store(answer: TrialAnswer) -> None:
    """Keep an answer as it is now, unless somebody cancelled it."""
    names = (
        *("state", "output", "tool_calls", "refusal", "finish_reason", "faults", "is_expected"),
        *("error", "error_detail"),
        *("first_piece_ms", "latency_ms", "tokens_in", "tokens_out", "cost_usd"),
    )
    changed: dict[str, Any] = {name: getattr(answer, name) for name in names}
    mine = TrialAnswer.objects.filter(pk=answer.pk, state__in=TRIAL_OPEN)
    mine.update(**changed, changed_at=timezone.now())


def _turn(provider: Provider, request: ChatRequest) -> float:
    """When a call's turn comes under limits that all workers share (time.time())."""
    if until := rate_limits.blocked_until(provider):
        wait = (until - timezone.now()).total_seconds()
        if wait > LONGEST_RETRY_AFTER:
            sentence = f"{provider.name} wants no calls until {until:%H:%M:%S} UTC."
            raise CallError("call.rate_limited", sentence, Remedy.RETRY, wait)
    if not rate_limits.is_limited(provider):
        return until.timestamp() if until else 0.0
    size = tokens.count_messages(list(request.messages), request.model).tokens + USUAL_ANSWER_TOKENS
    return rate_limits.reserve(provider, requests=1, tokens=size).timestamp()
