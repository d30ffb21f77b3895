"""What becomes of a stream: its model is well, it is refused before a word, or its client goes away."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from evaluations.providers.chat import CallError, ChatRequest, Completion, Remedy
from inference.gateway.calls_in_progress import CallInProgress
from inference.gateway.plan_cache import PlanCache
from inference.gateway.plan_reading import PlanReader
from inference.gateway.resilience import FAILURES_TO_OPEN
from inference.gateway.service import Gateway

WHOLE = Completion(text="billing", tokens_in=3, tokens_out=1)
REFUSED = Completion(text="", refusal="I cannot", tokens_in=3, tokens_out=1)
DOWN = CallError("call.overloaded", "busy", Remedy.GIVE_UP)


class Model:
    """A model that streams what it is given, one answer after the other; an error is raised."""

    def __init__(self, *answers: Completion | CallError) -> None:
        self.answers = deque(answers)

    async def stream(self, _: ChatRequest) -> AsyncIterator[str | Completion]:
        answer = self.answers.popleft()
        if isinstance(answer, CallError):
            raise answer
        if answer.text:
            yield answer.text
        yield answer


def route(name: str) -> Any:
    named = {"name": name, "endpoint": name, "model": "m", "version": 1, "version_name": "p@1"}
    return SimpleNamespace(**named, content={}, price=None, is_simulation=True)


class Stage:
    """The service over models of the test's own; `records` are those of its calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, has_fallback: bool = False, **models: Model) -> None:
        self.records: list[dict[str, Any]] = []

        async def chat(endpoint: str) -> Model:
            return models[endpoint]

        async def request(_: Gateway, call: CallInProgress) -> Any:
            return None

        monkeypatch.setattr(Gateway, "_request", request)
        upstreams: Any = SimpleNamespace(chat=chat)
        spool: Any = SimpleNamespace(append=self.records.append)
        self.gateway = Gateway(PlanReader(PlanCache(), deque()), upstreams, spool)
        fallback = route("fallback") if has_fallback else None
        self.plan = SimpleNamespace(
            project=1, environment="production", route=route("first"), fallback=fallback, config_hash=""
        )

    def call(self) -> CallInProgress:
        request: Any = SimpleNamespace(subject="", metadata={})
        plan: Any = self.plan
        return CallInProgress(request, plan)

    async def pieces(self) -> list[str | Completion]:
        return [piece async for piece in self.gateway.stream(self.call())]


def test_a_streamed_success_is_heard_of(monkeypatch: pytest.MonkeyPatch):
    almost = [DOWN] * (FAILURES_TO_OPEN - 1)
    stage = Stage(monkeypatch, first=Model(*almost, WHOLE, *almost, WHOLE))

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
    stage = Stage(monkeypatch, has_fallback=True, first=Model(REFUSED), fallback=Model(WHOLE))

    assert asyncio.run(stage.pieces()) == ["billing", WHOLE]
    (record,) = stage.records
    assert (record["route"], record["fallback"], record["error"]) == ("fallback", "refusal", "")


def test_a_refusal_with_no_fallback_is_the_answer(monkeypatch: pytest.MonkeyPatch):
    stage = Stage(monkeypatch, first=Model(REFUSED))

    assert asyncio.run(stage.pieces()) == [REFUSED]


def test_a_client_that_leaves_is_recorded_once(monkeypatch: pytest.MonkeyPatch):
    stage = Stage(monkeypatch, first=Model(WHOLE))

    async def leave() -> None:
        pieces = stage.gateway.stream(stage.call())
        assert await anext(pieces) == "billing"
        await pieces.aclose()

    asyncio.run(leave())
    assert [record["error"] for record in stage.records] == ["gateway.client_left"]


def test_a_fault_of_our_own_is_recorded(monkeypatch: pytest.MonkeyPatch):
    stage = Stage(monkeypatch, first=Model())

    with pytest.raises(IndexError):
        asyncio.run(stage.pieces())

    assert [record["error"] for record in stage.records] == ["server.error"]
