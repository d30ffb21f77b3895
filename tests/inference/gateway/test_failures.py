"""What fails: models, the database, the process, and clients that leave."""

import time
from pathlib import Path
from typing import Any

import openai
import pytest
from django.db import connection

from inference.configs import lifecycle as configs
from inference.models import Call
from tests.conftest import Stage
from tests.evaluations.conftest import make_model
from tests.inference.gateway.conftest import (
    TICKET,
    GatewayProcess,
    code_of,
    database_url,
    gateway_process,
    recorded,
    until,
)
from tests.relay import relay
from tests.sandbox import Running


def test_a_providers_error_is_told_and_recorded(live: Any, gateway: GatewayProcess, live_sandbox: Running):
    live_sandbox.fault("overloaded", count=2)

    with pytest.raises(openai.InternalServerError) as refused:
        gateway.client.chat.completions.create(
            model="prompt:support.route", messages=[{"role": "user", "content": TICKET}]
        )

    (call,) = recorded(1)
    assert call.failed
    assert call.error == refused.value.code


def test_a_failure_that_passes_is_tried_again(live: Any, gateway: GatewayProcess, live_sandbox: Running):
    for is_streamed in (False, True):
        live_sandbox.fault("overloaded", count=1)
        answer = gateway.client.chat.completions.create(
            model="prompt:support.route", messages=[{"role": "user", "content": TICKET}], stream=is_streamed
        )
        assert list(answer)

    assert [(call.failed, call.fallback) for call in recorded(2)] == [(False, "")] * 2


def test_a_model_that_is_down_is_left_alone_for_a_while(live: Any, gateway: GatewayProcess, live_sandbox: Running):
    live_sandbox.fault("overloaded", count=100)

    def ask() -> str:
        question: Any = {"model": "prompt:support.route", "messages": [{"role": "user", "content": TICKET}]}
        return code_of(lambda: gateway.client.chat.completions.create(**question))

    codes = [ask() for _ in range(8)]

    assert codes[0] == "call.overloaded"
    assert codes[-3:] == ["gateway.model_down"] * 3
    live_sandbox.fix()
    time.sleep(10)
    assert until(ask, "")


def test_where_the_route_fails_the_fallback_answers(
    live_stage: Stage, live: Any, gateway: GatewayProcess, live_sandbox: Running
):
    record = {
        **{"strategy": "prompt", "model": "sandbox/sandbox-small", "prompt": "support.route", "input": "ticket"},
        "fallback": {"prompt": "support.route", "model": "sandbox/sandbox-small"},
    }
    _, version = configs.commit(live_stage.edith, "triage", record)
    live_stage.release(version.version)
    question = {"model": "task:triage", "messages": [{"role": "user", "content": TICKET}]}
    for is_streamed in (False, True):
        live_sandbox.fault("overloaded", count=2)

        answer = gateway.client.chat.completions.create(**question, stream=is_streamed)

        text = (
            "".join(chunk.choices[0].delta.content or "" for chunk in answer)
            if is_streamed
            else answer.choices[0].message.content
        )
        assert text == "billing"
    calls = recorded(2)
    assert {(call.route, bool(call.fallback), call.failed) for call in calls} == {("fallback", True, False)}


def test_calls_survive_a_kill(live: Any, gateway: GatewayProcess, live_stage: Stage, token: str, live_sandbox: Running):
    """Killed after the answer, most likely before its record is in the database; and the next process records it."""
    ids = []
    for _ in range(5):
        answer = gateway.client.chat.completions.with_raw_response.create(
            model="prompt:support.route", messages=[{"role": "user", "content": TICKET}]
        )
        ids.append(answer.headers["X-Cuebook-Call"])
    gateway.kill()

    with gateway_process(gateway.spool, token, SANDBOX_URL=live_sandbox.url):
        calls = recorded(5)
    assert sorted(call.reference for call in calls) == sorted(ids)
    assert not list(gateway.spool.iterdir())


def test_known_tasks_are_served_while_the_database_is_away(
    live: Any, live_sandbox: Running, live_stage: Stage, token: str, tmp_path: Path
):
    make_model(live_stage)
    database = connection.settings_dict
    target = f"{database['HOST']}/.s.PGSQL.{database['PORT'] or 5432}"
    question: dict[str, Any] = {
        "model": "prompt:support.route",
        "messages": [{"role": "user", "content": TICKET}],
    }
    with (
        relay(target if database["HOST"].startswith("/") else (database["HOST"], int(database["PORT"]))) as between,
        gateway_process(
            tmp_path / "spool",
            token,
            SANDBOX_URL=live_sandbox.url,
            DATABASE_URL=database_url("127.0.0.1", str(between.port)),
        ) as gateway,
    ):
        assert gateway.client.chat.completions.create(**question).choices[0].message.content == "billing"
        recorded(1)
        between.cut()

        for _ in range(3):
            assert gateway.client.chat.completions.create(**question).choices[0].message.content == "billing"
        with pytest.raises(openai.InternalServerError) as unknown:
            gateway.client.chat.completions.create(**{**question, "model": "prompt:support.route@1"})
        assert unknown.value.code == "server.busy"
        assert Call.objects.count() == 1
        assert list(gateway.spool.iterdir())

        between.mend()
        recorded(4)


def test_a_client_that_leaves_stops_the_call(live: Any, gateway: GatewayProcess, live_sandbox: Running):
    live_sandbox.fault("hang", count=1)

    with pytest.raises(openai.APITimeoutError):
        gateway.client.with_options(timeout=1).chat.completions.create(
            model="prompt:support.route", messages=[{"role": "user", "content": TICKET}]
        )

    (call,) = recorded(1)
    assert (call.failed, call.error) == (True, "gateway.client_left")
    assert call.latency_ms < 5_000
