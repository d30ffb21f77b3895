"""Pauses between polls of a job at its provider. Pure."""

import random

FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 5.0, 300.0
# After a failure the pauses grow faster, to spare the provider.
FIRST_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 10.0, 900.0
JITTER = 0.2
MAX_RETRY_AFTER_SECONDS = 6 * 3_600.0
# By then the pauses are at their maximum; without a bound the power of a job that waits for weeks overflows.
MAX_DOUBLINGS = 20


def pause_seconds(unchanged: int, rng: random.Random | None = None) -> float:
    """Return seconds until the next poll, after so many polls without a change."""
    return _with_jitter(min(MAX_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 1.5 ** min(unchanged, MAX_DOUBLINGS)), rng)


def backoff_seconds(
    consecutive_failures: int, retry_after: float | None = None, rng: random.Random | None = None
) -> float:
    """Return seconds until the next try, after so many failures in a row; never sooner than the provider asks for."""
    own = _with_jitter(
        min(MAX_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2 ** min(max(0, consecutive_failures - 1), MAX_DOUBLINGS)), rng
    )
    return max(own, min(retry_after or 0.0, MAX_RETRY_AFTER_SECONDS))


def _with_jitter(seconds: float, rng: random.Random | None) -> float:
    # Jobs that were started together must not poll together for ever.
    drawn = (rng or random).uniform(1 - JITTER, 1 + JITTER)
    return seconds * drawn
