"""The inference service, asked by OpenAI's own client: what is live is what answers, and each call is recorded once."""

import asyncio
import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from html import unescape
from pathlib import Path
from typing import Any

import openai
import pytest
from django.db import connection

from core.errors import Problem
from evaluations.models import ProviderModel
from evaluations.providers import configuration as providers
from inference.configs import lifecycle as configs
from inference.models import Call
from registry.accounts import api_keys, permissions
from registry.models import APIKey, Membership, Role
from registry.prompts import versions
from tests.conftest import Stage
from tests.evaluations.conftest import make_model, routing
from tests.evaluations.runs.test_pages import client_of, text
from tests.inference.gateway.conftest import GatewayProcess, database_url, gateway_process
from tests.relay import relay
from tests.sandbox import Running

TICKET = "I was charged two times this month"


def recorded(count: int) -> list[Call]:
    """Wait until so many calls are recorded."""
    deadline = time.monotonic() + 30
    while Call.objects.count() < count and time.monotonic() < deadline:
        time.sleep(0.1)
    calls = list(Call.objects.order_by("at", "id"))
    assert len(calls) == count
    return calls


@pytest.fixture
def live(live_stage: Stage) -> Any:
    """A prompt that is live in production."""
    version = versions.commit(
        live_stage.edith, live_stage.prompt("support.route"), content=routing(), message="first"
    ).version
    live_stage.release(version)
    return version


def test_the_prompt_that_is_live_answers(live: Any, gateway: GatewayProcess, live_sandbox: Running):
    answer = gateway.client.chat.completions.with_raw_response.create(
        model="prompt:support.route", messages=[{"role": "user", "content": TICKET}]
    )

    parsed = answer.parse()
    assert parsed.choices[0].message.content == "billing"
    assert parsed.usage
    assert answer.headers["X-Cuebook-Version"] == "support.route@1"
    assert answer.headers["X-Cuebook-Route"] == "prompt"
    (call,) = recorded(1)
    assert call.reference == answer.headers["X-Cuebook-Call"]
    assert (call.version, call.environment, call.route, call.failed) == (live, "production", "prompt", False)
    assert (call.tokens_in, call.tokens_out) == (parsed.usage.prompt_tokens, parsed.usage.completion_tokens)
    assert call.cost_usd == Decimal(call.tokens_in + 4 * call.tokens_out) / 1_000_000
    assert call.latency_ms > 0
    assert call.is_simulation
    assert len(live_sandbox.calls()) == 1


def test_variables_are_sent_beside(live: Any, gateway: GatewayProcess):
    own = {"variables": {"ticket": TICKET}, "subject": "user-17", "metadata": {"team": "a"}}
    answer = gateway.client.chat.completions.create(
        model="prompt:support.route@1", messages=[], extra_body={"cuebook": own}
    )

    assert answer.choices[0].message.content == "billing"
    (call,) = recorded(1)
    assert (call.subject, call.environment, call.metadata) == ("user-17", "", {"team": "a"})


def test_a_stream_comes_in_pieces(live: Any, gateway: GatewayProcess):
    stream = gateway.client.chat.completions.create(
        model="prompt:support.route",
        messages=[{"role": "user", "content": TICKET}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "billing"
    assert chunks[-1].usage
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    (call,) = recorded(1)
    assert 0 < call.time_to_first_token_ms <= call.latency_ms


def test_responses_whole_and_streamed(live: Any, gateway: GatewayProcess):
    answer = gateway.client.responses.create(model="prompt:support.route", input=TICKET)
    with gateway.client.responses.stream(model="prompt:support.route", input=TICKET) as stream:
        events = list(stream)
        final = stream.get_final_response()

    assert answer.output_text == final.output_text == "billing"
    assert answer.usage
    assert final.usage
    assert answer.usage.input_tokens == final.usage.input_tokens > 0
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    recorded(2)


def test_a_release_is_what_the_next_call_gets(live_stage: Stage, live: Any, gateway: GatewayProcess):
    def ask() -> str:
        answer = gateway.client.chat.completions.with_raw_response.create(
            model="prompt:support.route", messages=[{"role": "user", "content": TICKET}]
        )
        return answer.headers["X-Cuebook-Version"]

    assert ask() == "support.route@1"
    second = versions.commit(
        live_stage.edith, live.prompt, content=routing(model={"name": "sandbox-small", "temperature": 0.5}), message=""
    ).version
    live_stage.release(second)

    deadline = time.monotonic() + 10
    while ask() != "support.route@2":
        assert time.monotonic() < deadline


def test_a_key_has_its_own_environment(live_stage: Stage, live: Any, gateway: GatewayProcess):
    actor = permissions.actor_for_command_line(live_stage.project)
    with pytest.raises(Problem, match="no environment"):
        api_keys.issue(actor, name="x", scopes=["infer"], environment="nowhere")
    _, token = api_keys.issue(actor, name="staging", scopes=["infer"], environment="staging")
    client = gateway.client_of(token)

    def version_of(model: str) -> str:
        answer = client.chat.completions.with_raw_response.create(
            model=model, messages=[{"role": "user", "content": TICKET}]
        )
        return answer.headers["X-Cuebook-Version"]

    assert version_of("prompt:support.route@production") == "support.route@1"
    assert code_of(lambda: version_of("prompt:support.route")) == "prompt.unknown_selector"
    second = versions.commit(
        live_stage.edith, live.prompt, content=routing(model={"name": "sandbox-small", "temperature": 0.5}), message=""
    ).version
    live_stage.release(second, "staging")
    assert version_of("prompt:support.route") == second.prompt.name + f"@{second.number}"
    assert {call.environment for call in recorded(2)} == {"production", "staging"}


def test_a_tasks_config_decides(live_stage: Stage, live: Any, gateway: GatewayProcess):
    record = {"strategy": "prompt", "model": "sandbox/sandbox-small", "prompt": "support.route", "input": "ticket"}
    _, version = configs.commit(live_stage.edith, "triage", {**record, "max_tokens": 20})
    live_stage.release(version.version)
    configs.commit(live_stage.edith, "draft", record)

    answer = gateway.client.chat.completions.with_raw_response.create(
        model="task:triage", messages=[{"role": "user", "content": TICKET}]
    )

    assert answer.parse().choices[0].message.content == "billing"
    (call,) = recorded(1)
    assert (call.config_hash, call.environment, call.route) == (version.version.content_hash, "production", "prompt")
    # Not the draft, which is live nowhere.
    assert [model.id for model in gateway.client.models.list()] == ["task:triage", "task:triage@production"]
    assert gateway.client.models.retrieve("task:triage@production").id == "task:triage@production"


@pytest.mark.parametrize(
    ("body", "code", "error"),
    [
        ({"model": "gpt-4o"}, "gateway.unknown_model", openai.NotFoundError),
        ({"model": "prompt:support.nobody"}, "prompt.not_found", openai.NotFoundError),
        ({"model": "task:nobody"}, "config.not_found", openai.NotFoundError),
        ({"model": "prompt:support.route", "temperature": 0.5}, "gateway.invalid", openai.BadRequestError),
        ({"model": "prompt:support.route", "messages": []}, "gateway.no_place", openai.BadRequestError),
        (
            {"model": "prompt:support.route", "messages": [{"role": "user", "content": "a"}] * 2},
            "gateway.no_place",
            openai.BadRequestError,
        ),
    ],
)
def test_refusals_are_in_openais_shape(
    live: Any, gateway: GatewayProcess, body: dict[str, Any], code: str, error: type[openai.APIStatusError]
):
    request: dict[str, Any] = {"messages": [{"role": "user", "content": TICKET}], **body}

    with pytest.raises(error) as refused:
        gateway.client.chat.completions.create(**request)

    assert refused.value.code == code
    assert not Call.objects.exists()


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'"x"',
        b"\xff",
        b'{"model": "prompt:support.route", "messages": [], "user": "a\\u0000b"}',
        b'{"model": "prompt:support.route", "messages": [{"role": "user", "content": "\\ud83d"}]}',
        b'{"model": "prompt:support.route", "model": "task:x", "messages": []}',
        b'{"model": ' + b"[" * 100_000,
        b'{"model": "prompt:support.route", "messages": [{"role": "user", "content": "x"}], "stream": NaN}',
    ],
)
def test_an_odd_body_is_refused_in_words(live: Any, gateway: GatewayProcess, body: bytes):
    headers = {"Authorization": f"Bearer {gateway.token}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{gateway.url}/v1/chat/completions", body, headers)

    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=20)

    with refused.value as answer:
        assert (answer.status, json.loads(answer.read())["error"]["code"]) == (400, "request.malformed")


def test_only_keys_with_the_scope_may_ask(live_stage: Stage, live: Any, gateway: GatewayProcess, api_for: Any):
    with pytest.raises(openai.AuthenticationError):
        gateway.client_of("cbk_nobody").models.list()
    header = api_for(live_stage.edith, scopes=["read", "write"])._credentials["HTTP_AUTHORIZATION"]
    with pytest.raises(openai.PermissionDeniedError):
        gateway.client_of(header.removeprefix("Bearer ")).models.list()


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


def test_tools_and_structured_output_come_through(live_stage: Stage, gateway: GatewayProcess):
    schema = {
        "type": "object",
        "properties": {"category": {"type": "string", "enum": ["incident", "billing", "how-to"]}},
        "required": ["category"],
        "additionalProperties": False,
    }
    content = routing(response={"format": "json_schema", "schema": schema})
    version = versions.commit(live_stage.edith, live_stage.prompt("support.typed"), content=content, message="").version
    live_stage.release(version)

    answer = gateway.client.chat.completions.create(
        model="prompt:support.typed", messages=[{"role": "user", "content": TICKET}]
    )

    assert json.loads(answer.choices[0].message.content or "") == {"category": "billing"}
    (call,) = recorded(1)
    assert call.format_ok is True


def test_the_asynchronous_client_and_many_at_once(live: Any, gateway: GatewayProcess):
    async def ask_all() -> list[str | None]:
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.token, max_retries=0) as client:
            calls = [
                client.chat.completions.create(
                    model="prompt:support.route", messages=[{"role": "user", "content": f"{TICKET} {number}"}]
                )
                for number in range(40)
            ]
            return [answer.choices[0].message.content for answer in await asyncio.gather(*calls)]

    assert asyncio.run(ask_all()) == ["billing"] * 40
    assert len({call.reference for call in recorded(40)}) == 40


def test_addresses_that_are_none(live: Any, gateway: GatewayProcess):
    with pytest.raises(openai.NotFoundError) as unknown:
        gateway.client.models.retrieve("task:nothing")
    assert unknown.value.code == "not_found"
    with pytest.raises(openai.NotFoundError) as elsewhere:
        gateway.client.embeddings.create(model="task:nothing", input="x")
    assert elsewhere.value.code == "not_found"


def test_what_the_last_message_has_beside_its_text_is_refused(live: Any, gateway: GatewayProcess):
    with pytest.raises(openai.BadRequestError) as refused:
        gateway.client.chat.completions.create(
            model="prompt:support.route", messages=[{"role": "user", "content": TICKET, "name": "ann"}]
        )
    assert refused.value.code == "gateway.no_place"


def test_a_trace_is_taken_over(live: Any, gateway: GatewayProcess):
    trace = "0af7651916cd43dd8448eb211c80319c"

    gateway.client.chat.completions.create(
        model="prompt:support.route",
        messages=[{"role": "user", "content": TICKET}],
        extra_headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"},
    )

    assert recorded(1)[0].trace == trace


def test_a_revoked_key_is_refused_at_once(live_stage: Stage, live: Any, gateway: GatewayProcess, token: str):
    gateway.client.models.list()
    actor = permissions.actor_for_command_line(live_stage.project)
    api_keys.revoke(actor, APIKey.objects.get(key_id=token.split("_")[1]))

    assert until(lambda: code_of(gateway.client.models.list), "auth.invalid_key")


def test_what_the_admin_changes_of_a_provider_counts_at_once(
    live_stage: Stage, live: Any, gateway: GatewayProcess, token: str
):
    def ask() -> str:
        question: Any = {"model": "prompt:support.route", "messages": [{"role": "user", "content": TICKET}]}
        return code_of(lambda: gateway.client.chat.completions.create(**question))

    assert ask() == ""
    model = ProviderModel.objects.get(name="sandbox-small")
    providers.archive_model(live_stage.ada, model)
    assert until(ask, "gateway.no_model")
    providers.restore_model(live_stage.ada, model)
    assert until(ask, "")
    providers.archive(live_stage.ada, model.provider)
    assert until(ask, "gateway.no_model")


def code_of(ask: Callable[[], object]) -> str:
    """Return the code of a refusal; empty for an answer."""
    try:
        ask()
    except openai.APIStatusError as error:
        return str(error.code)
    return ""


def until(ask: Callable[[], str], code: str) -> bool:
    """Ask until this comes back; false where it does not within ten seconds."""
    deadline = time.monotonic() + 10
    while ask() != code:
        if time.monotonic() > deadline:
            return False
    return True


def test_a_keys_owner_gives_it_no_more_than_they_have(live_stage: Stage, live: Any, gateway: GatewayProcess):
    actor = permissions.actor_for_command_line(live_stage.project)
    _, owned = api_keys.issue(actor, name="ediths", scopes=["infer"], owner=live_stage.edith.user)
    client = gateway.client_of(owned)
    client.models.list()

    Membership.objects.filter(user=live_stage.edith.user).update(role=Role.VIEWER)

    assert until(lambda: code_of(client.models.list), "access.denied")


def test_a_config_with_retrieval_is_not_served_without(live_stage: Stage, live: Any, gateway: GatewayProcess):
    record = {
        **{"strategy": "hybrid", "model": "sandbox/sandbox-small", "prompt": "support.route"},
        "retrieval": {"collection": "handbook"},
    }
    _, version = configs.commit(live_stage.edith, "triage", record)
    live_stage.release(version.version)

    with pytest.raises(openai.ConflictError) as refused:
        gateway.client.chat.completions.create(model="task:triage", messages=[{"role": "user", "content": TICKET}])

    assert refused.value.code == "gateway.no_retrieval"


def test_a_tasks_page_shows_programs_that_work_and_what_they_did(
    live_stage: Stage, live: Any, gateway: GatewayProcess, settings: Any, live_sandbox: Running
):
    settings.GATEWAY_URL = gateway.url
    record = {
        **{"strategy": "prompt", "model": "sandbox/sandbox-small", "prompt": "support.route", "input": "ticket"},
        "fallback": {"prompt": "support.route", "model": "sandbox/sandbox-small"},
    }
    _, version = configs.commit(live_stage.edith, "triage", record)
    live_stage.release(version.version)
    page = client_of(live_stage.edith)

    before = page.get("/p/paper/strategy/configs/triage/").content.decode()
    shown_programs = re.findall(r"<pre[^>]*>(.*?)</pre>", before, re.DOTALL)
    curl, python, typescript = (unescape(program).replace("YOUR KEY", gateway.token) for program in shown_programs[:3])
    outputs = [
        subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
        for command in (["/bin/bash", "-c", curl], [sys.executable, "-c", python])
    ]

    assert json.loads(outputs[0])["choices"][0]["message"]["content"] == outputs[1].strip()
    assert f'baseURL: "{gateway.url}/v1"' in typescript
    live_sandbox.fault("overloaded", count=2)
    gateway.client.chat.completions.create(model="task:triage", messages=[{"role": "user", "content": TICKET}])
    recorded(3)
    after = text(page.get("/p/paper/strategy/configs/triage/"))
    rows = re.findall(r"<tr>(.*?)</tr>", after.partition("The last day")[2], re.DOTALL)
    words = [re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", row)).split() for row in rows[1:]]
    assert [row[0] for row in words] == ["prompt", "fallback"]
    assert words[0][1:3] == ["2", "0"]
    assert words[1][1:4] == ["call.overloaded", "1", "1"]


def test_the_form_of_a_config_keeps_question_and_fallback(live_stage: Stage, live: Any):
    record = {
        **{"strategy": "prompt", "model": "sandbox/sandbox-small", "prompt": "support.route", "input": "ticket"},
        "fallback": {"prompt": "support.route", "model": "sandbox/sandbox-small"},
    }
    _, first = configs.commit(live_stage.edith, "triage", record)
    page = client_of(live_stage.edith)
    address = "/p/paper/strategy/configs/triage/"
    form = text(page.get(address)).partition("<h2>Next version</h2>")[2].partition("</form>")[0]
    values = dict(re.findall(r'name="(\w+)"\s+type="text"\s+value="([^"]*)"', form))
    values |= {"strategy": "prompt", "response_format": "text", "max_tokens": "50"}

    assert page.post(address, values).status_code == 302

    second = configs.get_config_version(configs.get_config(live_stage.project, "triage"), "latest").record
    assert second == replace(first.record, max_tokens=50)
