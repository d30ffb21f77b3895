"""The schedule of refreshes: an interval with jitter, and exponential backoff after failures."""

import random
import time
from collections.abc import Callable

MIN_BACKOFF_SECONDS = 1.0
MAX_BACKOFF_SECONDS = 300.0
# A server may ask for a longer wait than our own backoff, but not for ever.
MAX_RETRY_AFTER_SECONDS = 3_600.0


class RefreshSchedule:
    """The schedule of one client. Jitter spreads the requests of processes that started, or lost the server,
    together."""

    def __init__(self, interval: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = interval
        self._clock = clock
        self._failures = 0
        self._backs_off_until = 0.0

    def succeeded(self) -> None:
        self._failures = 0
        self._backs_off_until = 0.0

    def failed(self, retry_after: float | None = None) -> None:
        """Back off twice as long as after the previous failure (with jitter of 50 %), or as the server asked."""
        backoff = min(MAX_BACKOFF_SECONDS, MIN_BACKOFF_SECONDS * 2 ** min(self._failures, 16))
        self._failures += 1
        wait = backoff * random.uniform(0.5, 1.5)  # noqa: S311 - jitter
        requested = min(retry_after or 0.0, MAX_RETRY_AFTER_SECONDS)
        # A little later than requested: all clients with the same header would come back at once.
        self._backs_off_until = self._clock() + max(wait, requested * random.uniform(1.0, 1.2))  # noqa: S311 - jitter

    @property
    def is_backing_off(self) -> bool:
        """True if a failure is so recent that another request would only cost time."""
        return self._clock() < self._backs_off_until

    def wait(self) -> float:
        """Return the seconds until the next refresh."""
        if self._failures:
            return max(0.0, self._backs_off_until - self._clock())
        return self._interval * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
