"""Which failed calls are tried again, and when."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from evaluations.providers.chat import CallError, Remedy
from evaluations.providers.retries import MAX_TRIES, asked_pause_seconds, is_retried, pause_seconds


def rate_limited(retry_after: float | None = None, remedy: Remedy = Remedy.RETRY) -> CallError:
    return CallError("call.rate_limited", "429", remedy, retry_after)


def test_a_pause_is_asked_for_in_seconds_milliseconds_or_until_a_date():
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert asked_pause_seconds({"retry-after": "12"}) == 12
    assert asked_pause_seconds({"retry-after": "0.5"}) == 0.5
    assert asked_pause_seconds({"retry-after-ms": "250", "retry-after": "1"}) == 0.25
    assert 50 < (asked_pause_seconds({"retry-after": in_a_minute}) or 0) <= 60


@pytest.mark.parametrize("header", ["", "soon", "-1", "nan", "1e3", "99999999"])
def test_what_cannot_be_read_asks_for_nothing(header: str):
    assert asked_pause_seconds({"retry-after": header, "retry-after-ms": "x"}) is None


def test_retries_end_and_respect_long_pauses():
    assert is_retried(rate_limited(), 1)
    assert is_retried(rate_limited(29), MAX_TRIES - 1)
    assert not is_retried(rate_limited(), MAX_TRIES)
    assert not is_retried(rate_limited(31), 1)
    assert not is_retried(rate_limited(remedy=Remedy.CONFIGURE), 1)


def test_pauses_grow_unless_the_provider_says_how_long():
    assert pause_seconds(rate_limited(3), 4) == 3
    assert 0.375 <= pause_seconds(rate_limited(), 1) <= 0.625
    assert 1.5 <= pause_seconds(rate_limited(), 3) <= 2.5
