"""Odd and hostile input at the doors of live calls: a clear answer, and nothing lost beside it."""

import gzip
import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from core.errors import Problem
from core.redaction import PRESETS
from inference.calls import feedback, storage, subjects, wire
from inference.calls import log as call_log
from inference.gateway.records.recording import save
from inference.models import Call, CallText, Feedback, UsageRollup
from inference.texts import policy as texts
from inference.usage import rollups
from inference.usage.stats import OTHER, UsageCounter, sum_usage
from registry.accounts import permissions
from registry.accounts.permissions import Actor
from registry.models import APIKey, KeyUsage, PromptVersion
from registry.prompts import lifecycle as prompts
from registry.prompts import versions
from tests.conftest import ApiFor, Stage
from tests.inference.calls.conftest import call
from tests.inference.calls.test_otlp import CALL, as_json
from tests.inference.gateway.test_spool import record_of

URL = "/v1/traces"


@pytest.mark.parametrize("body", [b"\x12\x00" * 500_000, b"\x0a\x00" * 500_000])
def test_a_small_body_of_millions_of_parts_is_refused_before_it_is_parsed(body: bytes):
    outer = bytes([0x0A]) + varint(len(body)) + body
    with pytest.raises(Problem) as refused:
        wire.check_size(outer)
    assert refused.value.code == "request.too_large"


def test_a_body_whose_attributes_are_empty_is_refused_before_it_is_parsed():
    resource = b"\x0a\x00" * 500_000
    group = b"\x0a" + varint(len(resource)) + resource
    with pytest.raises(Problem) as refused:
        wire.check_size(b"\x0a" + varint(len(group)) + group)
    assert refused.value.code == "request.too_large"


def test_an_exporters_fullest_batch_is_taken():
    """512 spans at once, each with the 128 attributes that OpenTelemetry allows."""
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for _ in range(512):
        span = spans.add(name="chat", trace_id=bytes(16), span_id=bytes(8), start_time_unix_nano=1)
        for number in range(128):
            span.attributes.add(key=f"name-{number}").value.string_value = "x"

    wire.check_size(request.SerializeToString())


def varint(number: int) -> bytes:
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def protobuf(count: int, **attributes: str) -> bytes:
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    now = int(timezone.now().timestamp() * 1e9)
    for number in range(count):
        span = spans.add(trace_id=bytes(15) + b"\1", span_id=number.to_bytes(8, "big"))
        span.start_time_unix_nano = span.end_time_unix_nano = now
        for name, value in {**CALL, **(attributes if number == 0 else {})}.items():
            span.attributes.add(key=name).value.string_value = value
    return request.SerializeToString()


@pytest.mark.parametrize(
    ("attributes", "recorded"),
    [
        ({"gen_ai.request.model": "a\0b"}, 5),
        ({"langfuse.observation.usage_details": json.dumps({"input": 10**400})}, 4),
        ({"langfuse.observation.cost_details": "[" * 100_000}, 4),
        ({"langfuse.observation.input": "[" * 100_000}, 4),
        ({"cuebook.call": "x"}, 4),
    ],
)
def test_one_span_takes_no_other_along(
    stage: Stage, api_for: ApiFor, version: PromptVersion, attributes: dict[str, str], recorded: int
):
    service = api_for(stage.edith, scopes=["observe"])

    answer = service.generic("POST", URL, protobuf(5, **attributes), content_type="application/x-protobuf")

    assert answer.status_code == 200
    assert Call.objects.count() == recorded


@pytest.mark.parametrize(
    "times",
    [
        {"startTimeUnixNano": "9" * 25},
        {"startTimeUnixNano": "9" * 26},
        {"startTimeUnixNano": "9" * 27},
        {"startTimeUnixNano": "9" * 400},
        {"startTimeUnixNano": "-1"},
        {"endTimeUnixNano": "x"},
    ],
)
def test_odd_times_of_one_span_are_counted(
    stage: Stage, api_for: ApiFor, version: PromptVersion, times: dict[str, str]
):
    document = as_json(CALL, CALL)
    document["resourceSpans"][0]["scopeSpans"][0]["spans"][0].update(times)

    answer = api_for(stage.edith, scopes=["observe"]).generic(
        "POST", URL, json.dumps(document), content_type="application/json"
    )

    assert (answer.status_code, Call.objects.count()) == (200, 1)
    assert answer.json()["partialSuccess"]["rejectedSpans"] == "1"


def test_corrupt_gzip_is_no_fault_of_ours(stage: Stage, api_for: ApiFor):
    broken = gzip.compress(b"{}" * 100)[:10] + b"\xff" * 40
    service = api_for(stage.edith, scopes=["observe"])
    answer = service.generic("POST", URL, broken, content_type="application/json", headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, answer.json()["code"]) == (400, "request.malformed")


def test_a_developers_spans_are_not_productions(stage: Stage, api_for: ApiFor, version: PromptVersion):
    document = as_json({**CALL, "deployment.environment.name": "laptop"})
    answer = api_for(stage.edith, scopes=["observe"]).generic(
        "POST", URL, json.dumps(document), content_type="application/json"
    )
    assert "environment.unknown" in answer.json()["partialSuccess"]["errorMessage"]
    assert not Call.objects.exists()


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "2020-01-01", "9999-12-31"])
def test_feedback_of_another_age_is_refused(service: Actor, version: PromptVersion, at: str):
    with pytest.raises(Problem) as refused:
        feedback.record(service, [{"subject": "u", "prompt": "support.triage", "score": 1, "at": at}])
    assert refused.value.faults[0].pointer == "/feedback/0/at"


@pytest.mark.parametrize(
    "text",
    [
        {"answer": {"tool_calls": 5}},
        {"answer": {"tool_calls": [5]}},
        {"messages": [{"content": "x"}]},
        {"variables": {"a": float("inf")}},
        {"variables": {"a": "\0"}},
    ],
)
def test_a_text_that_no_page_could_show_is_refused(service: Actor, version: PromptVersion, text: Any):
    with pytest.raises(Problem) as refused:
        call_log.record(service, [call(1, text=text)])
    assert refused.value.faults[0].pointer == "/calls/0/text"


def test_an_id_may_have_a_slash(stage: Stage, client: Client, api_for: ApiFor, service: Actor, version: PromptVersion):
    call_log.record(service, [call(1, id="order/17")])
    client.force_login(stage.edith.user)

    assert client.get(f"/p/{stage.project.slug}/calls/", {"call": "order/17"}).status_code == 200
    assert api_for(stage.edith).get("/api/v1/calls/order/17").json()["id"] == "order/17"
    client.post(f"/p/{stage.project.slug}/calls/order/17/feedback/", {"kind": "boolean", "name": "x", "value": "yes"})
    assert Feedback.objects.get().call == "order/17"


def test_rest_pages_of_calls_of_one_moment_end(stage: Stage, api_for: ApiFor, service: Actor, version: PromptVersion):
    at = timezone.now() - timedelta(hours=1)
    for batch in range(2):
        call_log.record(service, [call(number, id=f"{batch}-{number}", at=at) for number in range(700)])
    api = api_for(stage.edith)

    ids: list[str] = []
    address: str | None = "/api/v1/calls?limit=200"
    for _ in range(10):
        page = api.get(address).json()
        ids += [row["id"] for row in page["results"]]
        if (address := page["next"]) is None:
            break
    assert address is None
    assert len(ids) == len(set(ids)) == 1_400
    assert api.get("/api/v1/calls?cursor=2026-99-99T00:00:00~1").status_code == 400


@pytest.mark.parametrize(
    "query", ["before=9999-12-31T23:59:59~1", "since=0001-01-01T00:00:00%2B14:00", "max_score=nan", "max_score=-inf"]
)
def test_odd_filters_are_refused(stage: Stage, client: Client, query: str):
    client.force_login(stage.edith.user)
    assert client.get(f"/p/{stage.project.slug}/calls/?{query}").status_code == 400


def test_a_reported_call_does_not_hide_the_services_own(live_stage: Stage):
    """Whoever knows a call's id could report it first, and would not pay for it."""
    stage = live_stage
    version = stage.commit(stage.prompt(), "Hello")
    key = APIKey.objects.create(project=stage.project, name="x", key_id="k1", digest=b"x" * 32, scopes=["infer"])
    own = record_of(version, key=key.key_id, process="a", tokens=7, route="prompt")
    reported = {"project": stage.project.pk, "version": version.pk, "environment": "production"}
    storage.store([storage.new_call(**reported, reference=own["reference"], at=timezone.now(), tokens_in=999_999)])

    save([own])
    save([own])

    assert Call.objects.get().route == "prompt"
    assert KeyUsage.objects.get().requests == 1
    total = sum_usage(map(rollups.usage_in, UsageRollup.objects.all()))
    assert total.calls == 1
    assert total.tokens_in != 999_999


def test_an_id_that_another_project_has_reported_stops_no_records(live_stage: Stage, otis: Actor):
    """Records of all projects are drained together."""
    own_version = live_stage.commit(live_stage.prompt(), "Hello")
    other_prompt = prompts.create(otis, name="other.prompt")
    other_version = versions.commit(otis, other_prompt, content={"kind": "text", "text": "Hello"}).version
    of_other = record_of(other_version, route="prompt")
    reported = {"project": live_stage.project.pk, "version": own_version.pk, "environment": "production"}
    storage.store([storage.new_call(**reported, reference=of_other["reference"], at=timezone.now())])

    assert save([record_of(own_version, route="prompt"), of_other]) == []

    assert Call.objects.filter(project=live_stage.project).count() == 2
    assert Call.objects.get(project=otis.project).route == "prompt"


def test_what_came_with_a_withdrawn_report_is_not_the_services_calls(live_stage: Stage):
    stage = live_stage
    version, other = stage.commit(stage.prompt(), "Hello"), stage.commit(stage.prompt("support.other"), "Hello")
    text = {"variables": {}, "messages": [], "answer": {"text": "its own"}}
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    own = record_of(version, route="prompt", text=text, trace=trace)
    reported = {"project": stage.project.pk, "version": other.pk, "environment": "production", "trace": trace}
    storage.store([storage.new_call(**reported, reference=own["reference"], at=timezone.now())])
    foreign = {"messages": [], "answer": {"text": "foreign"}, "subject": "anna"}
    CallText.objects.create(project=stage.project, reference=own["reference"], at=timezone.now(), **foreign)
    service = permissions.actor_for_command_line(stage.project)
    by_id = {"call": own["reference"], "name": "helpful", "boolean": True}
    by_trace = {"trace": trace, "name": "tone", "score": 0.5}
    feedback.record(service, [by_id, by_trace])

    save([own])

    assert CallText.objects.get().answer == {"text": "its own"}
    assert {row.version for row in Feedback.objects.all()} == {version}
    usage = rollups.by_version(UsageRollup.objects.all())
    assert usage[version.pk].feedback == {"helpful": (1, 1.0, 1.0), "tone": (1, 0.5, 0.25)}
    assert usage[other.pk].calls == 0
    assert not any(count for count, _, _ in usage[other.pk].feedback.values())


def test_records_that_come_after_their_subject_was_deleted_name_nobody(live_stage: Stage):
    stage = live_stage
    version = stage.commit(stage.prompt(), "Hello")
    text = {"variables": {}, "messages": [], "answer": {"text": "Dear Anna"}}
    late = record_of(version, subject="anna", metadata={"mail": "a"}, text=text)

    subjects.delete(stage.ada, "anna")
    save([late])
    service = record_of(version, subject="anna")
    later = {**service, "at": (timezone.now() + timedelta(minutes=1)).isoformat()}
    save([later])

    assert list(Call.objects.order_by("at").values_list("subject", "metadata")) == [("", {}), ("anna", {})]
    assert not CallText.objects.exists()


def test_comments_are_cleaned_and_read_by_editors_alone(
    stage: Stage, api_for: ApiFor, service: Actor, version: PromptVersion
):
    texts.set_policy(stage.ada, share=0, days=14, presets=list(PRESETS), patterns=[])
    call_log.record(service, [call(1)])
    feedback.record(service, [{"call": "call-1", "correction": "Write to ann@mail.example"}])

    assert Feedback.objects.get().text == "Write to [email]"
    for actor, text in ((stage.edith, "Write to [email]"), (stage.vera, "")):
        (row,) = api_for(actor).get("/api/v1/feedback").json()["results"]
        (own,) = api_for(actor).get("/api/v1/calls/call-1").json()["feedback"]
        assert row["text"] == own["text"] == text


def test_names_of_feedback_are_counted_apart_up_to_a_number():
    counter = UsageCounter()
    for number in range(300):
        counter.add_feedback(f"name-{number}", 1, 1.0, 1.0)
    stats = counter.stats()
    assert len(stats.feedback) == 51
    assert stats.feedback[OTHER][0] == 250


def test_a_call_that_says_why_it_failed_failed(service: Actor, version: PromptVersion):
    call_log.record(service, [call(1, failed=False, error="timeout")])
    assert Call.objects.get().failed


def test_so_many_faults_are_told(service: Actor, version: PromptVersion):
    with pytest.raises(Problem) as refused:
        call_log.record(service, [call(1, **{f"x{number}": 1 for number in range(5_000)})])
    assert len(refused.value.faults) == call_log.MAX_FAULTS
