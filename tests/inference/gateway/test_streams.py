"""What becomes of a stream: its model is well, it is refused before a word, or its client goes away."""

import asyncio
from typing import Any

import pytest

from core.errors import Problem
from evaluations.playground import adherence
from evaluations.providers.chat import CallError, Completion
from inference.gateway.upstream.chats import NO_TURN
from inference.gateway.upstream.resilience import FAILURES_TO_OPEN
from tests.inference.gateway.service_of_test import DOWN, REFUSED, WHOLE, Model, ServiceOfTest


def test_a_streamed_success_is_heard_of(monkeypatch: pytest.MonkeyPatch):
    almost = [DOWN] * (FAILURES_TO_OPEN - 1)
    stage = ServiceOfTest(monkeypatch, first=Model(*almost, WHOLE, *almost, WHOLE))

    async def ask() -> list[str]:
        outcomes = []
        for _ in range(2 * FAILURES_TO_OPEN):
            try:
                outcomes.append(str((await stage.pieces())[0]))
            except CallError as error:
                outcomes.append(error.code)
        return outcomes

    failed = ["call.overloaded"] * (FAILURES_TO_OPEN - 1)
    assert asyncio.run(ask()) == [*failed, "billing", *failed, "billing"]
    assert [record["error"] for record in stage.records] == [*failed, "", *failed, ""]


def test_a_refusal_before_a_word_is_asked_of_the_fallback(monkeypatch: pytest.MonkeyPatch):
    stage = ServiceOfTest(monkeypatch, has_fallback=True, first=Model(REFUSED), fallback=Model(WHOLE))

    assert asyncio.run(stage.pieces()) == ["billing", WHOLE]
    (record,) = stage.records
    assert (record["route"], record["fallback"], record["error"]) == ("fallback", "refusal", "")


def test_a_refusal_with_no_fallback_is_the_answer(monkeypatch: pytest.MonkeyPatch):
    stage = ServiceOfTest(monkeypatch, first=Model(REFUSED))

    assert asyncio.run(stage.pieces()) == [REFUSED]


def test_a_client_that_leaves_is_recorded_once(monkeypatch: pytest.MonkeyPatch):
    stage = ServiceOfTest(monkeypatch, first=Model(WHOLE))

    async def leave() -> None:
        pieces = stage.gateway.stream(stage.call())
        assert await anext(pieces) == "billing"
        await pieces.aclose()

    asyncio.run(leave())
    assert [record["error"] for record in stage.records] == ["gateway.client_left"]


def test_a_fault_of_our_own_is_recorded(monkeypatch: pytest.MonkeyPatch):
    stage = ServiceOfTest(monkeypatch, first=Model())

    with pytest.raises(IndexError):
        asyncio.run(stage.pieces())

    assert [record["error"] for record in stage.records] == ["server.error"]


OFFERS_NO_TOOL = {"response": {"format": "json_schema", "schema": {"type": "object"}}}
CALLS_A_TOOL = Completion(text="", tool_calls=[{"name": "no_such", "arguments": "{}"}], tokens_in=3)


def checks(monkeypatch: pytest.MonkeyPatch, *faults: str) -> None:
    monkeypatch.setattr(adherence, "find_faults", lambda *_: iter(faults))


def test_a_whole_answer_in_a_broken_form_is_asked_of_the_fallback(monkeypatch: pytest.MonkeyPatch):
    checks(monkeypatch, "is no object")
    models = {"first": Model(CALLS_A_TOOL), "fallback": Model(WHOLE)}
    stage = ServiceOfTest(monkeypatch, has_fallback=True, content=OFFERS_NO_TOOL, **models)

    assert asyncio.run(stage.pieces()) == ["billing", WHOLE]
    (record,) = stage.records
    assert (record["route"], record["fallback"], record["format_ok"]) == ("fallback", "format", None)


def test_text_in_a_broken_form_was_sent_and_is_recorded_so(monkeypatch: pytest.MonkeyPatch):
    checks(monkeypatch, "is no object")
    models = {"first": Model(WHOLE), "fallback": Model(WHOLE)}
    stage = ServiceOfTest(monkeypatch, has_fallback=True, content=OFFERS_NO_TOOL, **models)

    assert asyncio.run(stage.pieces()) == ["billing", WHOLE]
    assert [(record["route"], record["format_ok"]) for record in stage.records] == [("first", False)]


@pytest.mark.parametrize("is_streamed", [False, True])
def test_an_answer_that_cannot_be_checked_is_an_answer(monkeypatch: pytest.MonkeyPatch, is_streamed: bool):
    def be_busy(*_: Any) -> Any:
        raise Problem("render.busy", "Too many at once.")

    monkeypatch.setattr(adherence, "find_faults", be_busy)
    stage = ServiceOfTest(monkeypatch, content=OFFERS_NO_TOOL, first=Model(WHOLE))

    if is_streamed:
        assert asyncio.run(stage.pieces())[-1] == WHOLE
    else:
        assert asyncio.run(stage.gateway.complete(stage.call())) == WHOLE
    assert [(record["error"], record["format_ok"], record["tokens_in"]) for record in stage.records] == [("", None, 3)]


def test_calls_that_wait_for_a_place_are_no_failures_of_the_model(monkeypatch: pytest.MonkeyPatch):
    count = 2 * FAILURES_TO_OPEN
    stage = ServiceOfTest(monkeypatch, connections=1, first=Model(*[WHOLE] * (count + 1), seconds=0.2))

    async def ask_all() -> list[str]:
        outcomes = await asyncio.gather(
            *(stage.gateway.complete(stage.call()) for _ in range(count)), return_exceptions=True
        )
        # The model is well: it is asked again as soon as there is a place.
        assert await stage.gateway.complete(stage.call()) == WHOLE
        return [each.code if isinstance(each, CallError) else "" for each in outcomes]

    codes = asyncio.run(ask_all())
    assert set(codes) == {"", NO_TURN}
    assert codes.count("") >= 2
