"""Shadows: an arm is asked beside what is served, after the answer was sent, within a budget, and recorded with it."""

import asyncio
import hashlib
import json
import logging
import time
import uuid
from collections.abc import Callable
from datetime import date
from typing import Any

from core.errors import Problem
from evaluations.providers.chat import CallError, Completion
from inference.gateway.allowances import Allowances
from inference.gateway.answering import Answering
from inference.gateway.calls_in_progress import CallInProgress
from inference.gateway.plans import Caller, Shadow
from inference.gateway.records.spool import Spool
from registry.accounts.key_limits import DailyLimits, DayUsage

logger = logging.getLogger(__name__)
# As many at once in a process: what is served comes first. Calls beyond them have no shadow.
MAX_IN_FLIGHT = 4


class Shadows:
    """Asks shadows; one a process, on its event loop. `read_others` reads what an arm (by the key of its row) has cost
    other processes on a day."""

    def __init__(
        self, answering: Answering, spool: Spool, process: str, read_others: Callable[[int, date], DayUsage]
    ) -> None:
        self._answering, self._spool, self._process = answering, spool, process
        self._budgets = Allowances(read_others)
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, call: CallInProgress, answer: Completion | None, error: str) -> None:
        """Begin to ask the shadows of a call that is over; nobody waits for them. An answer that was kept cost nothing
        and took no time: it is nothing to compare with."""
        if call.is_cached:
            return
        latency = (time.perf_counter() - call.started) * 1_000
        for shadow in call.plan.shadows:
            if is_asked(call.id, shadow) and len(self._tasks) < MAX_IN_FLIGHT:
                task = asyncio.create_task(self._ask(call, answer, error, latency, shadow))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _ask(
        self, call: CallInProgress, answer: Completion | None, error: str, latency: float, shadow: Shadow
    ) -> None:
        limits = DailyLimits(max_dollars_a_day=shadow.daily_dollars)
        try:
            await self._budgets.take(Caller(shadow.arm, call.plan.project, frozenset(), None, limits=limits))
        except Problem:
            # Used up: until tomorrow.
            return
        beside = CallInProgress(call.request, shadow.plan, call.caller, id=uuid.uuid4().hex)
        other, other_error = None, ""
        try:
            other = await self._answering.answer(beside)
        except (CallError, Problem) as problem:
            other_error = problem.code
        except Exception:
            logger.exception("gateway.shadow_failed arm=%d", shadow.arm)
            other_error = "server.error"
        self._budgets.add(shadow.arm, beside.token_count, beside.known_cost_usd)
        own = beside.record(other, other_error)
        live = call.record(answer, error)
        self._spool.append(
            {
                "shadow_arm": shadow.arm,
                "call": call.id,
                "at": own["at"],
                "process": self._process,
                **{f"live_{name}": live[name] for name in ("failed", "cost_usd", "format_ok")},
                "live_latency_ms": latency,
                **{name: own[name] for name in ("failed", "error", "latency_ms", "tokens_in", "tokens_out")},
                # What was paid for, also where no answer came of it: budgets are read from it.
                "cost_usd": str(beside.known_cost_usd),
                "format_ok": own["format_ok"],
                "is_same": None if answer is None or other is None else is_same(answer.text, other.text),
            }
        )

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()


def is_asked(call_id: str, shadow: Shadow) -> bool:
    """Return whether a call is one of those that a shadow is asked of."""
    digest = hashlib.sha256(f"{shadow.arm}:{call_id}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % 10_000 < shadow.weight


def is_same(first: str, second: str) -> bool:
    """Return whether two answers are alike: as JSON where both are some, else as texts without the space round them."""
    values: list[Any] = []
    for text in (first, second):
        try:
            values.append(json.loads(text))
        except (ValueError, RecursionError):
            return first.strip() == second.strip()
    return bool(values[0] == values[1])
