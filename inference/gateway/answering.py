"""How an answer is had: what is rendered, which model is asked, again, to repair, or the fallback in its place."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from math import inf
from typing import TypeVar

from django.db import InterfaceError, OperationalError, close_old_connections

from core.errors import Problem
from evaluations.playground import adherence
from evaluations.providers.chat import CallError, ChatRequest, Completion, build_request
from inference.gateway.attempts import Attempt
from inference.gateway.calls_in_progress import CallInProgress
from inference.gateway.inputs import read_variables
from inference.gateway.upstream.answer_cache import AnswerCache
from inference.gateway.upstream.chats import NO_TURN, OpenChats
from inference.gateway.upstream.repair import repair_request
from inference.gateway.upstream.resilience import OPEN, Circuits
from inference.texts import keeping
from registry.images.lookup import with_data
from registry.prompts import versions
from registry.prompts.versions import renderer_pool
from registry.retrieval.context import retrieved_chunks

logger = logging.getLogger(__name__)
T = TypeVar("T")
THREADS = 16
# What a route needs beside the model and cannot have now: its fallback may do without.
ROUTE_FAULTS = frozenset(
    {
        *("collection.archived", "collection.not_found", "collection.not_embedded", "examples.not_embedded"),
        *("embedder.unknown", "embedder.failed", "server.busy"),
    }
)


class Answering:
    """Asks models for answers; one a process, on its event loop. What may block runs in threads."""

    def __init__(self, chats: OpenChats) -> None:
        self._chats, self._circuits, self._answers = chats, Circuits(), AnswerCache()
        self._threads = ThreadPoolExecutor(THREADS, "gateway")

    async def pieces(self, call: CallInProgress) -> AsyncGenerator[str | Completion]:
        """Yield a stream. As long as nothing was sent, it is tried again, then taken by the fallback: where there is
        none to be had, and where the whole answer is one to fall back from. An answer that is repaired, or may have
        been kept, is whole before it is sent: what was sent cannot be taken back."""
        if call.plan.repair or call.plan.cache_seconds:
            answer = await self.answer(call)
            if answer.text:
                yield answer.text
            yield answer
            return
        tries, has_begun, reason = 0, False, ""
        chat_request = await self._request(call)
        while True:
            tries += 1
            try:
                async with self._asking(call) as attempt, aclosing(attempt.stream(chat_request)) as streamed:
                    async for piece in streamed:
                        if isinstance(piece, Completion):
                            await self._check(call, piece)
                            reason = _reason_to_fall_back(call, piece)
                            if reason and not has_begun:
                                continue
                            reason = ""
                        has_begun = True
                        yield piece
                if not reason:
                    return
            except CallError as error:
                if has_begun:
                    raise
                if await self._is_tried_again(call, error, tries):
                    continue
                if call.plan.fallback is None or call.fallback:
                    raise
                reason = error.code
            chat_request, tries, reason = await self._turn_to_fallback(call, reason), 0, ""

    async def answer(self, call: CallInProgress) -> Completion:
        """Return the answer of a call: one that was kept, the route's, repaired where the config says so, or that of
        the fallback."""
        chat_request = await self._request(call)
        cached_name = None if call.fallback else _cached_name(call, chat_request)
        if cached_name and (cached := self._answers.get(cached_name, call.plan.cache_seconds or 0)):
            call.is_cached, call.faults = True, [] if _has_form(call) else None
            return cached
        answer = await self._ask(call, chat_request)
        await self._check(call, answer)
        if call.faults and call.plan.repair:
            answer = await self._repair(call, chat_request, answer)
        if reason := _reason_to_fall_back(call, answer):
            answer = await self._ask(call, await self._turn_to_fallback(call, reason))
            await self._check(call, answer)
        is_unchecked = call.faults is None and _has_form(call)
        if cached_name and not (call.fallback or call.faults or is_unchecked or answer.refusal):
            self._answers.put(cached_name, answer)
        return answer

    async def _repair(self, call: CallInProgress, chat_request: ChatRequest, answer: Completion) -> Completion:
        """Return the answer of a model that is told once what is wrong with its first; that one, where it fails."""
        if call.fallback or answer.refusal:
            return answer
        call.is_repaired = True
        try:
            async with self._asking(call) as attempt:
                asked_again = repair_request(chat_request, answer, call.faults or ())
                repaired = await attempt.complete(asked_again, f"{call.id}-repair")
        except CallError as error:
            logger.warning("gateway.not_repaired %s %s", call.id, error.code)
            return answer
        await self._check(call, repaired)
        return repaired

    async def _ask(self, call: CallInProgress, chat_request: ChatRequest) -> Completion:
        """Return the answer of the route, tried again where that may help, or of the fallback."""
        tries = 0
        while True:
            tries += 1
            try:
                async with self._asking(call) as attempt:
                    return await attempt.complete(chat_request, f"{call.id}-{call.route.name}")
            except CallError as error:
                if await self._is_tried_again(call, error, tries):
                    continue
                if call.plan.fallback is None or call.fallback:
                    raise
                chat_request, tries = await self._turn_to_fallback(call, error.code), 0

    @asynccontextmanager
    async def _asking(self, call: CallInProgress) -> AsyncIterator[Attempt]:
        """Open the chat with a call's model, and note how it went; raises at once where the model is down."""
        endpoint = call.route.endpoint
        ask = self._circuits.ask((endpoint, call.route.model))
        left = call.seconds_left
        span = call.trace.asking(endpoint, call.route.model)
        attempt = None
        try:
            async with self._chats.turn(endpoint, inf if left is None else left):
                attempt = Attempt(call, await self._chats.chat(endpoint), ask, span)
                call.is_asked = True
                yield attempt
        except CallError as error:
            if attempt:
                attempt.gave_up(error)
            if error.code == NO_TURN:
                ask.left()
            else:
                ask.failed(error)
            span.end(error.code)
            raise
        except BaseException as error:
            if attempt:
                attempt.gave_up(error)
            ask.left()
            span.end(error.code if isinstance(error, Problem) else type(error).__name__)
            raise
        ask.succeeded()
        span.end()

    async def _is_tried_again(self, call: CallInProgress, error: CallError, tries: int) -> bool:
        """Wait for the next try of a failed call, and return whether there is one."""
        model = (call.route.endpoint, call.route.model)
        pause = None if error.code in (OPEN, NO_TURN) else self._circuits.pause_before_retry(model, error, tries)
        if pause is None or (call.seconds_left is not None and pause >= call.seconds_left):
            return False
        await asyncio.sleep(pause)
        return True

    async def _turn_to_fallback(self, call: CallInProgress, reason: str) -> ChatRequest:
        """Note that the other route is asked from now on, once, and return what it is asked."""
        assert call.plan.fallback is not None  # noqa: S101 - for the type checker: there is a reason only with one
        call.fallback = reason
        call.take(call.plan.fallback)
        return await self._request(call)

    async def _request(self, call: CallInProgress) -> ChatRequest:
        """Render what the route asks; where it needs what cannot be had now, what the fallback asks."""
        try:
            return await self._in_thread(lambda: _render(call))
        except Problem as problem:
            if problem.code not in ROUTE_FAULTS:
                raise
            call.is_broken = True
            if call.plan.fallback is None or call.fallback:
                raise
            return await self._turn_to_fallback(call, problem.code)

    async def _check(self, call: CallInProgress, answer: Completion) -> None:
        """Note what is wrong with the form of an answer, where the version asks for one."""
        call.faults = None
        if not _has_form(call):
            return
        content = call.route.content
        try:
            call.faults = await self._in_thread(
                lambda: list(adherence.find_faults(content, answer, renderer_pool().violations))
            )
        except Problem as problem:
            # The answer was paid for, and may well be right: what checks it is busy.
            logger.warning("gateway.unchecked %s %s", call.id, problem.code)

    async def keep_text(self, call: CallInProgress, answer: Completion) -> None:
        """Note what is kept of a call's text, if anything; redacted before it is written down anywhere."""
        if not call.is_sampled:
            return
        members = {"text": answer.text, "refusal": answer.refusal, "tool_calls": list(answer.tool_calls or ())}
        value = {
            "variables": dict(call.variables),
            "messages": list(call.messages),
            "answer": {name: member for name, member in members.items() if member},
        }
        plan = call.plan
        try:
            (call.text,) = await self._in_thread(
                lambda: keeping.cleaned([value], plan.texts, renderer_pool(), owner=plan.project)
            )
        except Problem as problem:
            # Nothing is kept that nobody has cleaned.
            logger.warning("gateway.text_not_kept %s %s", call.id, problem.code)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _has_form(call: CallInProgress) -> bool:
    """Return whether the version says what form an answer has."""
    content = call.route.content
    return bool(content.get("response", {}).get("format") or content.get("tools"))


def _reason_to_fall_back(call: CallInProgress, answer: Completion) -> str:
    """Return why to fall back from an answer; empty where it is the answer."""
    if call.plan.fallback is None or call.fallback:
        return ""
    if answer.refusal:
        return "refusal"
    return "format" if call.faults else ""


def _cached_name(call: CallInProgress, request: ChatRequest) -> Hashable:
    """Return the name under which the answer to a request is kept; None where it is not."""
    if not call.plan.cache_seconds or not request.is_deterministic:
        return None
    return call.plan.project, call.route.endpoint, request.key()


def _render(call: CallInProgress) -> ChatRequest:
    """Render what the route asks, in a thread: with connections of its own to the database, for examples that are
    picked by the question and for uploaded images."""
    close_old_connections()
    route, project = call.route, call.plan.project
    call.variables = values = read_variables(route.places, call.request.messages, call.request.variables)
    try:
        rendered = versions.render_request(project, route.content, values, route.partials, picks=route.picks)
        call.messages = rendered["messages"]
        call.retrieved = retrieved_chunks(rendered) or ()
        request = build_request(rendered, route.model, route.parameters, route.profile)
        return replace(request, messages=with_data(project, request.messages))
    except (OperationalError, InterfaceError) as error:
        sentence = "The database cannot be asked just now, and this call needs it: for examples, documents or images."
        raise Problem("server.busy", sentence) from error
    finally:
        close_old_connections()
