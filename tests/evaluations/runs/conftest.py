"""Questions to a handbook, and a version that answers them from it."""

import pytest

from evaluations.datasets import lifecycle as datasets
from evaluations.models import Dataset
from registry.models import Collection, PromptVersion
from registry.prompts import versions
from tests.conftest import Stage
from tests.registry.retrieval.conftest import make_handbook
from tests.registry.retrieval.test_context import content

QUESTIONS = {
    "How do I get my money back?": ("Within 14 days of the purchase.", ["refunds.md"]),
    "Where can I export my tickets as CSV?": ("In the settings.", ["data/export.md"]),
    "The site is down, what now?": ("Look at the status page first.", ["ops/incidents.md"]),
    "Who won the cup?": ("The handbook does not say.", []),
}


@pytest.fixture
def handbook(stage: Stage) -> Collection:
    return make_handbook(stage)


@pytest.fixture
def answering(stage: Stage, handbook: Collection) -> PromptVersion:
    document = {**content(k=2), "model": {"name": "sandbox-small", "temperature": 0}}
    return versions.commit(stage.edith, stage.prompt("support.answer"), content=document, message="x").version


@pytest.fixture
def questions(stage: Stage) -> Dataset:
    dataset = datasets.create(stage.edith, name="support.questions")
    cases = [
        {"variables": {"question": question}, "expected": {"answer": answer, "sources": sources}, "split": "test"}
        for question, (answer, sources) in QUESTIONS.items()
    ]
    datasets.change(stage.edith, dataset, added=cases)
    return datasets.get_dataset(stage.project, "support.questions")
