"""Traces of calls: OpenTelemetry's spans by its conventions for generative AI, over OTLP/HTTP where an endpoint is set.

A call is a span of the kind server, and each time that a model is asked a span of the kind client below it (semantic
conventions, "Spans for GenAI"). Texts are never in a span. Where nothing is exported, the trace that a caller is in
(W3C Trace Context) goes on to the provider as it came.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as gen_ai
from opentelemetry.semconv.attributes import error_attributes, server_attributes
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from evaluations.providers.chat import ChatRequest, Completion, Endpoint

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
CONTEXT_HEADERS = ("traceparent", "tracestate")
PROVIDERS = {
    **{"openai_chat": "openai", "openai_responses": "openai"},
    **{"anthropic_messages": "anthropic", "gemini": "gcp.gemini"},
}
PARAMETERS = {
    "temperature": gen_ai.GEN_AI_REQUEST_TEMPERATURE,
    "top_p": gen_ai.GEN_AI_REQUEST_TOP_P,
    "max_output_tokens": gen_ai.GEN_AI_REQUEST_MAX_TOKENS,
    "seed": gen_ai.GEN_AI_REQUEST_SEED,
}
# As W3C asks systems to pass on at least.
MAX_HEADER = 512
W3C = TraceContextTextMapPropagator()


@dataclass
class AskSpan:
    """The span of one time that a model is asked; `headers` are what the provider gets of it."""

    headers: Mapping[str, str] = field(default_factory=dict)
    span: Span | None = None

    def requested(self, request: ChatRequest) -> None:
        if self.span is not None:
            names = {PARAMETERS[name]: value for name, value in request.parameters.items() if name in PARAMETERS}
            self.span.set_attributes(names)

    def answered(self, answer: Completion) -> None:
        if self.span is None:
            return
        attributes: dict[str, Any] = {
            gen_ai.GEN_AI_RESPONSE_FINISH_REASONS: [answer.finish_reason or "stop"],
            gen_ai.GEN_AI_USAGE_INPUT_TOKENS: answer.tokens_in,
            gen_ai.GEN_AI_USAGE_OUTPUT_TOKENS: answer.tokens_out,
            gen_ai.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: answer.tokens_cached,
            gen_ai.GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS: answer.tokens_cache_write,
        }
        attributes |= {gen_ai.GEN_AI_RESPONSE_MODEL: answer.model} if answer.model else {}
        attributes |= {gen_ai.GEN_AI_RESPONSE_ID: answer.request_id} if answer.request_id else {}
        self.span.set_attributes(attributes)

    def end(self, error: str = "") -> None:
        _end(self.span, error)


@dataclass
class CallTrace:
    """The trace of a call: its id (empty where there is none), and what goes on to providers."""

    id: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    span: Span | None = None
    tracer: Tracer | None = None

    def asking(self, endpoint: Endpoint, model: str) -> AskSpan:
        """Begin the span of a model that is asked."""
        if self.tracer is None or self.span is None:
            return AskSpan(self.headers)
        address = urlsplit(endpoint.base_url)
        attributes: dict[str, Any] = {
            gen_ai.GEN_AI_OPERATION_NAME: "chat",
            gen_ai.GEN_AI_PROVIDER_NAME: PROVIDERS.get(endpoint.protocol, endpoint.protocol),
            gen_ai.GEN_AI_REQUEST_MODEL: model,
            server_attributes.SERVER_ADDRESS: address.hostname or "",
            server_attributes.SERVER_PORT: address.port or (80 if address.scheme == "http" else 443),
        }
        within = set_span_in_context(self.span)
        span = self.tracer.start_span(f"chat {model}", within, SpanKind.CLIENT, attributes)
        headers: dict[str, str] = {}
        W3C.inject(headers, set_span_in_context(span))
        return AskSpan(headers, span)

    def end(self, record: Mapping[str, Any] | None, version: str, error: str) -> None:
        """End the span of the call with what its record says."""
        if self.span is None:
            return
        prompt, _, number = version.rpartition("@")
        attributes: dict[str, Any] = {gen_ai.GEN_AI_PROMPT_NAME: prompt, "gen_ai.prompt.version": number}
        for name in ("reference", "environment", "route", "fallback", "config_hash", "is_repaired", "is_cached"):
            if record and record[name]:
                attributes[f"cuebook.{'call' if name == 'reference' else name}"] = record[name]
        if record and record["cost_usd"] is not None:
            attributes["cuebook.cost_usd"] = float(record["cost_usd"])
        self.span.set_attributes(attributes)
        _end(self.span, error)


class Traces:
    """Where traces of calls begin; one a process. Without an `exporter`, and without an endpoint in the environment by
    OpenTelemetry's names, nothing is exported."""

    def __init__(self, exporter: SpanExporter | None = None) -> None:
        self._provider: TracerProvider | None = None
        if exporter is None and any(os.environ.get(name) for name in ENDPOINTS):
            exporter = OTLPSpanExporter()
        if exporter is not None:
            # The process's name by OTEL_SERVICE_NAME, where that is set.
            name = os.environ.get("OTEL_SERVICE_NAME") or "cuebook-inference"
            self._provider = TracerProvider(resource=Resource.create({"service.name": name}))
            self._provider.add_span_processor(BatchSpanProcessor(exporter))

    def begin(self, target: str, headers: Mapping[str, str]) -> CallTrace:
        """Begin the trace of a call, below the one that the caller is in, if any."""
        own_headers = {
            name: headers[name] for name in CONTEXT_HEADERS if len(headers.get(name, "")) in range(1, MAX_HEADER)
        }
        parent = W3C.extract(own_headers) if own_headers else Context()
        context = get_current_span(parent).get_span_context()
        if self._provider is None:
            return CallTrace(f"{context.trace_id:032x}", own_headers) if context.is_valid else CallTrace()
        tracer = self._provider.get_tracer("cuebook")
        span = tracer.start_span(f"inference {target}", parent, SpanKind.SERVER)
        return CallTrace(f"{span.get_span_context().trace_id:032x}", own_headers, span, tracer)

    def close(self) -> None:
        """Export what is left; at most for a few seconds."""
        if self._provider is not None:
            self._provider.shutdown()


def _end(span: Span | None, error: str) -> None:
    if span is None:
        return
    if error:
        span.set_attribute(error_attributes.ERROR_TYPE, error)
        span.set_status(Status(StatusCode.ERROR, error))
    span.end()
