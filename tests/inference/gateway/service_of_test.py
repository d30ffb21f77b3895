"""The service over models of a test's own, in this process: what cannot be had from a real one at will."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SpanExporter

from evaluations.providers.chat import CallError, ChatRequest, Completion, Endpoint, Remedy
from inference.gateway.allowances import Allowances
from inference.gateway.answering import Answering
from inference.gateway.calls_in_progress import CallInProgress
from inference.gateway.plan_cache import PlanCache
from inference.gateway.plan_reading import PlanReader
from inference.gateway.plans import Caller
from inference.gateway.service import Gateway
from inference.gateway.tracing import Traces
from inference.gateway.upstream.chats import OpenChats
from inference.texts.policy import KeptTexts
from registry.accounts.key_limits import DayUsage

WHOLE = Completion(text="billing", tokens_in=3, tokens_out=1)
REFUSED = Completion(text="", refusal="I cannot", tokens_in=3, tokens_out=1)
DOWN = CallError("call.overloaded", "busy", Remedy.GIVE_UP)


class Model:
    """A model that answers what it is given, one answer after the other; an error is raised. `seconds` is what it takes
    for each. A text with an error is a stream that breaks; None is one that ends before it begins."""

    def __init__(self, *answers: Completion | CallError | tuple[str, CallError] | None, seconds: float = 0.0) -> None:
        self.answers = deque(answers)
        self.seconds = seconds

    async def complete(self, _: ChatRequest, *, key: str, headers: Mapping[str, str]) -> Completion:
        answer = self.answers.popleft()
        await asyncio.sleep(self.seconds)
        if isinstance(answer, CallError):
            raise answer
        assert isinstance(answer, Completion)
        return answer

    async def stream(self, _: ChatRequest, *, headers: Mapping[str, str]) -> AsyncIterator[str | Completion]:
        answer = self.answers.popleft()
        if answer is None:
            return
        if isinstance(answer, CallError):
            raise answer
        if isinstance(answer, tuple):
            yield answer[0]
            raise answer[1]
        await asyncio.sleep(self.seconds)
        if answer.text:
            yield answer.text
        yield answer


def route(name: str, connections: int = 64, content: Any = None) -> Any:
    endpoint = Endpoint(name, "", timeout_seconds=0.5, connections=connections)
    named = {"name": name, "endpoint": endpoint, "model": "m", "version": 1, "version_name": "p@1"}
    return SimpleNamespace(**named, content=content or {}, price=None, is_simulation=True)


CALLER = Caller(1, 1, frozenset(), None)


class ServiceOfTest:
    """The service over models of the test's own; `records` are those of its calls."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        *,
        has_fallback: bool = False,
        connections: int = 64,
        content: Any = None,
        exporter: SpanExporter | None = None,
        **models: Model,
    ) -> None:
        self.records: list[dict[str, Any]] = []
        self.request = ChatRequest("m", [])

        class OfTest(OpenChats):
            async def chat(self, endpoint: Endpoint) -> Any:
                return models[endpoint.base_url]

        async def request(_: Answering, call: CallInProgress) -> Any:
            return self.request

        monkeypatch.setattr(Answering, "_request", request)
        chats = OfTest(SimpleNamespace())  # type: ignore[arg-type]  # nothing is opened
        spool: Any = SimpleNamespace(append=self.records.append)
        reader = PlanReader(PlanCache(), deque())
        self.traces = Traces(exporter)
        allowances = Allowances(lambda *_: DayUsage())
        self.gateway = Gateway(reader, allowances, Answering(chats), self.traces, spool, "process")
        fallback = route("fallback") if has_fallback else None
        first = route("first", connections, content)
        members: dict[str, Any] = {"project": 1, "environment": "production", "config_hash": "", "exposure": None}
        members |= {
            "timeout_seconds": None,
            "repair": False,
            "cache_seconds": None,
            "texts": KeptTexts(),
            "exposure": None,
        }
        self.plan = SimpleNamespace(**members, route=first, fallback=fallback)

    def call(self) -> CallInProgress:
        request: Any = SimpleNamespace(subject="", metadata={})
        plan: Any = self.plan
        call = CallInProgress(request, plan, CALLER, self.traces.begin("task:triage", {}))
        call.messages = [{"role": "user", "content": "I was charged twice"}]
        return call

    async def pieces(self) -> list[str | Completion]:
        return [piece async for piece in self.gateway.stream(self.call())]
