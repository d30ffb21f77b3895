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
    with running(tmp_path / "sandbox", settings.SANDBOX_KEY) as found:
        settings.SANDBOX_URL = found.url
        yield found


@pytest.fixture
def slow_sandbox(settings: Any, tmp_path: Path) -> Iterator[Running]:
    """The same, whose jobs stay as they are until they are told otherwise."""
    with running(tmp_path / "sandbox", settings.SANDBOX_KEY, tuning_pace=1_000) as found:
        settings.SANDBOX_URL = found.url
        yield found


@pytest.fixture
def base(stage: Stage) -> ProviderModel:
    """A base model that can be tuned, with prices."""
    capabilities = [Capability.CHAT, Capability.JSON_SCHEMA, Capability.FINE_TUNING]
    provider = providers.create(stage.ada, name="sandbox", is_simulation=True, capabilities=capabilities)
    made = providers.add_model(stage.ada, provider, "sandbox-small")
    providers.set_price(stage.ada, made, {"input": "1", "output": "4"})
    provider_settings.set_price(stage.ada, made, {"training": "3"})
    return made


@pytest.fixture
def version(stage: Stage) -> PromptVersion:
    return versions.commit(stage.edith, stage.prompt("support.route"), content=routing(), message="first").version


@pytest.fixture
def tickets(stage: Stage, settings: Any) -> Dataset:
    """Ninety tickets on the three sides and ten of another task, looked through for leaks (by wording: meaning takes
    seconds, and these have none)."""
    settings.EMBEDDINGS_LOCAL = False
    made = datasets.create(stage.edith, name="support.tickets")
    added = [
        case(f"{WORDS[LABELS[number % 3]]} {number * 7919 % 1000} {'abcdefghij'[number % 10] * 4}", LABELS[number % 3])
        for number in range(90)
    ]
    general = [case(f"What is {number} times {number}?", str(number * number), split="general") for number in range(10)]
    datasets.change(stage.edith, made, added=[*added, *general])
    found = datasets.named(stage.project, "support.tickets")
    assert found.head
    report = reports.newest(found.head, ReportKind.LEAKAGE) or reports.ask(stage.edith, found.head, ReportKind.LEAKAGE)
    tasks.make_report(report.pk)
    return found


@pytest.fixture
def training_set(stage: Stage, version: PromptVersion, tickets: Dataset) -> TrainingSet:
    """A set that is built."""
    assert tickets.head
    made = training_sets.create(
        stage.edith, dataset_version=tickets.head, source=version, instruction="Sort the ticket."
    )
    training_sets.perform(made)
    return training_sets.numbered(stage.project, made.pk)


@pytest.fixture
def job(stage: Stage, training_set: TrainingSet, base: ProviderModel) -> FineTune:
    """A draft."""
    return jobs.draft(stage.edith, training_set, base)


def step(job: FineTune) -> FineTune:
    """The job after its next step, as if it were due."""
    FineTune.objects.filter(pk=job.pk).update(next_poll_at=timezone.now() - timedelta(seconds=1))
    found = job_worker.advance(job.pk)
    assert found is not None
    return found


def until(job: FineTune, is_so: Callable[[FineTune], bool], most: int = 40) -> FineTune:
    """Steps until the job is as it should be."""
    for _ in range(most):
        if is_so(job):
            return job
        job = step(job)
    raise AssertionError(f"After {most} steps it is {job.state}: {job.error} {job.note}")


def is_over(job: FineTune) -> bool:
    return job.is_over


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders need no time to appear in a provider's list."""
    monkeypatch.setattr(job_worker, "SETTLES", timedelta(0))
