"""Concurrent calls: an event loop in a thread of its own, with as many calls at a time as the provider bears. Pure.

The number of calls in flight follows the provider: it is halved when a call is rejected for too many, and grows by one
with each successful round (as TCP does it). It never exceeds this worker's slots (evaluations.providers.slots), which
may be none for a while. Which failed calls are tried again is evaluations.providers.retries.
"""

import asyncio
import math
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import anyio

from evaluations.providers import retries
from evaluations.providers.chat import CallError, ChatRequest, Completion

# The interval at which a waiting call checks whether it was withdrawn.
LOOK_SECONDS = 0.5


class CallWithdrawn(Exception):  # noqa: N818 - nothing went wrong
    """A call that was never made: it was withdrawn while it waited for the rate limiter."""


class Chat(Protocol):
    async def complete(self, request: ChatRequest, *, key: str = "") -> Completion: ...


@dataclass
class CallStats:
    """Counts of rejections and retries so far, for display and for the backoff of other workers."""

    rejected: int = 0
    retried: int = 0
    # The time (time.time()) until which the provider wants no calls.
    blocked_until: float = 0.0


class _Peak:
    """The most calls that were in flight during one."""

    def __init__(self) -> None:
        self.calls = 0


class Caller:
    """Caller of a provider, used as a context manager. `submit` never waits; its future has the Completion, or the
    CallError of the last try, or CallWithdrawn where the call was not made before `withdraw`."""

    def __init__(self, open_chat: Callable[[], AbstractAsyncContextManager[Chat]], concurrency: int) -> None:
        self._open_chat = open_chat
        self._max_concurrency = self._slots = self._provider_slots = concurrency
        self._limit = float(concurrency)
        self._in_flight = self._in_flight_elsewhere = 0
        # For each call in flight, the most calls that there were meanwhile.
        self._peaks: set[_Peak] = set()
        self._open = 0
        # Calls on their way to the loop, and those that it works on (it keeps no reference to its tasks itself).
        self._submit_lock = threading.Lock()
        self._submitted: list[tuple[Future[Completion], Coroutine[Any, Any, Completion]]] = []
        self._tasks: dict[asyncio.Task[Completion], Future[Completion]] = {}
        self._is_over = False
        # Set whenever a call is submitted.
        self.submitted = threading.Event()
        self._is_withdrawn = False
        self.stats = CallStats()
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="calls", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._failure:
            self._thread.join()
            raise self._failure
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    @property
    def limit(self) -> int:
        """Return how many calls may be in flight now: 0 while other workers have all slots."""
        return min(self._slots, self.bearable)

    @property
    def bearable(self) -> int:
        """Return how many calls the provider bears at once, as far as it has turned none away."""
        return max(1, int(self._limit))

    @property
    def open(self) -> int:
        """Return how many calls are with the provider or wait for a slot."""
        return self._open

    @property
    def slots(self) -> int:
        """Return how many calls this worker may have in flight, whatever the provider bears."""
        return self._slots

    def set_slots(self, slots: int) -> int:
        """Set how many calls this worker may have in flight, and return how many there are: those above it end by
        themselves."""
        return asyncio.run_coroutine_threadsafe(self._set_slots(slots), self._loop).result()

    def set_in_flight_elsewhere(self, calls: int, *, of_at_most: int) -> None:
        """Set how many calls other workers have with the provider now, and how many it takes from all."""
        self._in_flight_elsewhere, self._provider_slots = calls, of_at_most
        self._loop.call_soon_threadsafe(self._raise_peaks)

    @property
    def in_flight(self) -> int:
        """Return how many calls are with the provider now."""
        return self._in_flight

    def _raise_peaks(self) -> None:
        # All workers together have no more than the provider takes; what others told of may be over by now.
        total = max(self._in_flight, min(self._in_flight + self._in_flight_elsewhere, self._provider_slots))
        for peak in self._peaks:
            peak.calls = max(peak.calls, total)

    def submit(self, request: ChatRequest, *, key: str = "", not_before: float = 0.0) -> "Future[Completion]":
        """Submit a call; `not_before` (time.time()) is when the provider's limits allow it."""
        future: Future[Completion] = Future()
        with self._submit_lock:
            if self._is_over:
                raise RuntimeError("The caller is closed.")
            self._submitted.append((future, self._call(request, key, not_before)))
            # The loop takes all that are there, so that one wake is for many: each is a system call.
            if len(self._submitted) == 1:
                self._loop.call_soon_threadsafe(self._start_submitted)
        self.submitted.set()
        return future

    def withdraw(self) -> None:
        """Make no call that is not in flight yet."""
        self._is_withdrawn = True
        self._loop.call_soon_threadsafe(self._fit_room)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failure = error
        finally:
            self._end_calls()
            self._ready.set()

    def _end_calls(self) -> None:
        """Leave no future behind that nobody will fulfil."""
        with self._submit_lock:
            self._is_over = True
        for future, call in self._submitted:
            call.close()
            future.cancel()
        for future in self._tasks.values():
            future.cancel()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._room = anyio.CapacityLimiter(self.limit)
        async with self._open_chat() as chat:
            self._chat = chat
            self._ready.set()
            await self._over.wait()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

    def _start_submitted(self) -> None:
        with self._submit_lock:
            submitted, self._submitted = self._submitted, []
        for future, call in submitted:
            task = self._loop.create_task(call)
            self._tasks[task] = future
            task.add_done_callback(self._fulfil)

    def _fulfil(self, task: "asyncio.Task[Completion]") -> None:
        future = self._tasks.pop(task)
        if task.cancelled():
            future.cancel()
        elif error := task.exception():
            future.set_exception(error)
        else:
            future.set_result(task.result())

    async def _set_slots(self, slots: int) -> int:
        self._slots = slots
        self._fit_room()
        # With those that have been let in and have not begun yet.
        return self._room.borrowed_tokens

    def _fit_room(self) -> None:
        """Let in as many of the waiting calls as may be in flight now; all of them once they are withdrawn, so that
        they end."""
        self._room.total_tokens = math.inf if self._is_withdrawn else self.limit

    async def _call(self, request: ChatRequest, key: str, not_before: float) -> Completion:
        self._open += 1
        try:
            return await self._call_until_answered(request, key, not_before)
        finally:
            self._open -= 1

    async def _call_until_answered(self, request: ChatRequest, key: str, not_before: float) -> Completion:
        tries = 0
        while True:
            await self._start_call(not_before)
            self._peaks.add(peak := _Peak())
            self._raise_peaks()
            try:
                answer = await self._chat.complete(request, key=key)
            except CallError as error:
                self._finish_call(error)
                tries += 1
                if not retries.is_retried(error, tries):
                    raise
                self.stats.retried += 1
                await asyncio.sleep(retries.pause_seconds(error, tries))
            except BaseException:
                self._finish_call(None)
                raise
            else:
                self._finish_call(None, succeeded=True)
                return replace(answer, calls_in_flight=peak.calls)
            finally:
                self._peaks.discard(peak)

    async def _start_call(self, not_before: float) -> None:
        while True:
            while (wait := max(not_before, self.stats.blocked_until) - time.time()) > 0 and not self._is_withdrawn:
                await asyncio.sleep(min(wait, LOOK_SECONDS))
            await self._room.acquire()
            if not self._is_withdrawn and self.stats.blocked_until <= time.time():
                break
            self._room.release()
            if self._is_withdrawn:
                raise CallWithdrawn
        self._in_flight += 1

    def _finish_call(self, error: CallError | None, *, succeeded: bool = False) -> None:
        self._in_flight -= 1
        if succeeded:
            self._limit = min(self._max_concurrency, self._limit + 1 / self._limit)
        elif error and error.code in ("call.rate_limited", "call.overloaded"):
            self.stats.rejected += 1
            if error.retry_after:
                self.stats.blocked_until = max(self.stats.blocked_until, time.time() + error.retry_after)
            self._limit = max(1.0, self._limit / 2)
        # The room first: with fewer places than before, none of those who wait follows this call.
        self._fit_room()
        self._room.release()
