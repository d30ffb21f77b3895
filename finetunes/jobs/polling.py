"""When to look again at a job that somebody else runs. Pure."""

import random

FIRST, LONGEST = 5.0, 300.0
# After a failure the pauses grow faster: the provider has trouble enough.
FIRST_SETBACK, LONGEST_SETBACK = 10.0, 900.0
JITTER = 0.2
LONGEST_RETRY_AFTER = 6 * 3_600.0
# By then the pauses are as long as they get, and the power of a job that waits for weeks has no end.
MOST_DOUBLED = 20


def pause(unchanged: int, lot: random.Random | None = None) -> float:
    """Seconds until the next look, after so many looks at which nothing had changed."""
    return _spread(min(LONGEST, FIRST * 1.5 ** min(unchanged, MOST_DOUBLED)), lot)


def pause_after(setbacks: int, retry_after: float | None = None, lot: random.Random | None = None) -> float:
    """Seconds until the next try, after so many failures in a row; never sooner than the provider asked for."""
    own = _spread(min(LONGEST_SETBACK, FIRST_SETBACK * 2 ** min(max(0, setbacks - 1), MOST_DOUBLED)), lot)
    return max(own, min(retry_after or 0.0, LONGEST_RETRY_AFTER))


def _spread(seconds: float, lot: random.Random | None) -> float:
    # Jobs that were started together must not ask together for ever.
    drawn = (lot or random).uniform(1 - JITTER, 1 + JITTER)
    return seconds * drawn
