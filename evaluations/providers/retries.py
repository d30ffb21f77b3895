"""Which failed calls are tried again, how often and after which pause: 429, overload, lost connections. Pure.

evaluations.providers.caller does it; evaluations.providers.transport.openai_client says which answer calls for it.
"""

import random
from collections.abc import Mapping

from core.retry_after import parse_retry_after
from evaluations.providers.chat import CallError, Remedy

MAX_TRIES = 5
FIRST_PAUSE_SECONDS = 0.5
MAX_PAUSE_SECONDS = 20.0
DAY_SECONDS = 86_400.0
# A worker does not wait for a provider that asks for a longer pause.
MAX_RETRY_AFTER_SECONDS = 30.0


def is_retried(error: CallError, tries: int) -> bool:
    """Return whether a call that failed `tries` times is tried again here; otherwise its caller backs off or gives
    up."""
    asked_pause = error.retry_after or 0.0
    return error.remedy == Remedy.RETRY and tries < MAX_TRIES and asked_pause <= MAX_RETRY_AFTER_SECONDS


def pause_seconds(error: CallError, tries: int) -> float:
    """Return how long to wait before the next try: what the provider asks for, else twice as long each time, with
    jitter (calls that failed together must not come back together)."""
    own_pause = min(MAX_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (tries - 1))
    return error.retry_after or own_pause * random.uniform(0.75, 1.25)  # noqa: S311 - no secret


def asked_pause_seconds(headers: Mapping[str, str]) -> float | None:
    """Return the pause that a provider asks for: `retry-after-ms`, or `retry-after` in seconds or as a date. None where
    it asks for none, or for more than a day."""
    pause: float | None
    try:
        pause = float(headers.get("retry-after-ms", "")) / 1000
    except ValueError:
        pause = parse_retry_after(headers.get("retry-after"))
    return pause if pause is not None and 0 <= pause < DAY_SECONDS else None
