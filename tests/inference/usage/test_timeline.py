"""The charts of a prompt's calls, with its releases marked."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from inference.calls import log as call_log
from inference.models import RollupSpan
from inference.monitoring import timeline
from registry.accounts import permissions
from registry.models import PromptVersion
from tests.conftest import Stage
from tests.inference.calls.conftest import call


@pytest.fixture
def version(stage: Stage) -> PromptVersion:
    version = stage.commit(stage.prompt(), "Sort it.")
    stage.release(version)
    service = permissions.actor_for_command_line(stage.project)
    now = timezone.now()
    call_log.record(
        service,
        [
            call(hours, at=now - timedelta(hours=hours), score=0.4 + hours % 3 / 10, cost_usd=0.001, failed=hours == 3)
            for hours in range(40)
        ],
    )
    return version


@pytest.mark.parametrize(("days", "span"), [(1, RollupSpan.HOUR), (7, RollupSpan.DAY)])
def test_a_day_is_drawn_by_the_hour_and_more_by_the_day(version: PromptVersion, days: int, span: RollupSpan):
    drawn = timeline.timeline_of(version.prompt, "production", days)

    assert drawn.span == span
    assert all((start - drawn.since) % timedelta(minutes=span) == timedelta() for start in drawn.steps)
    # An hour or a day that is not whole is not at the beginning.
    assert drawn.since >= timezone.now() - timedelta(days=days)
    charts = {chart.key: chart for chart in timeline.charts_of(drawn)}
    assert set(charts) == {"volume", "latency", "tokens", "cost", "quality", "failures"}
    assert [curve.name for curve in charts["latency"].curves] == ["p50", "p95", "p99"]
    (mark,) = charts["volume"].marks
    assert mark.label == "v1, promoted"
    assert mark.x <= charts["volume"].right


def test_the_page_draws_them_and_sets_two_versions_against_each_other(
    stage: Stage, client: Client, version: PromptVersion
):
    second = stage.commit(version.prompt, "Sort it well.")
    service = permissions.actor_for_command_line(stage.project)
    calls = [
        call(number, prompt=str(second), id=f"b{number}", score=0.9 + number % 2 / 10, format_ok=True)
        for number in range(40)
    ]
    call_log.record(service, calls)
    client.force_login(stage.vera.user)
    address = f"/p/{stage.project.slug}/prompts/support.triage/live/"

    page = client.get(address, {"days": "7"}).content.decode()
    assert "Format and score, %" in page
    assert 'class="release"' in page
    assert "v2 better" in page
    swapped = client.get(address, {"days": "7", "first": "2", "second": "1"}).content.decode()
    assert "v1 worse" in swapped
    assert "Choose two different versions" in client.get(address, {"first": "2", "second": "2"}).content.decode()
    assert client.get(address, {"first": "x", "days": "1"}).status_code == 200
