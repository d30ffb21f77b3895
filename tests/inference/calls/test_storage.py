"""Storing calls: each once, however it comes, and added up in the same transaction."""

import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from inference.calls import log as call_log
from inference.calls import partitions, storage
from inference.models import Call, RollupSpan, UsageRollup
from inference.usage import rollups
from inference.usage.stats import UsageStats, sum_usage
from registry.accounts import permissions
from registry.accounts.permissions import Actor
from registry.models import PromptVersion
from tests.conftest import Stage
from tests.inference.calls.conftest import call

SUMS = """
SELECT count(*), count(*) FILTER (WHERE failed), count(format_ok), count(*) FILTER (WHERE format_ok), count(score),
  coalesce(sum(score), 0), count(latency_ms), coalesce(sum(latency_ms), 0), coalesce(sum(tokens_in), 0),
  coalesce(sum(tokens_out) FILTER (WHERE tokens_in IS NOT NULL), 0), coalesce(sum(cost_usd), 0)
FROM inference_call WHERE version_id = %s AND at >= %s AND at < %s
"""


def stored(version: PromptVersion, reference: str, at: datetime, **members: Any) -> dict[str, Any]:
    own = {"project": version.prompt.project_id, "version": version.pk, "environment": "production"}
    return storage.new_call(**own, reference=reference, at=at, **members)


def total() -> UsageStats:
    return sum_usage(map(rollups.usage_in, UsageRollup.objects.all()))


def together(*works: Callable[[], object]) -> None:
    """Run works in threads of their own, at the same time."""
    start = threading.Barrier(len(works))
    faults: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            start.wait()
            work()
        except BaseException as fault:
            faults.append(fault)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults, faults


def test_a_call_sent_again_counts_once_though_its_moment_is_another(version: PromptVersion):
    midnight = timezone.now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    seconds = timedelta(seconds=5)

    assert len(storage.store([stored(version, "a", midnight - seconds)])) == 1
    assert storage.store([stored(version, "a", midnight + seconds), stored(version, "a", midnight + seconds)]) == []

    assert Call.objects.count() == total().calls == 1


def test_calls_of_any_day_have_a_place(version: PromptVersion):
    """The inference service records what was made while the database was away, however long that took."""
    long_ago = timezone.now() - timedelta(days=60)

    storage.store([stored(version, "old", long_ago), stored(version, "new", timezone.now())])

    assert partitions.day_of(long_ago) in partitions.days_present()
    assert Call.objects.get(reference="old").day == partitions.day_of(long_ago)


def test_the_same_figures_come_out_of_the_calls_themselves(version: PromptVersion):
    chance = random.Random(7)  # noqa: S311 - no secret
    now = timezone.now().replace(second=0, microsecond=0)
    calls = [
        stored(
            version,
            f"call-{number}",
            now - timedelta(minutes=chance.uniform(0, 3_000)),
            failed=chance.random() < 0.1,
            latency_ms=chance.choice([None, chance.uniform(1, 5_000)]),
            tokens_in=chance.choice([None, chance.randrange(5_000)]),
            tokens_out=chance.randrange(500),
            cost_usd=chance.choice([None, round(chance.uniform(0, 0.1), 8)]),
            format_ok=chance.choice([None, True, False]),
            score=chance.choice([None, chance.random()]),
        )
        for number in range(600)
    ]
    for start in range(0, 600, 70):
        storage.store(calls[start : start + 70])
    rollups.merge(now - timedelta(hours=20))

    for since, until in ((3_001, -1), (2_000, 1_000), (17, 16)):
        span = (now - timedelta(minutes=since), now - timedelta(minutes=until))
        stats = sum_usage(map(rollups.usage_in, rollups.between(*span, version=version)))
        with connection.cursor() as cursor:
            cursor.execute(SUMS, [version.pk, *span])
            expected = [float(value) for value in cursor.fetchone() or ()]
        assert [
            *(stats.calls, stats.failed, stats.formatted, stats.format_ok, stats.scored, stats.score_sum),
            *(stats.timed, stats.latency_sum, stats.tokens_in, stats.tokens_out, stats.cost_usd),
        ] == pytest.approx(expected)


def test_two_that_bring_the_same_calls_at_once_count_them_once(live_stage: Stage):
    version = live_stage.commit(live_stage.prompt(), "Sort it.")
    actor = permissions.actor_for_command_line(live_stage.project)
    calls = [call(number, prompt=str(version)) for number in range(300)]

    together(*(lambda: call_log.record(actor, calls) for _ in range(4)))

    assert Call.objects.count() == total().calls == 300


def test_usage_that_is_merged_while_calls_come_loses_none(live_stage: Stage):
    version = live_stage.commit(live_stage.prompt(), "Sort it.")
    at = timezone.now() - timedelta(hours=1)

    def come(name: str) -> None:
        for batch in range(20):
            storage.store([stored(version, f"{name}-{batch}-{number}", at) for number in range(10)])

    def merge() -> None:
        for _ in range(30):
            rollups.merge()

    together(lambda: come("a"), lambda: come("b"), merge, merge)
    assert total().calls == 400
    while rollups.merge():
        pass

    (row,) = UsageRollup.objects.all()
    assert (row.is_delta, row.minutes, rollups.usage_in(row).calls) == (False, RollupSpan.MINUTE, 400)


def test_what_a_service_reports_is_written_as_it_is(service: Actor, version: PromptVersion):
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    members = {"subject": "user-17", "trace": trace, "metadata": {"team": "a"}, "finish_reason": "stop"}
    call_log.record(service, [call(1, error="timeout", time_to_first_token_ms=12.5, cost_usd="0.00125", **members)])

    row = Call.objects.get()

    assert (row.failed, row.error, row.subject, row.trace) == (True, "timeout", "user-17", trace)
    assert (row.metadata, row.finish_reason, row.time_to_first_token_ms) == ({"team": "a"}, "stop", 12.5)
    assert total().errors == {"timeout": 1}
