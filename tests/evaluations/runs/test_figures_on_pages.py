"""A figure of a run is the same wherever it is shown: on each page that has it, and over REST."""

import pytest
from django.test import Client

from evaluations import tasks
from evaluations.comparisons import lifecycle as comparisons
from evaluations.models import Dataset, ProviderModel, Run
from evaluations.providers import configuration as providers
from evaluations.runs import lifecycle as runs
from registry.models import PromptVersion
from tests.conftest import ApiFor, Stage
from tests.evaluations.conftest import make_run
from tests.evaluations.runs.test_pages import client_of, finish
from tests.figures import differing, figures_of_pages, words_of
from tests.sandbox import Running

NAMES = {"quality", "median", "p99", "1,000 calls", "cost"}


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

    shown_on = figures_of_pages(edith, pages)
    for run in compared_runs:
        document = api_for(stage.edith).get(f"/api/v1/evaluations/{run.pk}").json()
        for name, word in words_of(document).items():
            shown_on[f"run {run.pk} {name}"]["REST"] = {word}

    assert {name.split(" ", 2)[2] for name in shown_on} == NAMES
    assert {name: places for name, places in shown_on.items() if len(places) < 3} == {}
    assert differing(shown_on) == {}
    assert len({*shown_on[f"run {compared_runs[1].pk} quality"]}) >= 5
