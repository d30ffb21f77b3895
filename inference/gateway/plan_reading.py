"""Reading callers, plans and targets through the memory of the process: each once at a time, and from what was kept
before where the database cannot be asked."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.db import InterfaceError, OperationalError
from psycopg_pool import PoolTimeout

from core.errors import Problem
from inference.gateway import plans
from inference.gateway.experiments import arms
from inference.gateway.experiments.arms import Plans
from inference.gateway.plan_cache import PlanCache
from inference.gateway.plans import Caller, Plan
from inference.gateway.request_reading import Target

logger = logging.getLogger(__name__)
# How long a call waits for the database where there is an older plan to serve it by.
PATIENCE_SECONDS = 1.0
# How long older plans are served without asking, after the database did not answer: not each call waits for it.
AWAY_SECONDS = 2.0
# Of their own: loads that hang in a database that is away do not keep calls from being rendered.
THREADS = 8


class PlanReader:
    """Reads on the event loop of the process; loads run in threads. `used_keys` gets the key of each call."""

    def __init__(self, cache: PlanCache, used_keys: "deque[tuple[int, tuple[int, ...]]]") -> None:
        self._cache, self._used_keys = cache, used_keys
        self._threads = ThreadPoolExecutor(THREADS, "gateway-loads")
        self._loading: dict[tuple[Hashable, int], tuple[asyncio.Task[Any], float]] = {}
        self._away_until = 0.0

    async def caller(self, token: str) -> Caller:
        """Return who a token belongs to; raises `auth.invalid_key` or `access.denied`."""
        if not token:
            raise Problem("auth.required", "Send a key with the scope infer: Authorization: Bearer cbk_….")
        caller: Caller = await self._read(token, partial(plans.load_caller, token), None)
        if caller.expires_at is not None and caller.expires_at <= datetime.now(UTC):
            self._cache.remove(token)
            raise Problem("auth.invalid_key", "The API key is past its end.")
        self._used_keys.append((caller.key, ()))
        return caller

    async def plan(self, caller: Caller, target: Target, subject: str) -> Plan:
        """Return how a target is asked now for a subject; raises a Problem where it cannot be."""
        target = target if target.selector else replace(target, selector=caller.environment)
        load = partial(arms.load_plans, caller.project, target)
        every: Plans = await self._read((caller.project, target), load, caller.project)
        return every.of(subject)

    async def targets(self, caller: Caller) -> list[str]:
        """Return what a caller may name as `model` and is live."""
        load = partial(plans.list_targets, caller.project, caller.environment)
        targets: list[str] = await self._read((caller.project, caller.environment), load, caller.project)
        return targets

    async def _read(self, name: Hashable, load: Callable[[], Any], project: int | None) -> Any:
        """Return what is kept under a name, or what `load` reads."""
        entry = self._cache.get(name)
        if entry is not None and (entry[1] or time.monotonic() < self._away_until):
            return entry[0]
        # A caller that leaves, or that is served by what was before, ends no load that others wait for.
        task, since = self._load(name, load, project)
        loading = asyncio.shield(task)
        patience = max(0.0, PATIENCE_SECONDS - (time.monotonic() - since))
        try:
            return await (asyncio.wait_for(loading, patience) if entry else loading)
        except (OperationalError, InterfaceError, PoolTimeout, TimeoutError) as error:
            if entry is None:
                raise Problem("server.busy", "The registry cannot be asked just now; try again.") from error
            # A load that is only slow goes on, and counts when it comes.
            if not isinstance(error, TimeoutError) or isinstance(error, PoolTimeout):
                self._away_until = time.monotonic() + AWAY_SECONDS
            logger.warning("gateway.serves_on %s", (str(error) or type(error).__name__).splitlines()[0])
            return entry[0]

    def _load(self, name: Hashable, load: Callable[[], Any], project: int | None) -> "tuple[asyncio.Task[Any], float]":
        """Return the load of a name that is under way, if nothing has changed since it began, or begin one; and when it
        began."""
        generation = self._cache.generation
        place = (name, generation)
        if place not in self._loading:
            task = asyncio.create_task(self._keep(name, load, project, generation))
            self._loading[place] = task, time.monotonic()
            task.add_done_callback(lambda _: self._loading.pop(place))
            # Its error is raised where somebody waits; where nobody does any more, nobody misses it.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return self._loading[place]

    async def _keep(self, name: Hashable, load: Callable[[], Any], project: int | None, generation: int) -> Any:
        try:
            value = await asyncio.get_running_loop().run_in_executor(self._threads, load)
        except Problem:
            self._cache.remove(name)
            raise
        key = value.key if isinstance(value, Caller) else 0
        self._cache.put(name, value, project=project or value.project, key=key, generation=generation)
        return value

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
