"""A figure of a run is the same wherever it is shown: on each page that has it, and over REST."""

from collections import defaultdict
from html.parser import HTMLParser
from typing import Any

import pytest
from django.test import Client

from evaluations import tasks
from evaluations.comparisons import lifecycle as comparisons
from evaluations.models import Dataset, ProviderModel, Run
from evaluations.providers import configuration as providers
from evaluations.runs import lifecycle as runs
from evaluations.templatetags.evaluations_text import amount
from registry.models import PromptVersion
from registry.templatetags.registry_text import dollars
from tests.conftest import ApiFor, Stage
from tests.evaluations.conftest import make_run
from tests.evaluations.runs.test_pages import client_of, finish
from tests.sandbox import Running

NAMES = {"quality", "median", "p99", "1,000 calls", "cost"}


class Figures(HTMLParser):
    """The first word of each element with `data-figure`, by that name."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.by_name: dict[str, set[str]] = defaultdict(set)
        self._name = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._name = dict(attributes).get("data-figure") or self._name

    def handle_data(self, data: str) -> None:
        if self._name and data.strip():
            self.by_name[self._name].add(data.split()[0])
            self._name = ""


@pytest.fixture
def compared(
    stage: Stage, version: PromptVersion, tickets: Dataset, model: ProviderModel, sandbox: Running
) -> tuple[list[Run], int]:
    """Three runs that differ, and the comparison of them."""
    providers.set_price(stage.ada, model, {"input": 3, "output": 15})
    compared = [make_run(stage, version, tickets, model, scorers=["label"], **{"parameters": {"temperature": number}})
                for number in (0, 0.5, 1)]  # fmt: skip
    for run in compared:
        finish(run.pk)
    compared = [runs.get_run(stage.project, run.pk) for run in compared]
    comparison = comparisons.create(stage.edith, compared)
    tasks.compare_runs(comparison.pk)
    return compared, comparison.pk


def test_every_figure_of_a_run_is_the_same_on_all_pages(stage: Stage, compared: tuple[list[Run], int], api_for: ApiFor):
    compared_runs, comparison = compared
    edith: Client = client_of(stage.edith)
    pages = [
        "evaluations/",
        *(f"evaluations/{run.pk}/" for run in compared_runs),
        f"comparisons/{comparison}/",
        f"new-comparison/?run={compared_runs[0].pk}",
        "prompts/support.route/",
    ]

    shown_on: dict[str, dict[str, set[str]]] = defaultdict(dict)
    for path in pages:
        page = edith.get(f"/p/paper/{path}")
        assert page.status_code == 200, path
        for name, words in Figures(page.content.decode()).by_name.items():
            shown_on[name][path] = words
    for run in compared_runs:
        document = api_for(stage.edith).get(f"/api/v1/evaluations/{run.pk}").json()
        for name, word in words_of(document).items():
            shown_on[f"run {run.pk} {name}"]["REST"] = {word}

    assert {name.split(" ", 2)[2] for name in shown_on} == NAMES
    assert {name: places for name, places in shown_on.items() if len(places) < 3} == {}
    assert {name: places for name, places in shown_on.items() if len(set().union(*places.values())) > 1} == {}
    assert len({*shown_on[f"run {compared_runs[1].pk} quality"]}) >= 5


def words_of(document: dict[str, Any]) -> dict[str, str]:
    """Write the figures of a run's document as pages do."""
    summary = document["summary"]
    latency = summary["latency_ms"]
    return {
        "quality": amount(summary["quality"]["value"]),
        "median": amount(latency["p50"]["value"], "ms").split()[0],
        "p99": amount(latency["p99"]["value"], "ms").split()[0],
        "1,000 calls": dollars(1_000 * summary["cost_per_call_usd"]["value"]),
        "cost": dollars(float(document["cost_usd"])),
    }
