"""Worker of playground runs: it asks every model about every input at once, and saves the pieces as they come.

Calls are made by evaluations.providers.caller, so limits, rejections and pauses are the same as for runs. Answers
that are open when the time is up, or when a user cancels, end as they are then.
"""

import logging
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import ExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from django.utils import timezone

from core.errors import Problem
from evaluations.models import PLAYGROUND_OPEN, PlaygroundAnswer, PlaygroundRun, PlaygroundState, Provider
from evaluations.playground import adherence
from evaluations.providers import configuration as providers
from evaluations.providers import profiles, rate_limits, slots
from evaluations.providers.answer_shapes import garbled_error
from evaluations.providers.base import ChatClient
from evaluations.providers.caller import Caller
from evaluations.providers.chat import CallError, ChatRequest, Completion, Remedy, build_request, storable
from evaluations.providers.prices import TokenUsage
from evaluations.providers.protocols import open_chat
from evaluations.providers.retries import MAX_RETRY_AFTER_SECONDS
from evaluations.runs.planning import DEFAULT_ANSWER_TOKENS
from evaluations.runs.requests import TRANSIENT_ERRORS
from evaluations.scorers.base import Sample
from evaluations.scorers.text import exact
from infra import work
from infra.work import Lease
from registry.content import tokens
from registry.images.lookup import with_data
from registry.prompts import includes, versions

logger = logging.getLogger(__name__)

# The interval at which pieces are saved for the page.
WRITE_SECONDS = 0.25
MAX_SECONDS = 300.0
# The time for which examples that are being embedded are waited for.
EMBEDDING_WAIT_SECONDS = 60.0


def ask_models(playground_run: PlaygroundRun) -> None:
    """Make the calls of a playground run; does nothing where another worker does, or where a user cancelled."""
    lease = work.claim(playground_run)
    if lease is None:
        return
    worker = _PlaygroundWorker(lease)
    if lease.was_abandoned:
        worker.end(
            "call.lost", "The worker died before the answer was complete. Try again.", state=PlaygroundState.FAILED
        )
        return
    work.run(lease, worker.run, fail=lambda problem: worker.end(problem.code, problem.detail))


@dataclass
class _Piece:
    """A piece of an answer; None says that the answer begins (again, after a retry)."""

    key: str
    text: str | None
    at: float = field(default_factory=time.perf_counter)


class _StreamingChat:
    """A chat that passes on the pieces of its answers."""

    def __init__(self, chat: ChatClient, put: Callable[[_Piece], None]) -> None:
        self._chat = chat
        self._put = put

    async def complete(self, request: ChatRequest, *, key: str = "") -> Completion:
        self._put(_Piece(key, None))
        async for piece in self._chat.stream(request):
            if isinstance(piece, Completion):
                return piece
            self._put(_Piece(key, piece))
        raise garbled_error("The stream ended without an answer.")


@dataclass
class _OpenAnswer:
    """An answer that is not complete yet."""

    answer: PlaygroundAnswer
    started_at: float = 0.0
    pieces: list[str] = field(default_factory=list)
    is_new: bool = True


class _PlaygroundWorker:
    def __init__(self, lease: Lease[PlaygroundRun]) -> None:
        self.lease = lease
        playground_run = self.playground_run = lease.item
        roots = includes.get_partials_of_content(playground_run.project_id, playground_run.content)
        self.partials = {key: version.content for key, version in roots.items()}
        self.waiting = list(playground_run.answers.all())
        self.open: dict[str, _OpenAnswer] = {}
        self.events: SimpleQueue[_Piece | tuple[str, Future[Completion]]] = SimpleQueue()
        self.until = time.monotonic() + MAX_SECONDS
        self.embedding_until = time.monotonic() + EMBEDDING_WAIT_SECONDS
        self.callers: dict[int, Caller] = {}

    def run(self) -> None:
        with ExitStack() as stack:
            while (self.waiting or self.open) and time.monotonic() < self.until:
                self._submit_waiting(stack)
                self._collect()
                self._save_pieces()
                if not self._is_held():
                    break
            for caller in self.callers.values():
                caller.withdraw()
        self.end("call.timeout", f"There was no complete answer within {MAX_SECONDS:.0f} s.")

    def end(self, code: str, detail: str, *, state: PlaygroundState = PlaygroundState.DONE) -> None:
        """End all open answers as failed, with this reason. Does nothing where a user cancelled in the meantime."""
        if not self._is_held():
            return
        for answer in self.playground_run.answers.all():
            if answer.state in PLAYGROUND_OPEN:
                self._fail(answer, code, detail)
        self.lease.finish(state)

    def _submit_waiting(self, stack: ExitStack) -> None:
        waiting, self.waiting = self.waiting, []
        for answer in waiting:
            try:
                self._submit(answer, stack)
            except Problem as problem:
                if problem.code in TRANSIENT_ERRORS and time.monotonic() < self.embedding_until:
                    self.waiting.append(answer)
                    self._note_reason(answer, problem.detail)
                else:
                    self._fail(answer, problem.code, problem.detail)
            except CallError as error:
                self._fail(answer, error.code, error.detail)

    def _note_reason(self, answer: PlaygroundAnswer, detail: str) -> None:
        if answer.error_detail != detail:
            answer.error_detail = detail
            _save_answer(answer)

    def _submit(self, answer: PlaygroundAnswer, stack: ExitStack) -> None:
        playground_run, model = self.playground_run, answer.model
        rendered = versions.render_request(
            playground_run.project_id, playground_run.content, answer.variables, self.partials
        )
        request = build_request(rendered, model.name, playground_run.parameters, profiles.profile_of(model))
        # Saved with the addresses of images, sent with their data.
        answer.request = request.body()
        request = replace(request, messages=with_data(playground_run.project_id, request.messages))
        caller = self._caller(model.provider, stack)
        key, not_before = str(answer.pk), _reserve_call(model.provider, request)
        answer.error_detail = ""
        _save_request(answer)
        self.open[key] = _OpenAnswer(answer)
        future = caller.submit(request, key=key, not_before=not_before)
        future.add_done_callback(lambda completed: self.events.put((key, completed)))

    def _caller(self, provider: Provider, stack: ExitStack) -> Caller:
        if provider.pk not in self.callers:
            reached, allowed = providers.endpoint(provider), providers.destinations()

            @asynccontextmanager
            async def open_streaming_chat() -> AsyncIterator[_StreamingChat]:
                async with open_chat(reached, allowed) as chat:
                    yield _StreamingChat(chat, self.events.put)

            self.callers[provider.pk] = stack.enter_context(slots.open_caller(provider, open_streaming_chat))
        return self.callers[provider.pk]

    def _collect(self) -> None:
        """Collect events until the next save is due."""
        until = time.monotonic() + WRITE_SECONDS
        while (self.waiting or self.open) and (left := until - time.monotonic()) > 0:
            try:
                event = self.events.get(timeout=left)
            except Empty:
                return
            if isinstance(event, _Piece):
                self._add_piece(event)
            else:
                self._finish(*event)

    def _add_piece(self, piece: _Piece) -> None:
        open_answer = self.open.get(piece.key)
        if open_answer is None:
            return
        open_answer.is_new = True
        if piece.text is None:
            open_answer.started_at, open_answer.pieces, open_answer.answer.time_to_first_token_ms = piece.at, [], None
            return
        if not open_answer.pieces:
            open_answer.answer.time_to_first_token_ms = (piece.at - open_answer.started_at) * 1_000
        open_answer.pieces.append(piece.text)

    def _finish(self, key: str, future: "Future[Completion]") -> None:
        open_answer = self.open.pop(key)
        try:
            completion = future.result()
        except CallError as error:
            open_answer.answer.output = storable("".join(open_answer.pieces))
            profiles.note_refusal(open_answer.answer.model, error)
            self._fail(open_answer.answer, error.code, error.detail)
        else:
            self._save_completion(open_answer.answer, completion)

    def _save_completion(self, answer: PlaygroundAnswer, completion: Completion) -> None:
        price = providers.price_of(answer.model)
        answer.state, answer.output, answer.refusal = PlaygroundState.DONE, completion.text, completion.refusal
        answer.tool_calls = [dict(call) for call in completion.tool_calls or ()] or None
        answer.finish_reason, answer.latency_ms = completion.finish_reason, completion.latency_ms
        for name, count in asdict(completion.usage).items():
            setattr(answer, name, count)
        answer.cost_usd = price.of(completion.usage) if price else None
        pool, project = versions.renderer_pool(), self.playground_run.project_id
        violations = partial(pool.violations, limit=adherence.MAX_FAULTS, owner=project)
        answer.faults = adherence.find_faults(self.playground_run.content, completion, violations)
        answer.is_expected = _is_expected(answer)
        _save_answer(answer)

    def _fail(self, answer: PlaygroundAnswer, code: str, detail: str) -> None:
        answer.state, answer.error, answer.error_detail = PlaygroundState.FAILED, code, detail[:1_000]
        _save_answer(answer)

    def _save_pieces(self) -> None:
        for open_answer in self.open.values():
            if open_answer.is_new:
                open_answer.is_new = False
                open_answer.answer.state, open_answer.answer.output = (
                    PlaygroundState.RUNNING,
                    storable("".join(open_answer.pieces)),
                )
                _save_answer(open_answer.answer)

    def _is_held(self) -> bool:
        """Return whether this worker holds the lease still."""
        return self.lease.rows().exists()


def _is_expected(answer: PlaygroundAnswer) -> bool | None:
    if answer.case is None or answer.case.expected is None:
        return None
    return exact.is_same(Sample(output=answer.output, expected=answer.case.expected))


def _save_request(answer: PlaygroundAnswer) -> None:
    """Save the request of an answer: once, because it may be large."""
    PlaygroundAnswer.objects.filter(pk=answer.pk).update(request=answer.request, changed_at=timezone.now())


def _save_answer(answer: PlaygroundAnswer) -> None:
    """Save an answer as it is now, unless a user cancelled it."""
    names = (
        *("state", "output", "tool_calls", "refusal", "finish_reason", "faults", "is_expected"),
        *("error", "error_detail"),
        *("time_to_first_token_ms", "latency_ms", "cost_usd"),
        *(member.name for member in fields(TokenUsage)),
    )
    changed: dict[str, Any] = {name: getattr(answer, name) for name in names}
    mine = PlaygroundAnswer.objects.filter(pk=answer.pk, state__in=PLAYGROUND_OPEN)
    mine.update(**changed, changed_at=timezone.now())


def _reserve_call(provider: Provider, request: ChatRequest) -> float:
    """Reserve room for a call under limits that all workers share; return when it may go (time.time())."""
    if until := rate_limits.blocked_until(provider):
        wait = (until - timezone.now()).total_seconds()
        if wait > MAX_RETRY_AFTER_SECONDS:
            sentence = f"{provider.name} wants no calls until {until:%H:%M:%S} UTC."
            raise CallError("call.rate_limited", sentence, Remedy.RETRY, wait)
    if not rate_limits.is_limited(provider):
        return until.timestamp() if until else 0.0
    size = tokens.count_messages(list(request.messages), request.model).tokens + DEFAULT_ANSWER_TOKENS
    return rate_limits.reserve(provider, requests=1, tokens=size).timestamp()
