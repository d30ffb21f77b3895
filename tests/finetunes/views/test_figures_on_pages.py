"""A figure is the same on a tuned model's page, in the strategy of its prompt, and where its runs are."""

from django.test import Client

from evaluations.models import Dataset, ProviderModel
from finetunes.jobs import lifecycle as jobs
from finetunes.jobs import tuned_models
from finetunes.models import FineTune
from registry.models import PromptVersion
from tests.conftest import ApiFor, Stage
from tests.evaluations.conftest import make_run
from tests.evaluations.runs.test_pages import client_of, finish
from tests.figures import differing, figures_of_pages, words_of
from tests.finetunes.conftest import is_over, until
from tests.finetunes.views.test_pages import measured
from tests.sandbox import Running


def test_figures_of_a_tuned_model_and_of_the_strategy_are_those_of_their_runs(
    stage: Stage,
    version: PromptVersion,
    tickets: Dataset,
    base: ProviderModel,
    job: FineTune,
    sandbox: Running,
    api_for: ApiFor,
):
    stage.release(version)
    finish(make_run(stage, version, tickets, base, scorers=["label", "json_schema"]).pk)
    tuned = until(jobs.submit(stage.edith, job), is_over)
    measured(tuned)
    model = tuned_models.tuned_model_of_job(tuned)
    assert model
    runs = [run for row in tuned_models.evaluations_of(model) for _, run in row.runs]
    comparisons = [row.comparison_id for row in tuned_models.evaluations_of(model)]
    edith: Client = client_of(stage.edith)
    job_page, strategy_page = f"fine-tunes/{tuned.pk}/", "prompts/support.route/strategy/"
    pages = [
        *("evaluations/", job_page, strategy_page),
        *(f"evaluations/{run.pk}/" for run in runs),
        *(f"comparisons/{comparison}/" for comparison in comparisons),
    ]

    shown_on = figures_of_pages(edith, pages)
    for run in runs:
        document = api_for(stage.edith).get(f"/api/v1/evaluations/{run.pk}").json()
        for name, word in words_of(document).items():
            shown_on[f"run {run.pk} {name}"]["REST"] = {word}

    assert len(runs) == 4
    assert differing(shown_on) == {}
    for run in runs:
        assert {job_page, "evaluations/", f"evaluations/{run.pk}/", "REST"} <= shown_on[f"run {run.pk} quality"].keys()
    in_strategy = {name for name, places in shown_on.items() if strategy_page in places}
    assert {f"run {run.pk} p99" for run in runs} & in_strategy
