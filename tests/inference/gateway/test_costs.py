"""What a call costs: every answer that a provider charges for, whatever becomes of it."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from core.errors import Problem
from evaluations.playground import adherence
from evaluations.providers.chat import CallError, Completion, Remedy
from evaluations.providers.prices import Price
from inference.gateway.records.recording import _row
from tests.inference.gateway.service_of_test import REFUSED, WHOLE, Model, ServiceOfTest
from tests.inference.gateway.test_streams import OFFERS_NO_TOOL

LONG = Completion(text="word " * 500, tokens_in=100, tokens_out=5_000)
BROKEN = CallError("call.garbled", "The connection was lost.", Remedy.RETRY)
DOLLAR_A_TOKEN = Price(Decimal(1_000_000), Decimal(1_000_000), Decimal(1_000_000))


def wrong_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adherence, "find_faults", lambda *_: ["is no object"])


def outcome(service: ServiceOfTest, make: Callable[[], Any]) -> dict[str, Any]:
    """Return the record of a call, however it ends."""

    async def ask() -> None:
        try:
            await make()
        except (CallError, Problem, TimeoutError):
            return

    asyncio.run(ask())
    (record,) = service.records
    return record


def test_what_was_asked_for_who_left_is_counted(monkeypatch: pytest.MonkeyPatch):
    service = ServiceOfTest(monkeypatch, first=Model(WHOLE))

    async def leave() -> None:
        pieces = service.gateway.stream(service.call())
        assert await anext(pieces) == "billing"
        await pieces.aclose()

    record = outcome(service, leave)

    assert record["error"] == "gateway.client_left"
    # An estimate: the provider told nothing.
    assert record["tokens"] > 5


def test_an_answer_is_paid_for_though_its_client_leaves_while_it_is_repaired(monkeypatch: pytest.MonkeyPatch):
    wrong_form(monkeypatch)
    model = Model(LONG, WHOLE)
    service = ServiceOfTest(monkeypatch, content=OFFERS_NO_TOOL, first=model)
    service.plan.repair = True

    async def leave() -> None:
        asking = asyncio.create_task(service.gateway.complete(service.call()))
        # The first answer comes at once, the other never.
        while model.answers:
            model.seconds = 0 if len(model.answers) == 2 else 600
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    record = outcome(service, leave)

    assert record["is_repaired"]
    assert record["tokens"] > 5_105


def test_a_repair_that_fails_costs_its_first_answer_once(monkeypatch: pytest.MonkeyPatch):
    wrong_form(monkeypatch)
    service = ServiceOfTest(monkeypatch, content=OFFERS_NO_TOOL, first=Model(LONG, BROKEN))
    service.plan.repair = True

    assert outcome(service, lambda: service.gateway.complete(service.call()))["tokens"] == 5_100


@pytest.mark.parametrize("is_streamed", [False, True])
def test_what_is_not_waited_for_is_counted(monkeypatch: pytest.MonkeyPatch, is_streamed: bool):
    service = ServiceOfTest(monkeypatch, first=Model(WHOLE, seconds=5))
    service.plan.timeout_seconds = 0.05

    record = outcome(service, service.pieces if is_streamed else lambda: service.gateway.complete(service.call()))

    assert record["error"] == "call.timeout"
    assert record["tokens"] > 5


def test_a_stream_that_breaks_is_counted_as_far_as_it_came(monkeypatch: pytest.MonkeyPatch):
    service = ServiceOfTest(monkeypatch, first=Model((LONG.text, BROKEN)))

    record = outcome(service, service.pieces)

    assert record["error"] == "call.garbled"
    assert record["tokens"] > 500


def test_what_was_refused_costs_nothing(monkeypatch: pytest.MonkeyPatch):
    refusal = CallError("call.refused", "no", Remedy.GIVE_UP)
    service = ServiceOfTest(monkeypatch, first=Model(refusal))

    assert outcome(service, lambda: service.gateway.complete(service.call()))["tokens"] == 0


def test_a_stream_that_ends_before_it_begins_is_asked_of_the_fallback(monkeypatch: pytest.MonkeyPatch):
    models = {"first": Model(*[None] * 5), "fallback": Model(WHOLE)}
    service = ServiceOfTest(monkeypatch, has_fallback=True, **models)

    record = outcome(service, service.pieces)

    assert (record["route"], record["fallback"], record["error"]) == ("fallback", "call.unreadable", "")


def test_dollars_that_are_known_count_beside_tokens_without_a_price(monkeypatch: pytest.MonkeyPatch):
    service = ServiceOfTest(monkeypatch, has_fallback=True, first=Model(REFUSED), fallback=Model(WHOLE))
    service.plan.route.price = DOLLAR_A_TOKEN

    record = outcome(service, lambda: service.gateway.complete(service.call()))

    assert record["cost_usd"] is None
    assert _row({**record, "process": ""}).usage.dollars == 4
