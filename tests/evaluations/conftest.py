from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evaluations.datasets import lifecycle as datasets
from evaluations.models import Dataset, ProviderModel, Run
from evaluations.providers import configuration as providers
from evaluations.runs import lifecycle as runs
from evaluations.runs.planning import RunSettings
from registry.models import PromptVersion
from registry.prompts import versions
from tests.conftest import Stage
from tests.sandbox import Running, running

LABELS = ("incident", "billing", "how-to")


def case(text: str, label: str = "", **members: Any) -> dict[str, Any]:
    """A case as it comes over the API."""
    expected = {"expected": {"category": label}} if label else {}
    return {"variables": {"ticket": text}, **expected, **members}


def cases(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [case(f"Ticket number {number} of all", LABELS[number % 3]) for number in range(start, start + count)]


@pytest.fixture
def tickets(stage: Stage) -> Dataset:
    """A dataset of sixty tickets in three classes."""
    dataset = datasets.create(stage.edith, name="support.tickets")
    datasets.change(stage.edith, dataset, added=cases(60))
    return datasets.get_dataset(stage.project, "support.tickets")


@pytest.fixture
def sandbox(settings: Any, tmp_path: Path) -> Iterator[Running]:
    """A provider to ask over HTTP: what it answers is a simulation, what it goes through is not."""
    with running(tmp_path / "sandbox", settings.SANDBOX_KEY) as server:
        settings.SANDBOX_URL = server.url
        yield server


@pytest.fixture
def model(stage: Stage, sandbox: Running) -> ProviderModel:
    """A model of the sandbox, with a price."""
    return make_model(stage)


def make_model(stage: Stage) -> ProviderModel:
    provider = providers.create(stage.ada, name="sandbox", kind="sandbox")
    added = providers.add_model(stage.ada, provider, "sandbox-small")
    providers.set_price(stage.ada, added, {"input": "1", "output": "4"})
    return added


def routing(**members: Any) -> dict[str, Any]:
    """A prompt that sorts tickets, with an example of each class."""
    shots = [("The site is down", "incident"), ("I was charged twice", "billing"), ("How do I export?", "how-to")]
    return {
        "kind": "chat",
        "messages": [
            {"role": "system", "content": "Sort the ticket.\n- incident: down\n- billing: money\n- how-to: questions"},
            *(
                {"role": role, "content": text}
                for ticket, label in shots
                for role, text in (("user", ticket), ("assistant", label))
            ),
            {"role": "user", "content": "{{ ticket }}"},
        ],
        "model": {"name": "sandbox-small", "temperature": 0},
        **members,
    }


@pytest.fixture
def version(stage: Stage) -> PromptVersion:
    return versions.commit(stage.edith, stage.prompt("support.route"), content=routing(), message="first").version


@pytest.fixture
def run(stage: Stage, version: PromptVersion, tickets: Dataset, model: ProviderModel) -> Run:
    """A run on all sixty tickets, that waits."""
    return make_run(stage, version, tickets, model)


def make_run(stage: Stage, version: PromptVersion, tickets: Dataset, model: ProviderModel, **options: Any) -> Run:
    assert tickets.head
    run_settings = {"split": "", "scorers": ["label"], **options}
    return runs.create(
        stage.edith, RunSettings(version=version, dataset_version=tickets.head, model=model, **run_settings)
    )
