"""When to look again at a job that somebody else runs. Pure."""

import random

FIRST, LONGEST = 5.0, 300.0
# After a failure the pauses grow faster: the provider has trouble enough.
FIRST_SETBACK, LONGEST_SETBACK = 10.0, 900.0
JITTER = 0.2
LONGEST_RETRY_AFTER = 6 * 3_600.0


def pause(unchanged: int, lot: random.Random | None = None) -> float:
    """Seconds until the next look, after so many looks at which nothing had changed."""
    return _spread(min(LONGEST, FIRST * 1.5**unchanged), lot)


def pause_after(setbacks: int, retry_after: float | None = None, lot: random.Random | None = None) -> float:
    """Seconds until the next try, after so many failures in a row; never sooner than the provider asked for."""
    own = _spread(min(LONGEST_SETBACK, FIRST_SETBACK * 2 ** max(0, setbacks - 1)), lot)
    return max(own, min(retry_after or 0.0, LONGEST_RETRY_AFTER))


def _spread(seconds: float, lot: random.Random | None) -> float:
    # Jobs that were started together must not ask together for ever.
    drawn = (lot or random).uniform(1 - JITTER, 1 + JITTER)
    return seconds * drawn
