"""Latencies with the calls in flight that they were measured with, and runs that limit them."""

from datetime import timedelta

import pytest
from django.utils import timezone

from core.errors import Problem
from evaluations.models import Dataset, ProviderModel, Result, Run, RunBatch
from evaluations.runs import batches
from evaluations.runs import lifecycle as runs
from evaluations.runs.requests import completion_of_result
from evaluations.runs.summaries import sum_up
from evaluations.runs.worker import TickResult, tick
from registry.models import PromptVersion
from tests.conftest import Stage
from tests.evaluations.conftest import make_run
from tests.sandbox import Running


def again(run: Run) -> Run:
    return runs.get_run(run.project, run.pk)


@pytest.fixture
def two_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty cases are more than a batch has."""
    monkeypatch.setattr(runs, "BATCH", 50)


def test_a_latency_is_told_with_the_calls_in_flight(
    stage: Stage, run: Run, version: PromptVersion, tickets: Dataset, model: ProviderModel, sandbox: Running
):
    alone = make_run(stage, version, tickets, model, scorers=["exact"], concurrency=1, fresh=True)

    for driven in (run, alone):
        assert tick(driven) == TickResult.OVER
        sum_up(driven)

    summaries = [again(driven).summary or {} for driven in (run, alone)]
    assert summaries[0]["calls_in_flight"] > 1
    assert summaries[1]["calls_in_flight"] == 1
    assert set(alone.results.values_list("calls_in_flight", flat=True)) == {1}


@pytest.mark.usefixtures("two_batches")
def test_a_run_that_limits_its_calls_is_one_workers(run: Run):
    run.concurrency = 1
    assert batches.claim(run) is not None

    assert batches.claim(run) is None
    run.concurrency = None
    assert batches.claim(run) is not None


@pytest.mark.usefixtures("two_batches")
def test_the_worker_of_a_limited_run_takes_more_batches_and_those_of_a_dead_one(
    stage: Stage, version: PromptVersion, tickets: Dataset, model: ProviderModel
):
    limited = make_run(stage, version, tickets, model, scorers=["exact"], concurrency=2)
    first = batches.claim(limited)
    assert first

    assert batches.claim(limited, [first]) is not None
    RunBatch.objects.filter(run=limited).update(heartbeat_at=timezone.now() - timedelta(hours=1))
    assert batches.claim(limited) is not None


@pytest.mark.parametrize("concurrency", [0, 257])
def test_a_limit_of_calls_is_from_1_to_256(
    stage: Stage, version: PromptVersion, tickets: Dataset, model: ProviderModel, concurrency: int
):
    with pytest.raises(Problem) as refused:
        make_run(stage, version, tickets, model, scorers=["exact"], concurrency=concurrency)

    assert refused.value.faults[0].pointer == "/concurrency"


def test_what_was_measured_before_calls_were_counted_stays_unknown():
    answer = completion_of_result(Result(calls_in_flight=None, latency_ms=13_000))

    assert answer.calls_in_flight is None


def test_a_batch_that_was_lost_is_another_workers(run: Run):
    run.concurrency = 1
    lost = batches.claim(run)
    assert lost
    RunBatch.objects.filter(run=run).update(heartbeat_at=timezone.now() - timedelta(hours=1))
    assert batches.claim(run) is not None

    assert batches.claim(run, [lost]) is None
