from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from evaluations import tasks
from evaluations.data_quality import reports
from evaluations.datasets import lifecycle as datasets
from evaluations.models import Capability, Dataset, ProviderModel, ReportKind
from evaluations.providers import configuration as providers
from finetunes.jobs import lifecycle as jobs
from finetunes.jobs import provider_settings
from finetunes.jobs import worker as job_worker
from finetunes.models import FineTune, TrainingSet
from finetunes.training_sets import lifecycle as training_sets
from registry.models import PromptVersion
from registry.prompts import versions
from tests.conftest import Stage
from tests.evaluations.conftest import LABELS, case, routing
from tests.sandbox import Running, running

WORDS = {"incident": "down broken crash", "billing": "invoice charged refund", "how-to": "export where setting"}


@pytest.fixture
def sandbox(settings: Any, tmp_path: Path) -> Iterator[Running]:
    """The provider, over HTTP. Jobs end as soon as one looks."""
    with running(tmp_path / "sandbox", settings.SANDBOX_KEY) as server:
        settings.SANDBOX_URL = server.url
        yield server


@pytest.fixture
def slow_sandbox(settings: Any, tmp_path: Path) -> Iterator[Running]:
    """The same provider, whose jobs stay as they are until a test moves them."""
    with running(tmp_path / "sandbox", settings.SANDBOX_KEY, tuning_time_scale=1_000) as server:
        settings.SANDBOX_URL = server.url
        yield server


@pytest.fixture
def base(stage: Stage) -> ProviderModel:
    """A base model that can be tuned, with prices."""
    capabilities = [Capability.CHAT, Capability.JSON_SCHEMA, Capability.FINE_TUNING]
    provider = providers.create(stage.ada, name="sandbox", kind="sandbox", capabilities=capabilities)
    model = providers.add_model(stage.ada, provider, "sandbox-small")
    providers.set_price(stage.ada, model, {"input": "1", "output": "4"})
    provider_settings.set_price(stage.ada, model, {"training": "3"})
    return model


@pytest.fixture
def version(stage: Stage) -> PromptVersion:
    return versions.commit(stage.edith, stage.prompt("support.route"), content=routing(), message="first").version


@pytest.fixture
def tickets(stage: Stage, settings: Any) -> Dataset:
    """Ninety tickets in the three splits and ten of another task, checked for leaks (lexically: embeddings take
    seconds)."""
    settings.EMBEDDINGS_LOCAL = False
    dataset = datasets.create(stage.edith, name="support.tickets")
    added = [
        case(f"{WORDS[LABELS[number % 3]]} {number * 7919 % 1000} {'abcdefghij'[number % 10] * 4}", LABELS[number % 3])
        for number in range(90)
    ]
    general = [case(f"What is {number} times {number}?", str(number * number), split="general") for number in range(10)]
    datasets.change(stage.edith, dataset, added=[*added, *general])
    filled = datasets.get_dataset(stage.project, "support.tickets")
    assert filled.head
    report = reports.newest_report(filled.head, ReportKind.LEAKAGE) or reports.request_report(
        stage.edith, filled.head, ReportKind.LEAKAGE
    )
    tasks.make_report(report.pk)
    return filled


@pytest.fixture
def training_set(stage: Stage, version: PromptVersion, tickets: Dataset) -> TrainingSet:
    """A training set that is built."""
    assert tickets.head
    new_set = training_sets.create(
        stage.edith, dataset_version=tickets.head, source=version, instruction="Sort the ticket."
    )
    training_sets.build(new_set)
    return training_sets.get_training_set(stage.project, new_set.pk)


@pytest.fixture
def job(stage: Stage, training_set: TrainingSet, base: ProviderModel) -> FineTune:
    """A draft of a job."""
    return jobs.draft(stage.edith, training_set, base)


def step(job: FineTune) -> FineTune:
    """Take the job's next step as if it were due; returns the job."""
    FineTune.objects.filter(pk=job.pk).update(next_poll_at=timezone.now() - timedelta(seconds=1))
    updated = job_worker.advance(job.pk)
    assert updated is not None
    return updated


def until(job: FineTune, is_so: Callable[[FineTune], bool], max_steps: int = 40) -> FineTune:
    """Take steps until the job is as it should be."""
    for _ in range(max_steps):
        if is_so(job):
            return job
        job = step(job)
    raise AssertionError(f"After {max_steps} steps it is {job.state}: {job.error} {job.note}")


def is_over(job: FineTune) -> bool:
    return job.is_over


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let jobs appear in a provider's list at once."""
    monkeypatch.setattr(job_worker, "LISTING_DELAY", timedelta(0))
