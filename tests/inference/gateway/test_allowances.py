"""What keys may ask on a day: counted by every process, recorded once, and refused where it is used up."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import openai
import pytest
from django.db import OperationalError

from core.errors import Problem
from inference.gateway.allowances import Allowances
from inference.gateway.plans import Caller
from inference.gateway.records.recording import save
from registry.accounts import api_keys, key_limits, permissions
from registry.accounts.key_limits import DailyLimits, DayUsage
from registry.models import APIKey, KeyUsage
from tests.conftest import Stage
from tests.inference.gateway.conftest import TICKET, GatewayProcess, code_of, recorded, until
from tests.inference.gateway.test_spool import record_of

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


def caller(limits: DailyLimits) -> Caller:
    return Caller(1, 1, frozenset(), None, limits=limits)


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        (DailyLimits(max_requests_a_day=2), "2 requests"),
        (DailyLimits(max_tokens_a_day=20), "20 tokens"),
        (DailyLimits(max_dollars_a_day=Decimal("0.5000")), "$0.5"),
    ],
)
def test_a_limit_ends_with_the_day(limits: DailyLimits, named: str):
    now = NOON
    allowances = Allowances(lambda *_: DayUsage(), lambda: now)

    async def ask() -> Problem | None:
        try:
            await allowances.take(caller(limits))
        except Problem as problem:
            return problem
        allowances.add(1, 10, Decimal("0.25"))
        return None

    async def ask_for_two_days() -> list[Problem | None]:
        nonlocal now
        answers = [await ask() for _ in range(3)]
        now += timedelta(days=1)
        return [*answers, await ask()]

    first, second, third, fourth = asyncio.run(ask_for_two_days())
    assert [first, second, fourth] == [None, None, None]
    assert third
    assert named in third.detail
    assert third.members["retry_after"] == 12 * 3_600 + 1


def test_what_other_processes_have_asked_counts():
    others = DayUsage(requests=1)
    allowances = Allowances(lambda *_: others, lambda: NOON)
    limits = DailyLimits(max_requests_a_day=2)

    async def ask_twice() -> None:
        await allowances.take(caller(limits))
        await allowances.take(caller(limits))

    with pytest.raises(Problem) as refused:
        asyncio.run(ask_twice())
    assert refused.value.code == "gateway.limit_reached"


def test_a_database_that_is_away_refuses_nobody():
    def fail(*_: object) -> DayUsage:
        raise OperationalError("away")

    allowances = Allowances(fail, lambda: NOON)

    async def ask_twice() -> None:
        await allowances.take(caller(DailyLimits(max_requests_a_day=1)))
        await allowances.take(caller(DailyLimits(max_requests_a_day=1)))

    # Its own calls count nevertheless.
    with pytest.raises(Problem):
        asyncio.run(ask_twice())


def test_the_service_refuses_past_a_limit(live_stage: Stage, live: Any, gateway: GatewayProcess):
    actor = permissions.actor_for_command_line(live_stage.project)
    key, token = api_keys.issue(actor, name="limited", scopes=["infer"], limits=DailyLimits(max_requests_a_day=2))
    client = gateway.client_of(token)

    def ask() -> str:
        question: Any = {"model": "prompt:support.route", "messages": [{"role": "user", "content": TICKET}]}
        return code_of(lambda: client.chat.completions.create(**question))

    assert [ask() for _ in range(3)] == ["", "", "gateway.limit_reached"]
    with pytest.raises(openai.RateLimitError) as refused:
        client.responses.create(model="prompt:support.route", input=TICKET)
    assert int(refused.value.response.headers["Retry-After"]) > 0
    calls = recorded(2)
    usage = key_limits.usage_today(live_stage.project)[key.pk]
    tokens = sum(call.tokens_in + call.tokens_out for call in calls)
    assert usage == DayUsage(2, tokens, sum(call.cost_usd for call in calls))
    assert {call.key for call in calls} == {key.key_id}

    key_limits.set_limits(live_stage.ada, key, DailyLimits())
    assert until(ask, "")


def test_a_call_counts_once_however_often_it_is_recorded(live_stage: Stage):
    stage = live_stage
    version = stage.commit(stage.prompt(), "Hello")
    key, _ = api_keys.issue(stage.ada, name="service", scopes=["infer"])
    records = [record_of(version, key=key.key_id, process="a", tokens=7) for _ in range(3)]
    gone = record_of(version, key="gone", process="a", tokens=7)
    other = record_of(version, key=key.key_id, process="b", tokens=5)
    refused = record_of(version, key=key.key_id, process="a", tokens=7, subject="\0")

    save(records[:2])
    save([*records, records[0], gone, other])
    assert save([refused, other]) == [refused]

    rows = {row.process: (row.requests, row.tokens, row.cost_usd) for row in KeyUsage.objects.filter(key=key)}
    assert rows == {"a": (3, 21, Decimal("0.03")), "b": (1, 5, Decimal("0.01"))}
    assert key_limits.usage_of_others(key.pk, key_limits.today(), "a") == DayUsage(1, 5, Decimal("0.01"))


def test_limits_are_set_by_admins_and_audited(stage: Stage):
    key, _ = api_keys.issue(stage.ada, name="service", scopes=["infer"])
    limits = DailyLimits(max_tokens_a_day=1_000, max_dollars_a_day=Decimal("2.5"))

    with pytest.raises(Problem) as refused:
        key_limits.set_limits(stage.edith, key, limits)
    assert refused.value.code == "access.denied"
    with pytest.raises(Problem) as refused:
        key_limits.set_limits(stage.ada, key, DailyLimits(max_requests_a_day=-1))
    assert refused.value.faults[0].pointer == "/max_requests_a_day"
    key_limits.set_limits(stage.ada, key, limits)

    assert key_limits.limits_of(APIKey.objects.get(pk=key.pk)) == limits
