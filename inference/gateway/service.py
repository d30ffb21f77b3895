"""A call from end to end: who asks, what is live, what is rendered, which model answers, and the record of it."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

from django.db import InterfaceError, OperationalError, close_old_connections

from core.errors import Problem
from evaluations.playground import adherence
from evaluations.providers.base import ChatClient
from evaluations.providers.chat import CallError, ChatRequest, Completion, build_request
from inference.gateway.calls_in_progress import CallInProgress
from inference.gateway.inputs import read_variables
from inference.gateway.plan_reading import PlanReader
from inference.gateway.plans import Caller
from inference.gateway.request_reading import InferenceRequest
from inference.gateway.resilience import OPEN, Ask, Circuits
from inference.gateway.spool import Spool
from inference.gateway.upstreams import NO_TURN, Upstreams
from registry.images.lookup import with_data
from registry.prompts import versions
from registry.prompts.versions import renderer_pool

logger = logging.getLogger(__name__)
T = TypeVar("T")
THREADS = 16


class Gateway:
    """The service; one a process, on its event loop. What may block runs in threads."""

    def __init__(self, plans: PlanReader, upstreams: Upstreams, spool: Spool) -> None:
        self._plans, self._upstreams, self._spool = plans, upstreams, spool
        self._circuits = Circuits()
        self._threads = ThreadPoolExecutor(THREADS, "gateway")

    async def caller(self, token: str) -> Caller:
        """Return who a token belongs to. Raises a Problem."""
        return await self._plans.caller(token)

    async def begin(self, caller: Caller, request: InferenceRequest, trace: str = "") -> CallInProgress:
        """Find out how the target is asked now. Raises a Problem."""
        return CallInProgress(request, await self._plans.plan(caller, request.target), trace)

    async def targets(self, caller: Caller) -> list[str]:
        """Return what a caller may name as `model` and is live. Raises a Problem."""
        return await self._plans.targets(caller)

    async def complete(self, call: CallInProgress) -> Completion:
        """Answer a call, by the fallback where the route fails; recorded when this returns. Raises a Problem or a
        CallError, which is recorded as well."""
        try:
            answer = await self._ask(call, await self._request(call))
            if reason := await self._check(call, answer):
                call.spent.append((call.route, answer))
                answer = await self._fall_back(call, reason)
                await self._check(call, answer)
        except asyncio.CancelledError:
            self._record(call, error="gateway.client_left")
            raise
        except Exception as error:
            self._record_failure(call, error)
            raise
        self._record(call, answer)
        return answer

    async def stream(self, call: CallInProgress) -> AsyncGenerator[str | Completion]:
        """Yield the pieces of an answer as they come, then the answer; recorded before the last is yielded. The
        fallback is taken as long as nothing was sent."""
        answer: Completion | None = None
        pieces = self._pieces(call)
        try:
            async for piece in pieces:
                if isinstance(piece, Completion):
                    answer = piece
                    continue
                if call.first_token_ms is None:
                    call.first_token_ms = (time.perf_counter() - call.started) * 1_000
                yield piece
            assert answer is not None  # noqa: S101 - for the type checker: a stream ends with its answer
        except (asyncio.CancelledError, GeneratorExit):
            self._record(call, error="gateway.client_left")
            raise
        except Exception as error:
            self._record_failure(call, error)
            raise
        finally:
            await pieces.aclose()
        self._record(call, answer)
        yield answer

    async def _pieces(self, call: CallInProgress) -> AsyncGenerator[str | Completion]:
        """Yield a stream. As long as nothing was sent, it is tried again, then taken by the fallback: where there is
        none to be had, and where the whole answer is one to fall back from."""
        tries, has_begun, reason = 0, False, ""
        chat_request = await self._request(call)
        while True:
            tries += 1
            try:
                async with self._asking(call) as (chat, ask):
                    async for piece in chat.stream(chat_request):
                        ask.succeeded()
                        if isinstance(piece, Completion):
                            reason = await self._check(call, piece)
                            if reason and not has_begun:
                                call.spent.append((call.route, piece))
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

    async def _ask(self, call: CallInProgress, chat_request: ChatRequest) -> Completion:
        """Return the answer of the route, tried again where that may help, or of the fallback."""
        tries = 0
        while True:
            tries += 1
            try:
                async with self._asking(call) as (chat, _):
                    return await chat.complete(chat_request, key=f"{call.id}-{call.route.name}")
            except CallError as error:
                if await self._is_tried_again(call, error, tries):
                    continue
                if call.plan.fallback is None or call.fallback:
                    raise
                return await self._fall_back(call, error.code)

    @asynccontextmanager
    async def _asking(self, call: CallInProgress) -> AsyncIterator[tuple[ChatClient, Ask]]:
        """Open the chat with a call's model, and note how it went; raises at once where the model is down."""
        endpoint = call.route.endpoint
        ask = self._circuits.ask((endpoint, call.route.model))
        try:
            async with self._upstreams.turn(endpoint):
                chat = await self._upstreams.chat(endpoint)
                call.is_asked = True
                yield chat, ask
        except CallError as error:
            if error.code == NO_TURN:
                ask.left()
            else:
                ask.failed(error)
            raise
        except BaseException:
            ask.left()
            raise
        ask.succeeded()

    async def _is_tried_again(self, call: CallInProgress, error: CallError, tries: int) -> bool:
        """Wait for the next try of a failed call, and return whether there is one."""
        model = (call.route.endpoint, call.route.model)
        pause = None if error.code in (OPEN, NO_TURN) else self._circuits.pause_before_retry(model, error, tries)
        if pause is None:
            return False
        await asyncio.sleep(pause)
        return True

    async def _fall_back(self, call: CallInProgress, reason: str) -> Completion:
        """Ask the other route, once."""
        return await self._ask(call, await self._turn_to_fallback(call, reason))

    async def _turn_to_fallback(self, call: CallInProgress, reason: str) -> ChatRequest:
        """Note that the other route is asked from now on, and return what it is asked."""
        assert call.plan.fallback is not None  # noqa: S101 - for the type checker: there is a reason only with one
        call.fallback, call.route = reason, call.plan.fallback
        return await self._request(call)

    async def _request(self, call: CallInProgress) -> ChatRequest:
        """Render what the route asks."""
        return await self._in_thread(lambda: _render(call))

    async def _check(self, call: CallInProgress, answer: Completion) -> str:
        """Note what is wrong with the form of an answer, where the version asks for one, and return why to fall back
        from it; empty where it is the answer."""
        content, call.faults = call.route.content, None
        if content.get("response", {}).get("format") or content.get("tools"):
            try:
                call.faults = await self._in_thread(
                    lambda: list(adherence.find_faults(content, answer, renderer_pool().violations))
                )
            except Problem as problem:
                # The answer was paid for, and may well be right: what checks it is busy.
                logger.warning("gateway.unchecked %s %s", call.id, problem.code)
        if call.plan.fallback is None or call.fallback:
            return ""
        if answer.refusal:
            return "refusal"
        return "format" if call.faults else ""

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _record_failure(self, call: CallInProgress, error: Exception) -> None:
        """Record a call that failed; an input that cannot be rendered only where a model was asked before."""
        if isinstance(error, CallError | Problem):
            if isinstance(error, CallError) or call.is_asked:
                self._record(call, error=error.code)
        else:
            self._record(call, error="server.error")

    def _record(self, call: CallInProgress, answer: Completion | None = None, *, error: str = "") -> None:
        """Write the record of a call to disk; before the end of its answer is sent."""
        self._spool.append(call.record(answer, error))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._plans.close()


def _render(call: CallInProgress) -> ChatRequest:
    """Render what the route asks, in a thread: with connections of its own to the database, for examples that are
    picked by the question and for uploaded images."""
    close_old_connections()
    route, project = call.route, call.plan.project
    values = read_variables(route.places, call.request.messages, call.request.variables)
    try:
        rendered = versions.render_request(project, route.content, values, route.partials, picks=route.picks)
        if route.wants_json and rendered["response_format"]["type"] == "text":
            rendered = {**rendered, "response_format": {"type": "json_object"}}
        request = build_request(rendered, route.model, route.parameters, route.profile)
        return replace(request, messages=with_data(project, request.messages))
    except (OperationalError, InterfaceError) as error:
        sentence = "The database cannot be asked just now, and this call needs it: for its examples or its images."
        raise Problem("server.busy", sentence) from error
    finally:
        close_old_connections()
