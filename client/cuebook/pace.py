"""When to ask again: at an interval with jitter, and after failures ever more seldom."""

import random
import time
from collections.abc import Callable
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

FIRST_REST_SECONDS = 1.0
LONGEST_REST_SECONDS = 300.0
# A server may ask for more than we would wait by ourselves, but not for ever.
LONGEST_RETRY_AFTER_SECONDS = 3_600.0


class Pace:
    """Of one client. A thousand processes that began together, or lost the server together, do not ask together."""

    def __init__(self, interval: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = interval
        self._clock = clock
        self._failures = 0
        self._rests_until = 0.0

    def succeeded(self) -> None:
        self._failures = 0
        self._rests_until = 0.0

    def failed(self, retry_after: float | None = None) -> None:
        """Rest twice as long as after the failure before (half of that to one and a half times), or as was asked."""
        longest = min(LONGEST_REST_SECONDS, FIRST_REST_SECONDS * 2 ** min(self._failures, 16))
        self._failures += 1
        rest = longest * random.uniform(0.5, 1.5)  # noqa: S311 - jitter
        asked = min(retry_after or 0.0, LONGEST_RETRY_AFTER_SECONDS)
        # A little later than asked: all who were told the same would come back at once.
        self._rests_until = self._clock() + max(rest, asked * random.uniform(1.0, 1.2))  # noqa: S311 - jitter

    @property
    def is_resting(self) -> bool:
        """Whether a failure is so recent that asking would only cost time."""
        return self._clock() < self._rests_until

    def wait(self) -> float:
        """Seconds until the next refresh."""
        if self._failures:
            return max(0.0, self._rests_until - self._clock())
        return self._interval * random.uniform(0.8, 1.2)  # noqa: S311 - jitter


def retry_after(header: str | None) -> float | None:
    """Seconds that a `Retry-After` asks for (a number or a date, RFC 9110); None where it says nothing readable."""
    if not header:
        return None
    if header.strip().isdecimal():
        return float(header.strip()[:9])
    try:
        until = parsedate_to_datetime(header)
    except (ValueError, OverflowError, TypeError):
        return None
    until = until if until.tzinfo else until.replace(tzinfo=timezone.utc)
    return max(0.0, (until - datetime.now(timezone.utc)).total_seconds())
