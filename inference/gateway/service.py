"""A call from end to end: who asks, what is live, what is rendered, which model answers, and the record of it."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

from core.errors import Problem
from evaluations.playground import adherence
from evaluations.providers.base import ChatClient
from evaluations.providers.chat import CallError, ChatRequest, Completion, build_request
from inference.gateway.calls_in_progress import CallInProgress
from inference.gateway.inputs import read_variables
from inference.gateway.plan_reading import PlanReader
from inference.gateway.plans import Route
from inference.gateway.request_reading import InferenceRequest
from inference.gateway.resilience import OPEN, Circuits
from inference.gateway.spool import Spool
from inference.gateway.upstreams import Upstreams
from registry.images.lookup import with_data
from registry.prompts import versions
from registry.prompts.versions import renderer_pool

T = TypeVar("T")
THREADS = 16


class Gateway:
    """The service; one a process, on its event loop. What may block runs in threads."""

    def __init__(self, plans: PlanReader, upstreams: Upstreams, spool: Spool) -> None:
        self._plans, self._upstreams, self._spool = plans, upstreams, spool
        self._circuits = Circuits()
        self._threads = ThreadPoolExecutor(THREADS, "gateway")

    async def begin(self, token: str, request: InferenceRequest, trace: str = "") -> CallInProgress:
        """Find out who asks, and how the target is asked now. Raises a Problem."""
        caller = await self._plans.caller(token)
        return CallInProgress(request, await self._plans.plan(caller, request.target), trace)

    async def targets(self, token: str) -> list[str]:
        """Return what a token may name as `model` and is live. Raises a Problem."""
        return await self._plans.targets(await self._plans.caller(token))

    async def complete(self, call: CallInProgress) -> Completion:
        """Answer a call, by the fallback where the route fails; recorded when this returns. Raises a Problem or a
        CallError, which is recorded as well."""
        try:
            chat_request = await self._request(call)
            answer = await self._ask(call, chat_request)
            faults = await self._faults(call.route, answer)
            if reason := _reason_to_fall_back(call, answer, faults):
                call.spent.append((call.route, answer))
                answer = await self._fall_back(call, reason)
                faults = await self._faults(call.route, answer)
        except asyncio.CancelledError:
            self._record(call, error="gateway.client_left")
            raise
        except Exception as error:
            self._record_failure(call, error)
            raise
        self._record(call, answer, faults=faults)
        return answer

    async def stream(self, call: CallInProgress) -> AsyncGenerator[str | Completion]:
        """Yield the pieces of an answer as they come, then the answer; recorded before the last is yielded. The
        fallback is taken as long as nothing was sent."""
        answer: Completion | None = None
        pieces = self._pieces(call)
        try:
            # To the very end, not only to the answer: the model's circuit hears of the success after it.
            async for piece in pieces:
                if isinstance(piece, Completion):
                    answer = piece
                    continue
                if call.first_token_ms is None:
                    call.first_token_ms = (time.perf_counter() - call.started) * 1_000
                yield piece
            assert answer is not None  # noqa: S101 - for the type checker: a stream ends with its answer
            faults = await self._faults(call.route, answer)
        except (asyncio.CancelledError, GeneratorExit):
            self._record(call, error="gateway.client_left")
            raise
        except Exception as error:
            self._record_failure(call, error)
            raise
        finally:
            await pieces.aclose()
        self._record(call, answer, faults=faults)
        yield answer

    async def _pieces(self, call: CallInProgress) -> AsyncGenerator[str | Completion]:
        """Yield a stream. As long as nothing was sent, it is tried again, then taken by the fallback."""
        tries, has_begun, refused = 0, False, None
        chat_request = await self._request(call)
        while True:
            tries += 1
            try:
                async with self._asking(call) as chat:
                    async for piece in chat.stream(chat_request):
                        if isinstance(piece, Completion) and not has_begun and _reason_to_fall_back(call, piece, None):
                            refused = piece
                        else:
                            has_begun = True
                            yield piece
                if refused is None or call.plan.fallback is None or call.fallback:
                    return
                call.spent.append((call.route, refused))
                call.fallback, call.route, tries = "refusal", call.plan.fallback, 0
                chat_request = await self._request(call)
            except CallError as error:
                if has_begun:
                    raise
                if await self._is_tried_again(call, error, tries):
                    continue
                if call.plan.fallback is None or call.fallback:
                    raise
                call.fallback, call.route, tries = error.code, call.plan.fallback, 0
                chat_request = await self._request(call)

    async def _ask(self, call: CallInProgress, chat_request: ChatRequest) -> Completion:
        """Return the answer of the route, tried again where that may help, or of the fallback."""
        tries = 0
        while True:
            tries += 1
            try:
                async with self._asking(call) as chat:
                    return await chat.complete(chat_request, key=f"{call.id}-{call.route.name}")
            except CallError as error:
                if await self._is_tried_again(call, error, tries):
                    continue
                if call.plan.fallback is None or call.fallback:
                    raise
                return await self._fall_back(call, error.code)

    @asynccontextmanager
    async def _asking(self, call: CallInProgress) -> AsyncIterator[ChatClient]:
        """Open the chat with a call's model, and note how it went; raises at once where the model is down."""
        model = (call.route.endpoint, call.route.model)
        self._circuits.require_closed(model)
        try:
            yield await self._upstreams.chat(call.route.endpoint)
        except CallError as error:
            self._circuits.failed(model, error)
            raise
        except BaseException:
            self._circuits.left_alone(model)
            raise
        self._circuits.succeeded(model)

    async def _is_tried_again(self, call: CallInProgress, error: CallError, tries: int) -> bool:
        """Wait for the next try of a failed call, and return whether there is one."""
        model = (call.route.endpoint, call.route.model)
        pause = None if error.code == OPEN else self._circuits.pause_before_retry(model, error, tries)
        if pause is None:
            return False
        await asyncio.sleep(pause)
        return True

    async def _fall_back(self, call: CallInProgress, reason: str) -> Completion:
        """Take the other route, once."""
        assert call.plan.fallback is not None  # noqa: S101 - for the type checker: there is a reason only with one
        call.fallback, call.route = reason, call.plan.fallback
        return await self._ask(call, await self._request(call))

    async def _request(self, call: CallInProgress) -> ChatRequest:
        """Render what the route asks."""
        return await self._in_thread(lambda: _render(call))

    async def _faults(self, route: Route, answer: Completion) -> list[str] | None:
        """Return what is wrong with the form of an answer; None where the version asks for none."""
        if not route.content.get("response", {}).get("format") and not route.content.get("tools"):
            return None
        owner = route.content
        return await self._in_thread(lambda: list(adherence.find_faults(owner, answer, renderer_pool().violations)))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _record_failure(self, call: CallInProgress, error: Exception) -> None:
        """Record a call that failed after it began: an input that cannot be rendered only where a model was asked."""
        if isinstance(error, CallError):
            self._record(call, error=error.code)
        elif call.fallback or call.spent or not isinstance(error, Problem):
            self._record(call, error=error.code if isinstance(error, Problem) else "server.error")

    def _record(
        self,
        call: CallInProgress,
        answer: Completion | None = None,
        *,
        error: str = "",
        faults: list[str] | None = None,
    ) -> None:
        """Write the record of a call to disk; before the end of its answer is sent."""
        self._spool.append(call.record(answer, error, faults))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._plans.close()


def _render(call: CallInProgress) -> ChatRequest:
    route, project = call.route, call.plan.project
    values = read_variables(route.places, call.request.messages, call.request.variables)
    rendered = versions.render_request(project, route.content, values, route.partials)
    if route.wants_json and rendered["response_format"]["type"] == "text":
        rendered = {**rendered, "response_format": {"type": "json_object"}}
    request = build_request(rendered, route.model, route.parameters, route.profile)
    return replace(request, messages=with_data(project, request.messages))


def _reason_to_fall_back(call: CallInProgress, answer: Completion, faults: list[str] | None) -> str:
    if call.plan.fallback is None or call.fallback:
        return ""
    if answer.refusal:
        return "refusal"
    return "format" if faults else ""
