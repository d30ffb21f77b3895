"""What a config says of time, form and kept answers; and a tuned model that is asked without a prompt."""

import asyncio
import json
from typing import Any

import openai
import pytest

from core.errors import Problem
from evaluations.playground import adherence
from evaluations.providers.chat import CallError, ChatRequest, Completion
from inference.configs import lifecycle as configs
from inference.gateway.upstream.answer_cache import OVERHEAD_BYTES, AnswerCache
from inference.gateway.upstream.repair import repair_request
from registry.prompts import versions
from tests.conftest import Stage
from tests.evaluations.conftest import routing
from tests.inference.gateway.conftest import TICKET, GatewayProcess, code_of, recorded
from tests.inference.gateway.service_of_test import DOWN, REFUSED, WHOLE, Model, ServiceOfTest
from tests.sandbox import Running

RECORD = {"strategy": "prompt", "model": "sandbox/sandbox-small", "prompt": "support.route", "input": "ticket"}
QUESTION: Any = {"model": "task:triage", "messages": [{"role": "user", "content": TICKET}]}
FORM = {"response": {"format": "json_object"}}


def release(stage: Stage, **members: Any) -> None:
    _, version = configs.commit(stage.edith, "triage", {**RECORD, **members})
    stage.release(version.version)


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_route_that_takes_too_long_ends_or_falls_back(
    live_stage: Stage, live: Any, gateway: GatewayProcess, live_sandbox: Running, is_streamed: bool
):
    release(live_stage, timeout_seconds=0.5)
    live_sandbox.fault("hang")

    assert code_of(lambda: gateway.client.chat.completions.create(**QUESTION, stream=is_streamed)) == "call.timeout"

    live_sandbox.fix()
    live_sandbox.fault("hang", count=1)
    release(live_stage, timeout_seconds=0.5, fallback={"prompt": "support.route"})
    answer = gateway.client.chat.completions.with_raw_response.create(**QUESTION, stream=is_streamed)
    assert answer.headers["X-Cuebook-Route"] == "fallback"
    assert len(list(answer.parse())) > 0
    first, second = recorded(2)
    assert (first.error, second.error, second.fallback) == ("call.timeout", "", "call.timeout")


def test_a_model_is_told_once_what_is_wrong(live_stage: Stage, gateway: GatewayProcess, live_sandbox: Running):
    schema = {
        **{"type": "object", "required": ["category"], "additionalProperties": False},
        "properties": {"category": {"type": "string", "enum": ["incident", "billing", "how-to"]}},
    }
    content = routing(response={"format": "json_schema", "schema": schema})
    versions.commit(live_stage.edith, live_stage.prompt("support.route"), content=content, message="")
    release(live_stage, prompt="support.route@1", repair=True)
    live_sandbox.fault("cut_off", count=1)

    raw = gateway.client.chat.completions.with_raw_response.create(**QUESTION)
    assert raw.headers["X-Cuebook-Repaired"] == "1"
    answer = raw.parse()
    live_sandbox.fault("cut_off", count=1)
    streamed = list(gateway.client.chat.completions.create(**QUESTION, stream=True))

    whole = json.loads(answer.choices[0].message.content or "")
    assert set(whole) == {"category"}
    # What was sent cannot be taken back: the answer is whole before it is.
    assert json.loads("".join(chunk.choices[0].delta.content or "" for chunk in streamed if chunk.choices)) == whole
    for call in recorded(2):
        assert (call.is_repaired, call.format_ok, call.fallback) == (True, True, "")
        # Both answers were paid for.
        assert call.cost_usd > (call.tokens_in + 4 * call.tokens_out) / 1_000_000
    assert len(live_sandbox.calls()) == 4


@pytest.mark.parametrize(
    ("second", "outcome"),
    [
        (Completion('{"a": 1}', tokens_in=5), ("first", "", True, "")),
        (Completion("nonsense", tokens_in=5), ("fallback", "format", True, "")),
        (DOWN, ("fallback", "format", True, "")),
    ],
)
def test_a_repair_that_fails_is_the_fallbacks(monkeypatch: pytest.MonkeyPatch, second: Any, outcome: Any):
    last = Completion('{"b": 2}', tokens_in=7)
    service = ServiceOfTest(
        monkeypatch, has_fallback=True, content=FORM, first=Model(WHOLE, second), fallback=Model(last)
    )
    service.plan.repair = True

    answer = asyncio.run(service.gateway.complete(service.call()))

    (record,) = service.records
    assert (record["route"], record["fallback"], record["is_repaired"], record["error"]) == outcome
    assert answer == (second if outcome[0] == "first" else last)
    # The tokens of every answer count for the key: the broken one's as well.
    paid = [
        each for each in (WHOLE, second, last if outcome[0] == "fallback" else None) if isinstance(each, Completion)
    ]
    assert record["tokens"] == sum(each.tokens_in + each.tokens_out for each in paid)


def test_without_a_fallback_the_broken_answer_is_the_answer(monkeypatch: pytest.MonkeyPatch):
    service = ServiceOfTest(monkeypatch, content=FORM, first=Model(WHOLE, DOWN, REFUSED))
    service.plan.repair = True

    assert asyncio.run(service.gateway.complete(service.call())) == WHOLE
    assert asyncio.run(service.gateway.complete(service.call())) == REFUSED

    first, second = service.records
    assert (first["is_repaired"], first["format_ok"], first["error"]) == (True, False, "")
    # A model that declines is not asked again.
    assert not second["is_repaired"]


def test_what_a_model_is_told(monkeypatch: pytest.MonkeyPatch):
    request = ChatRequest("m", [{"role": "user", "content": "Sort"}])
    faults = adherence.find_faults(FORM, WHOLE, lambda *_: [])

    repair = repair_request(request, WHOLE, faults)

    assert [message["role"] for message in repair.messages] == ["user", "assistant", "user"]
    assert repair.messages[1]["content"] == "billing"
    assert "The answer is not JSON." in repair.messages[2]["content"]
    called = Completion("", tool_calls=[{"name": "sort", "arguments": "{"}])
    assert repair_request(request, called, faults).messages[1]["content"] == "sort({)"


def test_equal_requests_are_answered_once(live_stage: Stage, live: Any, gateway: GatewayProcess, live_sandbox: Running):
    release(live_stage, temperature=0, cache_seconds=600)
    other = {**QUESTION, "messages": [{"role": "user", "content": "The site is down"}]}

    answers = [
        gateway.client.chat.completions.with_raw_response.create(**question) for question in (QUESTION, QUESTION, other)
    ]
    streamed = list(gateway.client.chat.completions.create(**QUESTION, stream=True))

    assert [answer.headers.get("X-Cuebook-Cache") for answer in answers] == [None, "hit", None]
    texts = [answer.parse().choices[0].message.content for answer in answers]
    assert texts[0] == texts[1] != texts[2]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in streamed if chunk.choices) == texts[0]
    assert len(live_sandbox.calls()) == 2
    first, cached, _, _ = recorded(4)
    assert (first.is_cached, cached.is_cached) == (False, True)
    assert first.cost_usd > 0
    assert (cached.cost_usd, cached.tokens_in, cached.tokens_out) == (0, None, None)


@pytest.mark.parametrize("answer", [REFUSED, DOWN, Completion("not JSON", tokens_in=1)])
def test_what_is_no_good_answer_is_not_kept(monkeypatch: pytest.MonkeyPatch, answer: Any):
    good = Completion('{"a": 1}')
    service = ServiceOfTest(monkeypatch, content=FORM, first=Model(answer, good))
    service.plan.cache_seconds = 600
    service.request = ChatRequest("m", [], {"temperature": 0})

    async def ask() -> Completion | str:
        try:
            return await service.gateway.complete(service.call())
        except CallError as error:
            return error.code

    async def ask_three_times() -> list[Any]:
        return [await ask() for _ in range(3)]

    assert asyncio.run(ask_three_times())[1:] == [good, good]
    assert [record["is_cached"] for record in service.records] == [False, False, True]


def test_an_answer_that_nobody_could_check_is_not_kept(monkeypatch: pytest.MonkeyPatch):
    good = Completion('{"a": 1}')
    service = ServiceOfTest(monkeypatch, content=FORM, first=Model(Completion("no JSON"), good))
    service.plan.cache_seconds = 600
    service.request = ChatRequest("m", [], {"temperature": 0})
    with monkeypatch.context() as busy:

        def fail(*_: object) -> list[str]:
            raise Problem("render.busy", "Busy.")

        busy.setattr(adherence, "find_faults", fail)
        assert asyncio.run(service.gateway.complete(service.call())).text == "no JSON"

    assert asyncio.run(service.gateway.complete(service.call())) == good
    assert [record["format_ok"] for record in service.records] == [None, True]


def test_kept_answers_are_bounded_and_grow_old():
    now = 0.0
    cache = AnswerCache(3 * (OVERHEAD_BYTES + 100), lambda: now)
    for name in "abc":
        cache.put(name, Completion("x" * 100))
    assert cache.get("a", 10)
    cache.put("d", Completion("y" * 100))
    cache.put("too large", Completion("z" * 10_000))

    assert [name for name in ("a", "b", "c", "d", "too large") if cache.get(name, 10)] == ["a", "c", "d"]
    now = 11.0
    assert cache.get("a", 10) is None
    assert cache.get("a", 12)


def test_a_tuned_model_can_do_without_a_prompt(
    live_stage: Stage, live: Any, gateway: GatewayProcess, live_sandbox: Running
):
    members = {"strategy": "fine-tune", "model": "sandbox/sandbox-small", "temperature": 0}
    _, version = configs.commit(live_stage.edith, "triage", members)
    live_stage.release(version.version)
    conversation = [{"role": "system", "content": "Sort it."}, {"role": "user", "content": TICKET}]

    answer = gateway.client.chat.completions.with_raw_response.create(model="task:triage", messages=conversation)  # type: ignore[call-overload]  # as services write it

    assert answer.headers["X-Cuebook-Version"] == "config.triage@1"
    (call,) = recorded(1)
    assert (call.version, call.route, call.config_hash) == (version.version, "fine-tune", version.version.content_hash)
    with pytest.raises(openai.BadRequestError) as refused:
        gateway.client.chat.completions.create(**QUESTION, extra_body={"cuebook": {"variables": {"ticket": "x"}}})
    assert refused.value.code == "gateway.no_place"
