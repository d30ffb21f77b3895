"""How much a protobuf message of OTLP holds, before it is parsed: a small body may be millions of empty parts. Pure."""

from core.errors import Problem

# Everything together, down to the values of attributes. An exporter sends 512 spans at once; 128 attributes of a span,
# which is OpenTelemetry's own limit, are some 500 fields.
MAX_FIELDS = 400_000
# Messages, by the fields that have messages in them (opentelemetry/proto/trace/v1 and common/v1).
MESSAGES: dict[str, dict[int, str]] = {
    "request": {1: "resource spans"},
    "resource spans": {1: "resource", 2: "scope spans"},
    "resource": {1: "pair"},
    "scope spans": {1: "scope", 2: "span"},
    "scope": {3: "pair"},
    "span": {9: "pair", 11: "event", 13: "link"},
    "event": {3: "pair"},
    "link": {4: "pair"},
    "pair": {2: "value"},
    "value": {5: "array", 6: "pairs"},
    "array": {1: "value"},
    "pairs": {1: "pair"},
}
# What is deeper is refused by the parser.
MAX_DEPTH = 100
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def check_size(body: bytes) -> None:
    """Raise `request.too_large` for too many fields; `request.malformed` where a large body has none."""
    # A field has two bytes at least: a usual batch need not be counted.
    if len(body) > 2 * MAX_FIELDS:
        _count(memoryview(body), "request", 0, 0)


def _count(body: "memoryview", message: str, depth: int, fields: int) -> int:
    below = MESSAGES[message] if depth < MAX_DEPTH else {}
    at, end = 0, len(body)
    while at < end:
        fields += 1
        if fields > MAX_FIELDS:
            raise Problem("request.too_large", f"A request of OTLP has at most {MAX_FIELDS:,} fields.")
        tag, at = _varint(body, at)
        kind = tag & 7
        if kind == BYTES:
            length, at = _varint(body, at)
            if at + length > end:
                raise _malformed()
            if inner := below.get(tag >> 3):
                fields = _count(body[at : at + length], inner, depth + 1, fields)
            at += length
        elif kind == VARINT:
            _, at = _varint(body, at)
        elif kind in (FIXED64, FIXED32):
            at += 8 if kind == FIXED64 else 4
        else:
            raise _malformed()
    return fields


def _varint(body: "memoryview", at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(body) and shift < 64:
        byte = body[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise _malformed()


def _malformed() -> Problem:
    return Problem("request.malformed", "The body is no ExportTraceServiceRequest of OTLP.")
