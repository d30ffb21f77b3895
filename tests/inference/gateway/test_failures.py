"""What fails: models, the database, the process, and clients that leave."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from django.db import connection

from inference.configs import lifecycle as configs
from inference.models import Call
from registry.examples import example_sets
from registry.prompts import versions
from tests.conftest import Stage
from tests.evaluations.conftest import make_model, routing
from tests.inference.gateway.conftest import (
    TICKET,
    GatewayProcess,
    code_of,
    database_url,
    gateway_process,
    recorded,
    until,
)
from tests.relay import Relay, relay
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


def test_a_fallback_that_nobody_has_takes_no_route_along(live_stage: Stage, live: Any, gateway: GatewayProcess):
    record = {"strategy": "prompt", "model": "sandbox/sandbox-small", "prompt": "support.route", "input": "ticket"}
    fallback = {"prompt": "support.route", "model": "openai/not-here"}
    _, version = configs.commit(live_stage.edith, "triage", {**record, "fallback": fallback})
    live_stage.release(version.version)

    answer = gateway.client.chat.completions.create(model="task:triage", messages=[{"role": "user", "content": TICKET}])

    assert answer.choices[0].message.content == "billing"


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


@contextmanager
def gateway_behind_a_relay(tmp_path: Path, token: str, sandbox: Running) -> Iterator[tuple[GatewayProcess, Relay]]:
    """Run the service with a database that can be cut off."""
    database = connection.settings_dict
    is_socket = database["HOST"].startswith("/")
    path, port = f"{database['HOST']}/.s.PGSQL.{database['PORT'] or 5432}", int(database["PORT"] or 5432)
    with relay(path if is_socket else (database["HOST"], port)) as between:
        address = database_url("127.0.0.1", str(between.port))
        members = {"SANDBOX_URL": sandbox.url, "DATABASE_URL": address}
        with gateway_process(tmp_path / "spool", token, **members) as gateway:
            yield gateway, between


def test_examples_that_are_the_same_for_each_call_need_no_database(
    live_sandbox: Running, live_stage: Stage, token: str, tmp_path: Path
):
    make_model(live_stage)
    shots = [{"input": "I was charged twice", "output": "billing"}, {"input": "The site is down", "output": "incident"}]
    version = example_sets.commit(
        live_stage.edith, example_sets.create(live_stage.edith, name="shots"), examples=shots
    ).version
    rules = {
        "support.first": {"k": 1, "select": "first"},
        "support.similar": {"k": 1, "select": "similar", "query": "{{ ticket }}"},
    }
    for name, rule in rules.items():
        content = routing(
            messages=[{"role": "placeholder", "name": "examples"}, {"role": "user", "content": "{{ ticket }}"}],
            examples={"set": version.content_hash, **rule},
        )
        prompt = live_stage.prompt(name)
        live_stage.release(versions.commit(live_stage.edith, prompt, content=content, message="").version)

    def ask(gateway: GatewayProcess, name: str) -> str:
        messages: Any = [{"role": "user", "content": TICKET}]
        return code_of(lambda: gateway.client.chat.completions.create(model=f"prompt:{name}", messages=messages))

    with gateway_behind_a_relay(tmp_path, token, live_sandbox) as (gateway, between):
        with ThreadPoolExecutor(16) as threads:
            codes = list(threads.map(lambda number: ask(gateway, list(rules)[number % 2]), range(40)))
        assert set(codes) == {""}
        between.cut()

        assert [ask(gateway, "support.first") for _ in range(3)] == ["", "", ""]
        assert ask(gateway, "support.similar") == "server.busy"

        between.mend()
        # On each of its threads, not only on the one that noticed.
        assert until(lambda: ask(gateway, "support.similar"), "")
        assert [ask(gateway, "support.similar") for _ in range(20)] == [""] * 20


def test_known_tasks_are_served_while_the_database_is_away(
    live: Any, live_sandbox: Running, live_stage: Stage, token: str, tmp_path: Path
):
    make_model(live_stage)
    question: dict[str, Any] = {
        "model": "prompt:support.route",
        "messages": [{"role": "user", "content": TICKET}],
    }
    with gateway_behind_a_relay(tmp_path, token, live_sandbox) as (gateway, between):
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
