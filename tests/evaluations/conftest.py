from typing import Any

import pytest

from evaluations import datasets
from evaluations.models import Dataset
from tests.conftest import Stage

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
    made = datasets.create(stage.edith, name="support.tickets")
    datasets.change(stage.edith, made, added=cases(60))
    return datasets.named(stage.project, "support.tickets")
