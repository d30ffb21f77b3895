"""How much a protobuf message of OTLP holds, before it is parsed: a small body may be millions of empty parts. Pure."""

from core.errors import Problem

# Resources, scopes, spans and their fields together. An exporter sends 512 spans at once, with some dozen fields each.
MAX_FIELDS = 200_000
# Below the request: resources (1), scopes (2), spans (2); what a span has is counted, and not looked into.
PATH = (1, 2, 2)
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def check_size(body: bytes) -> None:
    """Raise `request.too_large` for too many fields, `request.malformed` where these are none."""
    _count(memoryview(body), 0, 0)


def _count(body: "memoryview", depth: int, fields: int) -> int:
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
            if depth < len(PATH) and tag >> 3 == PATH[depth]:
                fields = _count(body[at : at + length], depth + 1, fields)
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
