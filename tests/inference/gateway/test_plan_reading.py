"""Reading plans through the memory of the process: one load at a time, and what was before where there is none."""

import asyncio
import threading
import time
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError

from core.errors import Problem
from inference.gateway import plan_reading, plans
from inference.gateway.experiments import arms
from inference.gateway.experiments.arms import Plans
from inference.gateway.plan_cache import PlanCache
from inference.gateway.plan_reading import PlanReader
from inference.gateway.plans import Caller
from inference.gateway.request_reading import Target

CALLER = Caller(7, 1, frozenset(), None)
TARGET = Target("prompt:", "p", "production")


class Database:
    """Answers loads with how often it was asked; waits as long as `is_open` is not set, and may be away."""

    def __init__(self) -> None:
        self.times = 0
        self.is_open = threading.Event()
        self.is_open.set()
        self.is_away = False

    def load(self, *_: Any) -> Plans:
        self.times += 1
        assert self.is_open.wait(10)
        if self.is_away:
            raise OperationalError("the server closed the connection")
        return Plans(self.times)  # type: ignore[arg-type]  # which plan it is, is all that is asked here


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Database:
    database = Database()
    monkeypatch.setattr(arms, "load_plans", database.load)
    return database


@pytest.fixture
def cache() -> PlanCache:
    cache = PlanCache()
    cache.is_listening = lambda: True
    return cache


def test_many_at_once_are_one_load(database: Database, cache: PlanCache):
    reader = PlanReader(cache, deque())
    database.is_open.clear()

    async def ask_all() -> list[Any]:
        asking = [asyncio.create_task(reader.plan(CALLER, TARGET, "")) for _ in range(50)]
        await asyncio.sleep(0.05)
        # One that leaves takes no other's answer along.
        asking[0].cancel()
        database.is_open.set()
        return await asyncio.gather(*asking[1:])

    assert asyncio.run(ask_all()) == [1] * 49
    assert database.times == 1


def test_a_load_that_began_before_a_change_is_not_shared(database: Database, cache: PlanCache):
    reader = PlanReader(cache, deque())
    database.is_open.clear()

    async def ask() -> list[Any]:
        before = asyncio.create_task(reader.plan(CALLER, TARGET, ""))
        await asyncio.sleep(0.05)
        cache.invalidate(CALLER.project)
        after = asyncio.create_task(reader.plan(CALLER, TARGET, ""))
        await asyncio.sleep(0.05)
        database.is_open.set()
        return await asyncio.gather(before, after)

    asyncio.run(ask())
    assert database.times == 2


def test_a_database_that_is_away_is_not_asked_by_each_call(database: Database, cache: PlanCache):
    reader = PlanReader(cache, deque())

    async def ask() -> list[Any]:
        first = await reader.plan(CALLER, TARGET, "")
        database.is_away = True
        cache.invalidate()
        return [first, *[await reader.plan(CALLER, TARGET, "") for _ in range(20)]]

    assert asyncio.run(ask()) == [1] * 21
    assert database.times == 2


def test_a_load_that_hangs_is_waited_for_a_moment_and_counts_when_it_comes(
    database: Database, cache: PlanCache, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(plan_reading, "PATIENCE_SECONDS", 0.05)
    reader = PlanReader(cache, deque())

    async def ask() -> list[Any]:
        outcomes = [await reader.plan(CALLER, TARGET, "")]
        cache.invalidate()
        database.is_open.clear()
        outcomes.append(await reader.plan(CALLER, TARGET, ""))
        database.is_open.set()
        deadline = time.monotonic() + 10
        while (latest := await reader.plan(CALLER, TARGET, "")) == 1 and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        return [*outcomes, latest]

    assert asyncio.run(ask()) == [1, 1, 2]


def test_what_was_never_read_is_refused_for_now(database: Database, cache: PlanCache):
    database.is_away = True

    with pytest.raises(Problem) as refused:
        asyncio.run(PlanReader(cache, deque()).plan(CALLER, TARGET, ""))
    assert refused.value.code == "server.busy"


def test_a_key_past_its_end_is_refused_though_it_is_kept(cache: PlanCache, monkeypatch: pytest.MonkeyPatch):
    end = datetime.now(UTC) - timedelta(seconds=1)
    monkeypatch.setattr(plans, "load_caller", lambda _: Caller(7, 1, frozenset(), end))

    with pytest.raises(Problem) as refused:
        asyncio.run(PlanReader(cache, deque()).caller("cbk_x"))
    assert refused.value.code == "auth.invalid_key"
