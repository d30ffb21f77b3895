"""How long a server asks to wait: the header `Retry-After` (RFC 9110, 10.2.3), for the client and for providers."""

from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

UTC = timezone.utc  # noqa: UP017 - the client runs on Python 3.10 too


def parse_retry_after(header: str | None) -> float | None:
    """Return the seconds of a `Retry-After`; None where it is not readable. RFC 9110 has whole seconds or a date; some
    servers send fractions of seconds."""
    text = (header or "").strip()
    if not text:
        return None
    if text.replace(".", "", 1).isdecimal():
        return float(text[:9])
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, OverflowError, TypeError):
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())
