"""A call from end to end: who asks, what is live, its answer, and the record of it."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Mapping

from core.errors import Problem
from evaluations.providers.chat import CallError, Completion
from inference.gateway.allowances import Allowances
from inference.gateway.answering import Answering
from inference.gateway.calls_in_progress import CallInProgress
from inference.gateway.experiments.shadowing import Shadows
from inference.gateway.plan_reading import PlanReader
from inference.gateway.plans import Caller
from inference.gateway.records.spool import Spool
from inference.gateway.request_reading import InferenceRequest
from inference.gateway.tracing import Traces

CLIENT_LEFT = "gateway.client_left"


class Gateway:
    """The service; one a process, on its event loop."""

    def __init__(
        self,
        plans: PlanReader,
        allowances: Allowances,
        answering: Answering,
        traces: Traces,
        spool: Spool,
        process: str,
        shadows: Shadows | None = None,
    ) -> None:
        self._shadows = shadows
        self._plans, self._allowances, self._answering = plans, allowances, answering
        self._traces, self._spool, self._process = traces, spool, process

    async def caller(self, token: str) -> Caller:
        """Return who a token belongs to. Raises a Problem."""
        return await self._plans.caller(token)

    async def begin(self, caller: Caller, request: InferenceRequest, headers: Mapping[str, str]) -> CallInProgress:
        """Find out how the target is asked now, and count the request. Raises a Problem."""
        call_id = uuid.uuid4().hex
        # Without a subject, each call is one of its own in an experiment.
        plan = await self._plans.plan(caller, request.target, request.subject or call_id)
        await self._allowances.take(caller)
        return CallInProgress(request, plan, caller, self._traces.begin(request.model, headers), id=call_id)

    async def targets(self, caller: Caller) -> list[str]:
        """Return what a caller may name as `model` and is live. Raises a Problem."""
        return await self._plans.targets(caller)

    async def complete(self, call: CallInProgress) -> Completion:
        """Answer a call, by the fallback where the route fails; recorded when this returns. Raises a Problem or a
        CallError, which is recorded as well."""
        answer: Completion | None = None
        try:
            answer = await self._answering.answer(call)
            await self._answering.keep_text(call, answer)
        except asyncio.CancelledError:
            self._record(call, answer, error=CLIENT_LEFT)
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
        pieces = self._answering.pieces(call)
        try:
            async for piece in pieces:
                if isinstance(piece, Completion):
                    answer = piece
                    continue
                if call.first_token_ms is None:
                    call.first_token_ms = (time.perf_counter() - call.started) * 1_000
                call.sent.append(piece)
                yield piece
            assert answer is not None  # noqa: S101 - for the type checker: a stream ends with its answer
            await self._answering.keep_text(call, answer)
        except (asyncio.CancelledError, GeneratorExit):
            # Ends the call upstream, and counts what it cost until now.
            await pieces.aclose()
            self._record(call, answer, error=CLIENT_LEFT)
            raise
        except Exception as error:
            self._record_failure(call, error)
            raise
        finally:
            await pieces.aclose()
        self._record(call, answer)
        yield answer

    def _record_failure(self, call: CallInProgress, error: Exception) -> None:
        """Record a call that failed; an input that cannot be rendered only where a model was asked before."""
        if isinstance(error, CallError | Problem):
            if isinstance(error, CallError) or call.is_asked or call.is_broken:
                self._record(call, error=error.code)
            else:
                call.trace.end(None, call.route.version_name, error.code)
        else:
            self._record(call, error="server.error")

    def _record(self, call: CallInProgress, answer: Completion | None = None, *, error: str = "") -> None:
        """Write the record of a call to disk; before the end of its answer is sent."""
        self._allowances.add(call.caller.key, call.token_count, call.known_cost_usd)
        record = call.record(answer, error)
        call.trace.end(record, call.route.version_name, error)
        self._spool.append({**record, "process": self._process})
        if self._shadows is not None and call.plan.shadows and error != CLIENT_LEFT:
            self._shadows.ask(call, answer, error)

    def close(self) -> None:
        if self._shadows is not None:
            self._shadows.close()
        self._answering.close()
        self._traces.close()
        self._plans.close()
