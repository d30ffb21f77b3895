"""Limits that all workers share: whoever asks reserves a turn, and no two get the same."""

import threading
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from django.db import connection
from django.utils import timezone

from evaluations.models import Provider, ProviderModel
from evaluations.providers import rate_limits
from tests.conftest import Stage
from tests.evaluations.conftest import make_model


def limited(model: ProviderModel, **limits: int) -> Provider:
    Provider.objects.filter(pk=model.provider_id).update(**limits)
    return Provider.objects.get(pk=model.provider_id)


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_get_turns_that_keep_the_limit(live_stage: Stage):
    provider = limited(make_model(live_stage), requests_per_minute=120)
    turns: list[datetime] = []
    together = threading.Barrier(4)

    def work() -> None:
        try:
            together.wait(10)
            turns.extend(rate_limits.reserve(provider, requests=1, tokens=10) for _ in range(15))
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)

    # What may go at once after a pause goes now; every further call half a second after the one before.
    now = min(turns)
    later = sorted(turn for turn in turns if turn > now + timedelta(seconds=0.3))
    at_once = len(turns) - len(later)
    assert len(turns) == 60
    assert at_once <= rate_limits.BURST.total_seconds() * 2 + 2
    gaps = [(second - first).total_seconds() for first, second in pairwise(later)]
    assert min(gaps) == pytest.approx(0.5, abs=0.01)


@pytest.mark.usefixtures("sandbox")
def test_the_slower_of_two_limits_counts(stage: Stage, model: ProviderModel):
    provider = limited(model, requests_per_minute=60_000, tokens_per_minute=600)
    for _ in range(10):
        turn = rate_limits.reserve(provider, requests=1, tokens=100)

    # A thousand tokens at ten a second, less what goes at once.
    assert 80 < (turn - timezone.now()).total_seconds() < 100


@pytest.mark.usefixtures("sandbox")
def test_a_provider_that_wants_to_be_left_alone_is(stage: Stage, model: ProviderModel):
    provider = limited(model, requests_per_minute=60)
    until = timezone.now() + timedelta(minutes=5)

    rate_limits.block(provider, until)
    rate_limits.block(provider, until - timedelta(minutes=2))

    assert rate_limits.blocked_until(provider) == until, "The longer pause stays."
    assert rate_limits.reserve(provider, requests=1, tokens=1) == until


@pytest.mark.usefixtures("sandbox")
def test_without_limits_everything_may_go_at_once(stage: Stage, model: ProviderModel):
    assert not rate_limits.is_limited(model.provider)
    turns = [rate_limits.reserve(model.provider, requests=1, tokens=10_000) for _ in range(50)]

    assert max(turns) - min(turns) < timedelta(seconds=5)
