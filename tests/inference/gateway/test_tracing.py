"""Traces: what a collector gets over OTLP/HTTP, and what a provider gets of a caller's trace."""

import asyncio
import gzip
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from inference.configs import lifecycle as configs
from tests.conftest import Stage
from tests.evaluations.conftest import make_model
from tests.http_server import Handler, serve
from tests.inference.gateway.conftest import TICKET, GatewayProcess, gateway_process, recorded
from tests.inference.gateway.service_of_test import DOWN, WHOLE, Model, ServiceOfTest
from tests.sandbox import Running

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADERS = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
QUESTION: Any = {"model": "prompt:support.route", "messages": [{"role": "user", "content": TICKET}]}


@contextmanager
def collector() -> Iterator[tuple[int, list[Any]]]:
    """Run a collector of traces on a port of this machine; the list has what it got."""
    spans: list[Any] = []

    class Collector(Handler):
        def post(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                spans.extend(span for scope in resource.scope_spans for span in scope.spans)
            self.answer_bytes(b"", Content_Type="application/x-protobuf")

    with serve(Collector) as port:
        yield port, spans


def attributes_of(span: Any) -> dict[str, Any]:
    values = {pair.key: pair.value for pair in span.attributes}
    return {name: getattr(value, value.WhichOneof("value")) for name, value in values.items()}


def test_a_collector_gets_a_call_and_what_it_asked(
    live_stage: Stage, live: Any, live_sandbox: Running, token: str, tmp_path: Path
):
    make_model(live_stage)
    _, version = configs.commit(
        live_stage.edith,
        "triage",
        {
            **{"strategy": "prompt", "model": "sandbox/sandbox-small", "prompt": "support.route", "input": "ticket"},
            "fallback": {"prompt": "support.route"},
        },
    )
    live_stage.release(version.version)
    with collector() as (port, spans):
        endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "OTEL_BSP_SCHEDULE_DELAY": "100"}
        with gateway_process(tmp_path / "spool", token, SANDBOX_URL=live_sandbox.url, **endpoint) as gateway:
            live_sandbox.fault("refused", count=1)
            gateway.client.chat.completions.create(**{**QUESTION, "model": "task:triage"}, extra_headers=HEADERS)
            (call,) = recorded(1)
        deadline = time.monotonic() + 30
        while len(spans) < 3 and time.monotonic() < deadline:
            time.sleep(0.1)

    by_name = sorted(spans, key=lambda span: span.start_time_unix_nano)
    assert [span.name for span in by_name] == ["inference task:triage", "chat sandbox-small", "chat sandbox-small"]
    whole, refused, answered = by_name
    assert {span.trace_id.hex() for span in spans} == {TRACE} == {call.trace}
    assert whole.parent_span_id.hex() == PARENT
    assert {refused.parent_span_id, answered.parent_span_id} == {whole.span_id}
    facts = attributes_of(whole)
    assert (facts["gen_ai.prompt.name"], facts["gen_ai.prompt.version"]) == ("support.route", "1")
    assert (facts["cuebook.call"], facts["cuebook.fallback"]) == (call.reference, "call.refused")
    assert attributes_of(refused)["error.type"] == "call.refused"
    facts = attributes_of(answered)
    assert facts["gen_ai.operation.name"] == "chat"
    assert facts["gen_ai.request.model"] == "sandbox-small"
    assert facts["gen_ai.usage.input_tokens"] == call.tokens_in
    # Nothing of what was asked is told.
    assert TICKET not in str(spans)
    # The provider gets the span that asked it.
    assert live_sandbox.calls()[-1]["trace"] == f"00-{TRACE}-{answered.span_id.hex()}-01"


@pytest.mark.parametrize("is_streamed", [False, True])
def test_without_a_collector_the_callers_trace_goes_on(
    live: Any, gateway: GatewayProcess, live_sandbox: Running, is_streamed: bool
):
    list(gateway.client.chat.completions.create(**QUESTION, stream=is_streamed, extra_headers=HEADERS))

    assert recorded(1)[0].trace == TRACE
    assert live_sandbox.calls()[0]["trace"] == HEADERS["traceparent"]


@pytest.mark.parametrize(
    "header", ["", "nonsense", f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{'0' * 16}-01", "0" * 5_000]
)
def test_what_is_no_trace_goes_nowhere(monkeypatch: pytest.MonkeyPatch, header: str):
    trace = ServiceOfTest(monkeypatch).traces.begin("task:triage", {"traceparent": header})

    assert (trace.id, dict(trace.headers)) == ("", {})


def test_every_end_of_a_call_ends_its_spans(monkeypatch: pytest.MonkeyPatch):
    exporter = InMemorySpanExporter()
    service = ServiceOfTest(monkeypatch, exporter=exporter, first=Model(WHOLE, DOWN, WHOLE))

    async def ask() -> None:
        await service.gateway.complete(service.call())
        await asyncio.gather(service.gateway.complete(service.call()), return_exceptions=True)
        pieces = service.gateway.stream(service.call())
        await anext(pieces)
        await pieces.aclose()

    asyncio.run(ask())
    service.traces.close()

    ended = [(span.name, (span.attributes or {}).get("error.type")) for span in exporter.get_finished_spans()]
    whole, model = "inference task:triage", "chat m"
    assert sorted(ended, key=str) == sorted(
        [
            *((model, None), (whole, None)),
            *((model, "call.overloaded"), (whole, "call.overloaded")),
            *((model, "GeneratorExit"), (whole, "gateway.client_left")),
        ],
        key=str,
    )
