"""A call from end to end: who asks, what is live, what is rendered, which model answers, and the record of it."""

import asyncio
import logging
import time
import uuid
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from django.db import InterfaceError, OperationalError
from psycopg_pool import PoolTimeout

from core.errors import Problem
from evaluations.playground import adherence
from evaluations.providers.base import ChatClient
from evaluations.providers.chat import CallError, ChatRequest, Completion, build_request, storable
from inference.gateway import plans
from inference.gateway.inputs import read_variables
from inference.gateway.plan_cache import PlanCache
from inference.gateway.plans import Caller, Plan, Route
from inference.gateway.request_reading import InferenceRequest
from inference.gateway.resilience import OPEN, Circuits
from inference.gateway.spool import Spool
from inference.gateway.upstreams import Upstreams
from registry.images.lookup import with_data
from registry.prompts import versions
from registry.prompts.versions import renderer_pool

logger = logging.getLogger(__name__)
T = TypeVar("T")
THREADS = 16
# How long a call waits for the database where there is an older plan to serve it by.
PATIENCE_SECONDS = 1.0
# How long older plans are served without asking, after the database did not answer: not each call waits for it.
AWAY_SECONDS = 2.0
# Of their own: loads that hang in a database that is away do not keep calls from being rendered.
LOAD_THREADS = 8


@dataclass
class CallInProgress:
    """A call on its way: its id, by which feedback will name it, and what the record will say."""

    request: InferenceRequest
    caller: Caller
    plan: Plan
    trace: str = ""
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    started: float = field(default_factory=time.perf_counter)
    route: Route = field(init=False)
    fallback: str = ""
    first_token_ms: float | None = None
    # What was paid for before the answer: a route that failed with an answer.
    spent: list[tuple[Route, Completion]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.route = self.plan.route

    @property
    def headers(self) -> dict[str, str]:
        return {
            "X-Cuebook-Version": self.route.version_name,
            "X-Cuebook-Call": self.id,
            "X-Cuebook-Route": self.route.name,
        }


class Gateway:
    """The service; one a process, on its event loop. What may block runs in threads."""

    def __init__(
        self, cache: PlanCache, upstreams: Upstreams, spool: Spool, used_keys: "deque[tuple[int, tuple[int, ...]]]"
    ) -> None:
        self._cache, self._upstreams, self._spool, self._used_keys = cache, upstreams, spool, used_keys
        self._circuits = Circuits()
        self._threads = ThreadPoolExecutor(THREADS, "gateway")
        self._loads = ThreadPoolExecutor(LOAD_THREADS, "gateway-loads")
        self._away_until = 0.0

    async def begin(self, token: str, request: InferenceRequest, trace: str = "") -> CallInProgress:
        """Find out who asks, and how the target is asked now. Raises a Problem."""
        caller = await self.caller(token)
        target = request.target if request.target.selector else replace(request.target, selector=caller.environment)
        load = partial(plans.load_plan, caller.project, target)
        plan: Plan = await self._read((caller.project, target), load, caller.project)
        return CallInProgress(request, caller, plan, trace)

    async def caller(self, token: str) -> Caller:
        """Return who a token belongs to; raises `auth.invalid_key` or `access.denied`."""
        if not token:
            raise Problem("auth.required", "Send a key with the scope infer: Authorization: Bearer cbk_….")
        caller: Caller = await self._read(token, lambda: plans.load_caller(token), None)
        if caller.expires_at is not None and caller.expires_at <= datetime.now(UTC):
            self._cache.remove(token)
            raise Problem("auth.invalid_key", "The API key is past its end.")
        self._used_keys.append((caller.key, ()))
        return caller

    async def targets(self, caller: Caller) -> list[str]:
        return await self._in_thread(lambda: plans.list_targets(caller.project, caller.environment))

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

    async def _read(self, name: Hashable, load: Callable[[], Any], project: int | None) -> Any:
        """Return what is kept under a name, or what `load` reads. Where the database cannot be asked, what was kept
        before serves on."""
        entry = self._cache.get(name)
        if entry is not None and (entry[1] or time.monotonic() < self._away_until):
            return entry[0]
        generation = self._cache.generation
        try:
            loading = asyncio.get_running_loop().run_in_executor(self._loads, load)
            value = await (asyncio.wait_for(loading, PATIENCE_SECONDS) if entry else loading)
        except (OperationalError, InterfaceError, PoolTimeout, TimeoutError) as error:
            if entry is None:
                raise Problem("server.busy", "The registry cannot be asked just now; try again.") from error
            self._away_until = time.monotonic() + AWAY_SECONDS
            logger.warning("gateway.serves_on %s", (str(error) or type(error).__name__).splitlines()[0])
            return entry[0]
        except Problem:
            self._cache.remove(name)
            raise
        key = value.key if isinstance(value, Caller) else 0
        self._cache.put(name, value, project=project or value.project, key=key, generation=generation)
        return value

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
        route, usage = call.route, answer
        paid = [*call.spent, *([(route, answer)] if answer else [])]
        costs = [each.price.of(completion.usage) if each.price else None for each, completion in paid]
        is_priced = bool(costs) and None not in costs
        self._spool.append(
            {
                "reference": call.id,
                "project": call.plan.project,
                "version": route.version,
                "environment": call.plan.environment,
                "at": call.at.isoformat(),
                "model_name": route.model,
                "failed": bool(error),
                "error": error,
                "latency_ms": (time.perf_counter() - call.started) * 1_000,
                "time_to_first_token_ms": call.first_token_ms,
                **{name: getattr(usage, name) if usage else None for name in TOKENS},
                "cost_usd": str(sum(cost for cost in costs if cost is not None)) if is_priced else None,
                "format_ok": None if faults is None else not faults,
                "finish_reason": storable(answer.finish_reason)[:30] if answer else "",
                "route": route.name,
                "fallback": call.fallback,
                "config_hash": call.plan.config_hash,
                "subject": call.request.subject,
                "trace": call.trace,
                "metadata": dict(call.request.metadata),
                "is_simulation": route.is_simulation,
            }
        )

    def close(self) -> None:
        for threads in (self._threads, self._loads):
            threads.shutdown(wait=False, cancel_futures=True)


TOKENS = ("tokens_in", "tokens_cached", "tokens_cache_write", "tokens_out", "tokens_reasoning")


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
