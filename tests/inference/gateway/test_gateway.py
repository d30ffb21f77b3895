"""The inference service, asked by OpenAI's own client: what is live is what answers, and each call is recorded once."""

import asyncio
import json
from decimal import Decimal
from typing import Any

import openai

from inference.configs import lifecycle as configs
from registry.prompts import versions
from tests.conftest import Stage
from tests.evaluations.conftest import routing
from tests.inference.gateway.conftest import TICKET, GatewayProcess, recorded
from tests.sandbox import Running


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


def test_variables_that_the_version_does_not_use_are_named(live: Any, gateway: GatewayProcess):
    own = {"variables": {"ticket": TICKET, "tone": "dry", "größe": 1}}

    answer = gateway.client.chat.completions.with_raw_response.create(
        model="prompt:support.route", messages=[], extra_body={"cuebook": own}
    )

    # Served nevertheless: a promotion of a version that takes less would else end every service.
    assert answer.headers["X-Cuebook-Unused-Variables"] == "gr%C3%B6%C3%9Fe,tone"


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
