"""OTLP over HTTP: spans that are calls are recorded, and others are counted.

tests/config/test_up.py has OpenTelemetry's own exporter report to a real instance.
"""

import base64
import gzip
import json
from collections.abc import Mapping
from typing import Any

import pytest
from django.utils import timezone

from inference.calls import spans
from inference.calls.spans import Span
from inference.models import Call
from registry.accounts import api_keys
from registry.models import PromptVersion
from tests.conftest import ApiFor, Stage

URL = "/v1/traces"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PROMPT = {"gen_ai.prompt.name": "support.triage", "gen_ai.prompt.version": "1"}
CALL = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-6-luna", **PROMPT}


def span(attributes: Mapping[str, Any], **members: Any) -> Span:
    start = 1_790_000_000_000_000_000
    return Span(
        **{"trace": TRACE, "span": "00f067aa0ba902b7", "start": start, "end": start + 412_500_000, **members},
        attributes=attributes,
    )


def read(attributes: Mapping[str, Any], **members: Any) -> dict[str, Any]:
    call = spans.read_span(span(attributes, **members))
    assert isinstance(call, dict), call
    return call


def test_the_conventions_for_generative_ai():
    call = read(
        {
            **CALL,
            "gen_ai.response.model": "gpt-6-luna-2026-08",
            "gen_ai.usage.input_tokens": 390,
            "gen_ai.usage.cache_read.input_tokens": 256,
            "gen_ai.usage.output_tokens": 21,
            "gen_ai.usage.reasoning.output_tokens": 8,
            "gen_ai.response.finish_reasons": ["stop"],
            "gen_ai.response.time_to_first_chunk": 0.125,
            "user.id": "user-17",
        },
        resource={"deployment.environment.name": "staging"},
    )

    assert (call["prompt"], call["environment"], call["model"]) == (
        *("support.triage@1", "staging", "gpt-6-luna-2026-08"),
    )
    assert (call["tokens_in"], call["tokens_cached"], call["tokens_out"], call["tokens_reasoning"]) == (390, 256, 21, 8)
    assert (call["latency_ms"], call["time_to_first_token_ms"]) == (412.5, 125)
    assert (call["subject"], call["finish_reason"], call["trace"]) == ("user-17", "stop", TRACE)


def test_langfuses_names():
    call = read(
        {
            "langfuse.observation.type": "generation",
            "langfuse.observation.prompt.name": "support.triage",
            "langfuse.observation.prompt.version": 1,
            "langfuse.observation.model.name": "gpt-6-luna",
            "langfuse.observation.usage_details": '{"input": 300, "output": 20, "input_cached_tokens": 100}',
            "langfuse.observation.cost_details": '{"input": 0.001, "output": 0.0005}',
            "langfuse.observation.completion_start_time": '"2026-09-21T13:33:20.250000Z"',
            "langfuse.environment": "staging",
            "user.id": "user-17",
        },
        start=1_789_997_600_000_000_000,
        end=1_789_997_601_000_000_000,
    )

    assert (call["prompt"], call["environment"], call["subject"]) == ("support.triage@1", "staging", "user-17")
    assert (call["tokens_in"], call["tokens_cached"], call["tokens_out"]) == (300, 100, 20)
    assert call["cost_usd"] == pytest.approx(0.0015)
    assert call["time_to_first_token_ms"] == pytest.approx(250)


def test_openinferences_names():
    call = read(
        {
            "openinference.span.kind": "LLM",
            "llm.model_name": "gpt-6-luna",
            "prompt.id": "support.triage",
            "llm.prompt_template.version": "sha256:0123456789ab",
            "llm.token_count.prompt": 10,
            "llm.token_count.completion": 5,
            "llm.token_count.prompt_details.cache_read": 30,
        },
        status=2,
    )

    assert call["prompt"] == "support.triage@sha256:0123456789ab"
    # What was cached stands beside the question in some conventions.
    assert (call["tokens_in"], call["tokens_cached"]) == (40, 30)
    assert (call["failed"], call["error"]) == (True, "error")


@pytest.mark.parametrize(
    "texts",
    [
        {
            "gen_ai.input.messages": json.dumps([{"role": "user", "parts": [{"type": "text", "content": "Twice"}]}]),
            "gen_ai.output.messages": '[{"role": "assistant", "parts": [{"type": "text", "content": "billing"}]}]',
        },
        {
            "langfuse.observation.input": '{"messages": [{"role": "user", "content": "Twice"}]}',
            "langfuse.observation.output": '{"role": "assistant", "content": "billing"}',
        },
        {"langfuse.observation.input": "Twice", "langfuse.observation.output": '"billing"'},
        {
            "gen_ai.input.messages": '[{"role": "user", "content": [{"type": "text", "text": "Twice"}]}]',
            "gen_ai.output.messages": '[{"content": "billing"}, 7]',
        },
    ],
)
def test_texts_come_along(texts: dict[str, str]):
    text = read({**CALL, **texts})["text"]

    assert text == {"messages": [{"role": "user", "content": "Twice"}], "answer": {"text": "billing"}}


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"http.request.method": "GET"}, "no_call"),
        ({"gen_ai.operation.name": "embeddings", "gen_ai.request.model": "m", **PROMPT}, "no_call"),
        ({"langfuse.observation.type": "span", "gen_ai.request.model": "m"}, "no_call"),
        ({"openinference.span.kind": "CHAIN", **PROMPT}, "no_call"),
        ({"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}, "no_prompt"),
        ({"gen_ai.request.model": "m", "gen_ai.prompt.name": "support.triage"}, "no_version"),
    ],
)
def test_other_spans_say_why_they_are_none(attributes: dict[str, Any], reason: str):
    assert spans.read_span(span(attributes)) == reason


def as_json(*attributes: Mapping[str, Any]) -> dict[str, Any]:
    start = int(timezone.now().timestamp() * 1e9)

    def value(each: Any) -> dict[str, Any]:
        return {"intValue": str(each)} if isinstance(each, int) else {"stringValue": each}

    sent = [
        {
            "traceId": TRACE.upper(),
            "spanId": f"00f067aa0ba902{place:02x}",
            "startTimeUnixNano": str(start),
            "endTimeUnixNano": str(start + 5_000_000),
            "attributes": [{"key": name, "value": value(each)} for name, each in of_span.items()],
        }
        for place, of_span in enumerate(attributes)
    ]
    return {"resourceSpans": [{"scopeSpans": [{"spans": sent}]}]}


def test_json_and_gzip_and_what_cannot_be_recorded_is_said(stage: Stage, api_for: ApiFor, version: PromptVersion):
    service = api_for(stage.edith, scopes=["observe"])
    unknown = {**CALL, "gen_ai.prompt.version": "9"}
    body = json.dumps(as_json({**CALL, "gen_ai.usage.input_tokens": 7}, unknown, {"db.system": "x"})).encode()

    answers = [
        service.generic("POST", URL, body, content_type="application/json"),
        service.generic(
            "POST", URL, gzip.compress(body), content_type="application/json", headers={"Content-Encoding": "gzip"}
        ),
    ]

    for answer in answers:
        assert answer.status_code == 200
        partial = answer.json()["partialSuccess"]
        assert partial["rejectedSpans"] == "1"
        assert "1 no_call" in partial["errorMessage"]
    assert Call.objects.get().tokens_in == 7
    counts = api_for(stage.vera).get("/api/v1/spans").json()["results"]
    assert {row["reason"]: row["spans"] for row in counts}["no_call"] == 2


def test_langfuses_credentials_and_address(stage: Stage, api_for: ApiFor, version: PromptVersion, client: Any):
    _, token = api_keys.issue(stage.ada, name="service", scopes=["observe"])
    _, public, secret = token.split("_")
    credentials = base64.b64encode(f"cbk_{public}:{secret}".encode()).decode()

    answer = client.generic(
        "POST",
        "/api/public/otel/v1/traces",
        json.dumps(as_json(CALL)),
        content_type="application/json",
        headers={"Authorization": f"Basic {credentials}"},
    )

    assert answer.status_code == 200
    assert Call.objects.get().key == public


@pytest.mark.parametrize(
    ("body", "content_type", "encoding", "status", "code"),
    [
        (b"\xff\xff\xff", "application/x-protobuf", "", 400, "request.malformed"),
        (b"[]", "application/json", "", 400, "request.malformed"),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [{}]}]}]}', "application/json", "", 400, "request.malformed"),
        (b"{}", "text/plain", "", 400, "request.malformed"),
        (b"no gzip", "application/json", "gzip", 400, "request.malformed"),
        (b"{}", "application/json", "br", 400, "request.malformed"),
        (gzip.compress(bytes(40_000_000)), "application/json", "gzip", 413, "request.too_large"),
        (bytes(5_000_000), "application/x-protobuf", "", 413, "request.too_large"),
    ],
)
def test_hostile_bodies(
    stage: Stage, api_for: ApiFor, body: bytes, content_type: str, encoding: str, status: int, code: str
):
    service = api_for(stage.edith, scopes=["observe"])

    answer = service.generic("POST", URL, body, content_type=content_type, headers={"Content-Encoding": encoding})

    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_strangers_and_readers_are_refused(stage: Stage, api_for: ApiFor, client: Any):
    body = json.dumps(as_json(CALL))
    assert client.post(URL, body, content_type="application/json").status_code == 401
    reader = api_for(stage.edith, scopes=["read"])
    assert reader.generic("POST", URL, body, content_type="application/json").status_code == 403
