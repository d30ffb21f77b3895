"""Burn: money at this pace, and slow calls as a multiple of what is allowed, over two windows."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from evaluations.comparisons import slas
from inference.calls import storage
from inference.models import Monitor
from inference.monitoring import monitors
from registry.models import PromptVersion
from tests.conftest import Stage


@pytest.fixture
def version(stage: Stage) -> PromptVersion:
    version = stage.commit(stage.prompt(), "Sort it.")
    stage.release(version)
    return version


def called(version: PromptVersion, count: int, *, slow: int = 0, ago: float = 1, cost: str = "0.01") -> None:
    own = {"project": version.prompt.project_id, "version": version.pk, "environment": "production"}
    at = timezone.now() - timedelta(hours=ago)
    storage.store(
        [
            storage.new_call(
                **own,
                reference=f"{ago}-{number}",
                at=at,
                latency_ms=5_000.0 if number < slow else 200.0,
                cost_usd=Decimal(cost),
            )
            for number in range(count)
        ]
    )


def looked(stage: Stage, version: PromptVersion, figure: str, bound: float) -> Monitor:
    return monitors.look(monitors.create(stage.edith, version.prompt, figure=figure, bound=bound, hours=24))


def test_a_day_costs_what_its_pace_comes_to(stage: Stage, version: PromptVersion):
    called(version, 500, cost="0.02")
    monitor = monitors.create(stage.edith, version.prompt, figure="cost_a_day", bound=50, hours=12)
    monitor = monitors.look(monitor)
    assert (monitor.value, monitor.state) == (pytest.approx(20), "ok")
    called(version, 1_000, ago=2, cost="0.02")
    assert monitors.look(monitor).state == "alert"


def test_slow_calls_are_counted_against_what_is_allowed(stage: Stage, version: PromptVersion):
    slas.set_slas(stage.ada, {"p99_latency_ms": 1_000})
    called(version, 1_000, slow=100)
    monitor = looked(stage, version, "latency_burn", 5)
    assert (monitor.value, monitor.state) == (pytest.approx(10), "alert")
    assert looked(stage, version, "latency_burn", 12).state == "ok"


def test_what_is_over_by_now_is_no_alarm(stage: Stage, version: PromptVersion):
    slas.set_slas(stage.ada, {"p99_latency_ms": 1_000})
    called(version, 400, slow=200, ago=10)
    called(version, 400, slow=0, ago=0.5)
    monitor = looked(stage, version, "latency_burn", 5)
    assert (monitor.value, monitor.state) == (0, "ok")


def test_a_few_slow_calls_prove_nothing(stage: Stage, version: PromptVersion):
    slas.set_slas(stage.ada, {"p99_latency_ms": 1_000})
    called(version, 40, slow=3)
    assert looked(stage, version, "latency_burn", 5).state == "unknown"


def test_without_a_target_nothing_can_be_told(stage: Stage, version: PromptVersion):
    called(version, 400, slow=200)
    assert looked(stage, version, "latency_burn", 5).state == "unknown"
