"""Many calls at once: an event loop in a thread of its own, so many at a time as the provider bears. Pure.

The number of calls in the air follows the provider: it is halved when a call is turned away for too many, and grows by
one with each round that went well (as TCP does it). What a second try may mend is tried again here, a few times; what
the provider will not do for minutes is the caller's to put off.
"""

import asyncio
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, Self

from evaluations.providers.chat import CallError, ChatRequest, Completion, Remedy

TRIES = 5
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 20.0
# How often a call that waits for its turn looks whether it was called off.
LOOK_SECONDS = 0.5
# A provider that wants to be left alone for longer is not waited for in a worker.
LONGEST_RETRY_AFTER = 30.0


class Withdrawn(Exception):  # noqa: N818 - nothing went wrong
    """A call that was never made: it was called off while it waited for its turn."""


class Chat(Protocol):
    async def complete(self, request: ChatRequest, *, key: str = "") -> Completion: ...


@dataclass
class Told:
    """What the calls have met so far, for who shows it and who has to put off other workers."""

    turned_away: int = 0
    tried_again: int = 0
    # Until when (time.time()) the provider wants no calls.
    blocked_until: float = 0.0


class Caller:
    """Use as a context manager. `submit` never waits; its future has the Completion, or the CallError of the last try,
    or Withdrawn where nobody had asked yet when `withdraw` was called."""

    def __init__(self, open_chat: Callable[[], AbstractAsyncContextManager[Chat]], concurrency: int) -> None:
        self._open_chat = open_chat
        self._most = concurrency
        self._limit = float(concurrency)
        self._in_air = 0
        self._is_withdrawn = False
        self.told = Told()
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
        """How many calls may be in the air now."""
        return max(1, int(self._limit))

    def submit(self, request: ChatRequest, *, key: str = "", not_before: float = 0.0) -> "Future[Completion]":
        """Ask; `not_before` (time.time()) is when the call's turn has come under the provider's limits."""
        return asyncio.run_coroutine_threadsafe(self._call(request, key, not_before), self._loop)

    def withdraw(self) -> None:
        """Make no call that is not in the air yet."""
        self._is_withdrawn = True

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._changed = asyncio.Condition()
        async with self._open_chat() as chat:
            self._chat = chat
            self._ready.set()
            await self._over.wait()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

    async def _call(self, request: ChatRequest, key: str, not_before: float) -> Completion:
        pause = FIRST_PAUSE
        for attempt in range(1, TRIES + 1):
            await self._take_turn(not_before)
            try:
                answer = await self._chat.complete(request, key=key)
            except CallError as error:
                await self._leave(error)
                if error.remedy != Remedy.RETRY or attempt == TRIES or (error.retry_after or 0) > LONGEST_RETRY_AFTER:
                    raise
                self.told.tried_again += 1
                # With some chance in it: calls that failed together must not come back together.
                await asyncio.sleep(error.retry_after or pause * random.uniform(0.75, 1.25))  # noqa: S311 - no secret
                pause = min(pause * 2, LONGEST_PAUSE)
            except BaseException:
                await self._leave(None)
                raise
            else:
                await self._leave(None, went_well=True)
                return answer
        raise AssertionError("unreachable")

    async def _take_turn(self, not_before: float) -> None:
        while (wait := max(not_before, self.told.blocked_until) - time.time()) > 0 and not self._is_withdrawn:
            await asyncio.sleep(min(wait, LOOK_SECONDS))
        async with self._changed:
            await self._changed.wait_for(lambda: self._in_air < self.limit)
            if self._is_withdrawn:
                raise Withdrawn
            self._in_air += 1

    async def _leave(self, error: CallError | None, *, went_well: bool = False) -> None:
        async with self._changed:
            self._in_air -= 1
            if went_well:
                self._limit = min(self._most, self._limit + 1 / self._limit)
            elif error and error.code in ("call.rate_limited", "call.overloaded"):
                self.told.turned_away += 1
                if error.retry_after:
                    self.told.blocked_until = max(self.told.blocked_until, time.time() + error.retry_after)
                self._limit = max(1.0, self._limit / 2)
            self._changed.notify_all()
