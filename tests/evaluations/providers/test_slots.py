"""Slots of a provider: however many workers call it, no more calls are in flight than it takes."""

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from queue import SimpleQueue
from typing import Any

import pytest
from django.db import InterfaceError, connection
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from evaluations.models import Provider, ProviderSlots, Run
from evaluations.providers import configuration as providers
from evaluations.providers import slots
from evaluations.providers.chat import ChatRequest, Completion
from evaluations.providers.connection_test import check_connection
from evaluations.runs.calls import Calls
from tests.conftest import Stage
from tests.evaluations.conftest import make_model
from tests.http_server import Handler, serve
from tests.waiting import soon

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
REQUEST = ChatRequest("m", [{"role": "user", "content": "x"}], {})


class CountingChat:
    """A server that notes how many calls it had at once."""

    def __init__(self, seconds: float = 0.02) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._in_flight = 0
        self.most = 0
        self.answered: list[str] = []

    async def complete(self, request: ChatRequest, *, key: str = "") -> Completion:
        with self._lock:
            self._in_flight += 1
            self.most = max(self.most, self._in_flight)
        await asyncio.sleep(self._seconds)
        with self._lock:
            self._in_flight -= 1
            self.answered.append(key)
        return Completion(text="x", latency_ms=1.0)

    @asynccontextmanager
    async def open(self) -> AsyncIterator["CountingChat"]:
        yield self


@st.composite
def claims(draw: st.DrawFn) -> list[slots.Claim]:
    seconds = st.integers(0, 60)
    return [
        slots.Claim(
            uuid.UUID(int=number),
            draw(st.integers(0, 4)),
            draw(st.integers(0, 20)),
            NOW - timedelta(seconds=draw(seconds)),
        )
        for number in range(draw(st.integers(1, 8)))
    ]


@given(st.integers(1, 20), claims())
def test_shares_are_fair_and_never_more_than_there_are(total: int, claims: list[slots.Claim]):
    shares = slots.share(total, claims, NOW)

    assert sum(shares.values()) == min(total, sum(claim.demand for claim in claims))
    for claim in claims:
        assert shares[claim.holder] <= claim.demand
    served = [claim for claim in claims if shares[claim.holder]]
    assert len(served) == min(total, sum(claim.demand > 0 for claim in claims))
    # Whoever has fewer than somebody else by more than one has all that they want.
    most = max(shares.values())
    assert all(shares[claim.holder] >= most - 1 or shares[claim.holder] == claim.demand for claim in served)


def test_callers_take_turns_where_there_are_more_than_slots():
    in_turn = slots.Claim(uuid.UUID(int=1), 1, 5, NOW - slots.TURN / 2)
    over = slots.Claim(uuid.UUID(int=1), 1, 5, NOW - slots.TURN * 2)
    late = slots.Claim(uuid.UUID(int=2), 0, 5, NOW - timedelta(seconds=1))
    early = slots.Claim(uuid.UUID(int=3), 0, 5, NOW - timedelta(seconds=9))

    assert slots.share(1, [in_turn, late, early], NOW)[in_turn.holder] == 1
    assert slots.share(1, [over, late, early], NOW)[early.holder] == 1


@pytest.fixture
def provider(live_stage: Stage) -> Provider:
    return make_model(live_stage).provider


@pytest.mark.parametrize(("total", "callers"), [(1, 2), (2, 3), (4, 2)])
def test_workers_together_stay_within_what_a_provider_takes(provider: Provider, total: int, callers: int):
    Provider.objects.filter(pk=provider.pk).update(max_concurrency=total)
    provider.refresh_from_db()
    chat = CountingChat()

    def work(name: int) -> None:
        try:
            with slots.open_caller(provider, chat.open) as caller:
                calls = [caller.submit(REQUEST, key=f"{name} {number}") for number in range(20)]
                for call in calls:
                    call.result(60)
        finally:
            connection.close()

    workers = [threading.Thread(target=work, args=(name,)) for name in range(callers)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)

    assert len(set(chat.answered)) == 20 * callers
    assert chat.most == total
    assert not ProviderSlots.objects.exists()


def test_one_caller_has_them_all_until_another_comes(provider: Provider):
    Provider.objects.filter(pk=provider.pk).update(max_concurrency=4)
    provider.refresh_from_db()
    chat = CountingChat()
    with slots.open_caller(provider, chat.open) as first:
        assert soon(lambda: first.slots == 4)
        calls = [first.submit(REQUEST) for _ in range(2_000)]
        with slots.open_caller(provider, chat.open) as second:
            others = [second.submit(REQUEST) for _ in range(100)]
            assert soon(lambda: (first.slots, second.slots) == (2, 2))
            for call in others:
                call.result(60)
        assert soon(lambda: first.slots == 4)
        first.withdraw()
    assert chat.most <= 4
    assert sum(call.done() for call in calls) == len(calls)


def test_a_run_without_slots_for_a_moment_says_how_many_it_could_use(provider: Provider):
    """While its answers are judged it calls nobody. Its queue must not shrink with its slots, or nobody would learn
    that it could use more."""
    chat = CountingChat()
    with slots.open_caller(provider, chat.open) as caller:
        calls = Calls(Run(), caller, SimpleQueue())
        assert soon(lambda: caller.slots == 0)
        assert calls.limit == 2 * provider.max_concurrency
        assert not calls.waits_for_slots
        futures = [caller.submit(REQUEST) for _ in range(64)]
        assert soon(lambda: caller.slots == provider.max_concurrency)
        for future in futures:
            future.result(60)


def test_whatever_befalls_the_renewal_the_next_one_comes(provider: Provider, monkeypatch: pytest.MonkeyPatch):
    troubles: list[Exception] = [InterfaceError("gone"), RuntimeError("odd")]
    renew = slots.renew

    def troubled(*arguments: Any, **options: Any) -> int:
        if troubles:
            raise troubles.pop()
        return renew(*arguments, **options)

    monkeypatch.setattr(slots, "renew", troubled)
    with slots.open_caller(provider, CountingChat().open) as caller:
        assert caller.submit(REQUEST).result(60).text == "x"
    assert troubles == []


def test_who_begins_to_wait_comes_after_who_has_waited(provider: Provider):
    Provider.objects.filter(pk=provider.pk).update(max_concurrency=1)
    provider.refresh_from_db()
    first, second, third = (uuid.uuid4() for _ in range(3))

    def renew(holder: uuid.UUID, demand: int, in_flight: int = 0) -> int:
        return slots.renew(provider, holder, demand=demand, shrink=lambda most: in_flight)

    assert renew(third, 0) == 0
    assert renew(first, 5) == 1
    assert renew(second, 5) == 0
    ProviderSlots.objects.filter(pk=first).update(since=timezone.now() - slots.TURN * 2)
    ProviderSlots.objects.filter(pk=third).update(since=timezone.now() - timedelta(minutes=5))

    assert renew(third, 5) == 0
    assert renew(first, 5) == 0
    assert renew(second, 5) == 1


def test_the_slots_of_a_worker_that_died_are_free_after_its_lease(provider: Provider):
    Provider.objects.filter(pk=provider.pk).update(max_concurrency=3)
    provider.refresh_from_db()
    now = timezone.now()
    row = ProviderSlots(holder=uuid.uuid4(), provider=provider, slots=2, demand=3, since=now, renewed_at=now)
    row.save()
    own = uuid.uuid4()

    assert slots.renew(provider, own, demand=3, shrink=lambda most: most) == 1
    ProviderSlots.objects.filter(pk=row.pk).update(renewed_at=now - slots.LEASE * 2)
    assert slots.renew(provider, own, demand=3, shrink=lambda most: most) == 3


def test_what_is_in_flight_above_a_share_is_not_free_for_others(provider: Provider):
    Provider.objects.filter(pk=provider.pk).update(max_concurrency=4)
    provider.refresh_from_db()
    first, second = uuid.uuid4(), uuid.uuid4()
    assert slots.renew(provider, first, demand=4, shrink=lambda most: 0) == 4
    assert slots.renew(provider, second, demand=4, shrink=lambda most: 0) == 0

    assert slots.renew(provider, first, demand=4, shrink=lambda most: 3) == 2
    assert slots.renew(provider, second, demand=4, shrink=lambda most: 0) == 1


class Llama(Handler):
    """llama.cpp's server, which tells its slots."""

    def get(self) -> None:
        if self.path == "/props":
            self.answer({"total_slots": 3})
        elif self.path == "/v1/models":
            self.answer({"data": [{"id": "small.gguf"}]})
        else:
            self.answer({"error": {"message": "not here"}}, status=404)


class Page(Handler):
    """A server that answers any address with its web page."""

    def get(self) -> None:
        if self.path == "/v1/models":
            self.answer({"data": [{"id": "small"}]})
        else:
            self.answer("<html>")


def test_a_server_that_does_not_know_the_question_passes_its_test(stage: Stage, settings: Any):
    settings.PROVIDER_PRIVATE_HOSTS = ["127.0.0.1"]
    with serve(Page) as port:
        provider = providers.create(stage.ada, name="own", base_url=f"http://127.0.0.1:{port}/v1")
        tested = check_connection(provider)

    assert tested.test_passed, tested.test_result
    assert [model.name for model in provider.models.all()] == ["small"]


@pytest.mark.parametrize(("settings_of_provider", "concurrency"), [({}, 3), ({"max_concurrency": 8}, 8)])
def test_a_server_of_ones_own_starts_with_few_calls_and_tells_its_slots(
    stage: Stage, settings: Any, settings_of_provider: dict[str, int], concurrency: int
):
    settings.PROVIDER_PRIVATE_HOSTS = ["127.0.0.1"]
    with serve(Llama) as port:
        provider = providers.create(
            stage.ada, name="own", base_url=f"http://127.0.0.1:{port}/v1", **settings_of_provider
        )
        assert provider.max_concurrency == settings_of_provider.get("max_concurrency", providers.PRIVATE_CONCURRENCY)

        tested = check_connection(provider)

    assert tested.test_passed
    assert "It takes 3 calls at a time" in tested.test_result
    assert Provider.objects.get(pk=provider.pk).max_concurrency == concurrency


def test_calls_elsewhere_count_only_where_there_are_any(provider: Provider):
    # The other one's calls last until it is closed, however long it takes until others are told of them.
    own, other = CountingChat(0.1), CountingChat(60)
    with slots.open_caller(provider, own.open, most=1) as caller:
        alone = [caller.submit(REQUEST).result(20).calls_in_flight for _ in range(3)]
        with slots.open_caller(provider, other.open) as second:
            beside_nothing = [caller.submit(REQUEST).result(20).calls_in_flight for _ in range(6)]
            for _ in range(2):
                second.submit(REQUEST)
            assert soon(lambda: (caller.submit(REQUEST).result(20).calls_in_flight or 0) > 1, 20)

    assert (set(alone), set(beside_nothing)) == ({1}, {1})
