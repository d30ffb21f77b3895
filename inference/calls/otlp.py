"""OTLP over HTTP: spans of OpenTelemetry, as protobuf and as JSON, recorded as calls."""

import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import connection
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from core.errors import Problem
from core.json_values import read_request_body
from inference.calls import log, spans, wire
from inference.calls.spans import Span
from registry.accounts.permissions import Actor, Right

MAX_BYTES = 4_000_000
# A compressed body may unfold to so much.
MAX_UNPACKED_BYTES = 8_000_000
PROTOBUF, JSON = "application/x-protobuf", "application/json"
HEX = re.compile(r"[0-9a-fA-F]*")
MAX_DEPTH = 8
# A span whose members are none.
UNREADABLE = "unreadable"
COUNT_SPANS = """
INSERT INTO inference_spancount (project_id, day, reason, spans)
SELECT %s, (now() AT TIME ZONE 'UTC')::date, reason, spans FROM unnest(%s::text[], %s::bigint[]) counted(reason, spans)
ON CONFLICT (project_id, day, reason) DO UPDATE SET spans = inference_spancount.spans + excluded.spans
"""


@dataclass(frozen=True)
class TakenSpans:
    """Numbers of spans that were recorded as calls, or had been before; and why others were not: reason to number."""

    recorded: int
    repeated: int
    left_out: Mapping[str, int]

    @property
    def rejected(self) -> int:
        """The spans that are calls of prompts, and have faults: what else a service does is none of our business."""
        none_of_ours = sum(self.left_out.get(name, 0) for name in (spans.NO_CALL, spans.NO_PROMPT))
        # Of these the call was recorded, without the arm.
        recorded = sum(count for name, count in self.left_out.items() if name.startswith("experiment."))
        return sum(self.left_out.values()) - none_of_ours - recorded


def unpack(body: bytes, encoding: str) -> bytes:
    """Return a body as it was before it was compressed; `request.malformed` or `request.too_large`."""
    if encoding in ("", "identity"):
        return body
    if encoding != "gzip":
        raise Problem("request.malformed", "The body is compressed in a way that is not known here; gzip is.")
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
            unpacked = file.read(MAX_UNPACKED_BYTES + 1)
    except (OSError, EOFError, zlib.error):
        raise Problem("request.malformed", "The body is not gzip.") from None
    if len(unpacked) > MAX_UNPACKED_BYTES:
        raise Problem("request.too_large", f"A body unfolds to at most {MAX_UNPACKED_BYTES:,} bytes.")
    return unpacked


def record(actor: Actor, body: bytes, media_type: str) -> TakenSpans:
    """Record the calls among the spans of a request; count the other spans. None is refused for being unknown."""
    actor.require(Right.OBSERVE)
    sent = _read_json(body) if media_type == JSON else _read_protobuf(body)
    calls: list[dict[str, Any]] = []
    left_out: Counter[str] = Counter()
    for span in sent:
        read = _read_span(span) if span else UNREADABLE
        if isinstance(read, str):
            left_out[read] += 1
        else:
            calls.append(read)
    recorded = repeated = 0
    for start in range(0, len(calls), log.MAX_BATCH_SIZE):
        result, faults = log.record_readable(actor, calls[start : start + log.MAX_BATCH_SIZE])
        recorded += result.recorded
        repeated += result.repeated
        left_out.update(faults)
    if left_out:
        # In one order for all who count.
        reasons = sorted(left_out)
        with connection.cursor() as cursor:
            cursor.execute(COUNT_SPANS, [actor.project.pk, reasons, [left_out[reason] for reason in reasons]])
    return TakenSpans(recorded, repeated, left_out)


def _read_span(span: Span) -> dict[str, Any] | str:
    """Read a span; one that nobody can read takes no other along."""
    try:
        return spans.read_span(span)
    except (ValueError, OverflowError, RecursionError, TypeError, OSError):
        # OSError: of a moment that the machine's calendar does not have.
        return UNREADABLE


def _read_protobuf(body: bytes) -> Iterator[Span | None]:
    wire.check_size(body)
    try:
        request = ExportTraceServiceRequest.FromString(body)
    except DecodeError:
        raise Problem("request.malformed", "The body is no ExportTraceServiceRequest of OTLP.") from None
    for group in request.resource_spans:
        resource = _attributes(group.resource.attributes)
        for scope in group.scope_spans:
            for span in scope.spans:
                yield Span(
                    trace=span.trace_id.hex(),
                    span=span.span_id.hex(),
                    start=span.start_time_unix_nano,
                    end=span.end_time_unix_nano,
                    attributes=_attributes(span.attributes),
                    resource=resource,
                    status=span.status.code,
                )


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue, depth: int = 0) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value" and depth < MAX_DEPTH:
        return [_value(each, depth + 1) for each in value.array_value.values]
    if kind == "string_value":
        # PostgreSQL has no such character.
        return value.string_value.replace("\0", "\ufffd")
    return getattr(value, kind) if kind in ("int_value", "double_value", "bool_value") else None


def _read_json(body: bytes) -> Iterator[Span | None]:
    document = read_request_body(body)
    try:
        yield from _spans_of(document)
    except (AttributeError, TypeError, KeyError, ValueError):
        raise Problem("request.malformed", "The body is no ExportTraceServiceRequest of OTLP.") from None


def _spans_of(document: Any) -> Iterator[Span | None]:
    """Yield the spans of a request; None for one whose members cannot be read."""
    for group in document.get("resourceSpans") or ():
        resource = _json_attributes((group.get("resource") or {}).get("attributes"))
        for scope in group.get("scopeSpans") or ():
            for span in scope.get("spans") or ():
                yield _json_span(span, resource)


def _json_span(span: Any, resource: Mapping[str, Any]) -> Span | None:
    if not isinstance(span, dict) or "startTimeUnixNano" not in span:
        raise ValueError("a span has its times")
    try:
        return Span(
            trace=_hexadecimal(span.get("traceId")),
            span=_hexadecimal(span.get("spanId")),
            start=int(span["startTimeUnixNano"]),
            end=int(span.get("endTimeUnixNano") or 0),
            attributes=_json_attributes(span.get("attributes")),
            resource=resource,
            status=_status(span.get("status")),
        )
    except (AttributeError, TypeError, KeyError, ValueError, OverflowError):
        return None


def _hexadecimal(value: object) -> str:
    if not isinstance(value, str) or not HEX.fullmatch(value):
        raise ValueError("ids are hexadecimal digits")
    return value.lower()


def _status(value: Any) -> int:
    code = (value or {}).get("code", 0)
    return spans.ERROR_STATUS if code in (spans.ERROR_STATUS, "STATUS_CODE_ERROR") else 0


def _json_attributes(pairs: Any) -> dict[str, Any]:
    return {pair["key"]: _json_value(pair.get("value") or {}) for pair in pairs or ()}


def _json_value(value: Any, depth: int = 0) -> Any:
    if "stringValue" in value:
        return value["stringValue"]
    if "intValue" in value:
        # 64 bits are a text in JSON.
        return int(value["intValue"])
    if "arrayValue" in value and depth < MAX_DEPTH:
        return [_json_value(each, depth + 1) for each in value["arrayValue"].get("values") or ()]
    return value.get("doubleValue", value.get("boolValue"))
