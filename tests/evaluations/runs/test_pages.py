"""Pages of evaluations, comparisons and providers, as people use them."""

import re
import time
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from evaluations import tasks
from evaluations.models import Comparison, Dataset, Provider, ProviderModel, Run, RunState
from evaluations.providers import configuration as providers
from registry.accounts.permissions import Actor
from registry.models import PromptVersion
from tests.conftest import Stage
from tests.evaluations.conftest import make_run
from tests.sandbox import Running

FORM = {
    "prompt": "support.route@latest",
    "dataset": "support.tickets",
    "split": "",
    "model": "sandbox/sandbox-small",
    "repetitions": "1",
    "leaked": "mark",
    "scorers": ["label"],
}


def client_of(actor: Actor) -> Client:
    client = Client()
    assert actor.user
    client.force_login(actor.user)
    return client


@pytest.fixture
def edith(stage: Stage) -> Client:
    return client_of(stage.edith)


def text(response: Any) -> str:
    """Return the answer's HTML with each line break and the indentation around it as one space."""
    return re.sub(r"\s*\n\s*", " ", response.content.decode())


def finish(key: int) -> None:
    tasks.work_on_run(key)
    tasks.sum_up_run(key)


def test_from_the_form_to_the_figures(
    edith: Client, version: PromptVersion, tickets: Dataset, model: ProviderModel, sandbox: Running
):
    estimate = edith.post("/p/paper/new-evaluation/", {**FORM, "do": "estimate"})
    assert "60 answers" in text(estimate)
    assert not Run.objects.exists()

    started = edith.post("/p/paper/new-evaluation/", {**FORM, "do": "start"})

    run = Run.objects.get()
    assert started["Location"] == f"/p/paper/evaluations/{run.pk}/"
    waiting = text(edith.get(started["Location"]))
    assert "Waiting for a worker" in waiting
    assert 'hx-trigger="every 2s"' in waiting
    finish(run.pk)
    assert edith.get(f"/p/paper/evaluations/{run.pk}/progress/")["HX-Refresh"] == "true"
    page = text(edith.get(started["Location"]))
    assert "A simulation." in page
    assert "macro F1" in page
    assert "every 2s" not in page
    listed = text(edith.get("/p/paper/evaluations/"))
    assert "run 1" in listed or f"run {run.pk}" in listed
    assert f"run {run.pk}" in text(edith.get("/p/paper/prompts/support.route/evaluations/panel/"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": "none@latest"}, "none"),
        ({"dataset": ""}, "Choose one."),
        ({"scorers": []}, "Give a list of 1 to"),
        ({"scorers_json": "{"}, "This is not JSON"),
        ({"repetitions": "many"}, "whole number from 1"),
        ({"temperature": "hot"}, "Must be a number."),
        ({"budget_usd": "-1"}, "above 0"),
    ],
)
def test_a_form_with_faults_loses_nothing(
    edith: Client, version: PromptVersion, tickets: Dataset, model: ProviderModel, change: dict[str, Any], message: str
):
    refused = edith.post("/p/paper/new-evaluation/", {**FORM, **change, "limit": "17"})

    assert refused.status_code >= 400
    assert message in text(refused)
    assert 'value="17"' in text(refused)
    assert not Run.objects.exists()


def test_cancel_go_on_mark_and_judge_again(edith: Client, run: Run, sandbox: Running):
    address = f"/p/paper/evaluations/{run.pk}/"
    edith.post(f"{address}cancel/")
    assert Run.objects.get(pk=run.pk).state == RunState.CANCELLED
    edith.post(f"{address}resume/", {"budget_usd": ""})
    finish(run.pk)
    result = run.results.first()
    assert result
    marked = edith.post(f"{address}results/{result.pk}/annotation/", {"is_correct": "1"})
    assert 'aria-pressed="true"' in text(marked)
    assert re.search(r"[01] of 1 annotations agree", text(edith.get(address)))
    edith.post(f"{address}rescore/", {"scorers_json": '["exact"]'})
    assert Run.objects.filter(answers_of=run).exists()
    again = edith.post(f"{address}rescore/", {"scorers_json": "nonsense"}, follow=True)
    assert "This is not JSON" in text(again)


def test_two_runs_side_by_side(
    edith: Client, stage: Stage, run: Run, version: PromptVersion, tickets: Dataset, model: ProviderModel
):
    other = make_run(stage, version, tickets, model, parameters={"temperature": 1})
    for key in (run.pk, other.pk):
        finish(key)

    response = edith.post("/p/paper/new-comparison/", {"baseline": run.pk, "candidate": other.pk, "margin": "0.05"})
    comparison = Comparison.objects.get()
    assert "Computing the figures" in text(edith.get(response["Location"]))
    tasks.compare_runs(comparison.pk)

    page = text(edith.get(response["Location"]))
    assert "p-values adjusted (Holm)" in page
    assert "margin 0.05" in page
    refused = edith.post("/p/paper/new-comparison/", {"baseline": run.pk, "candidate": run.pk}, follow=True)
    assert "not compared with itself" in text(refused)


def test_admins_set_up_providers_on_pages(stage: Stage, sandbox: Running):
    ada = client_of(stage.ada)
    response = ada.post("/p/paper/settings/providers/?preset=sandbox", {"name": "sandbox"})
    assert response["Location"] == "/p/paper/settings/providers/sandbox/?tested=1"
    ada.post("/p/paper/settings/providers/sandbox/test/", {"model": ""})
    assert "Testing …" in text(ada.get("/p/paper/settings/providers/sandbox/?tested=1"))
    tasks.try_provider(Provider.objects.get().pk, "")
    assert ada.get("/p/paper/settings/providers/sandbox/wait/")["HX-Refresh"] == "true"
    assert "It has 3 models." in text(ada.get("/p/paper/settings/providers/sandbox/"))
    price = {"model": "sandbox-small", "input": "1", "output": "2", "cached_input": "", "valid_from": ""}
    ada.post("/p/paper/settings/providers/sandbox/prices/", price)
    assert "$2.00" in text(ada.get("/p/paper/settings/providers/sandbox/"))
    wrong = ada.post("/p/paper/settings/providers/sandbox/", {"max_concurrency": "0", "timeout_seconds": "60"})
    assert "1 to 256" in text(wrong)
    refused = ada.post("/p/paper/settings/providers/?preset=other", {"name": "x", "base_url": "http://10.0.0.1/"})
    assert refused.status_code == 400
    assert "https://" in text(refused)
    ada.post("/p/paper/settings/providers/sandbox/end/", {"do": "archive"})
    assert Provider.objects.get().archived_at


def test_a_failed_run_says_what_happened(edith: Client, run: Run, sandbox: Running):
    sandbox.fault("unauthorized")
    finish(run.pk)

    page = text(edith.get(f"/p/paper/evaluations/{run.pk}/"))

    assert "Incorrect API key" in page
    assert "Resume" in page


def test_viewers_see_no_buttons_that_do_not_work(stage: Stage, run: Run):
    vera = client_of(stage.vera)
    page = text(vera.get(f"/p/paper/evaluations/{run.pk}/"))
    assert "Cancel" not in page
    assert vera.get("/p/paper/new-evaluation/").status_code == 403
    assert "New provider" not in text(vera.get("/p/paper/settings/providers/"))


def test_outsiders_see_nothing(otis: Actor, run: Run):
    outsider = client_of(otis)
    for path in ("evaluations/", f"evaluations/{run.pk}/", "settings/providers/", "new-evaluation/"):
        assert outsider.get(f"/p/paper/{path}").status_code == 404


def test_a_command_measures_and_says_so(
    stage: Stage,
    version: PromptVersion,
    tickets: Dataset,
    model: ProviderModel,
    sandbox: Running,
    capsys: pytest.CaptureFixture[str],
):
    options = {"dataset": "support.tickets", "model": "sandbox/sandbox-small", "project": "paper", "split": "all"}
    call_command("evaluate", "support.route@latest", here=True, **options)
    output = capsys.readouterr()
    assert "on 60 cases with sandbox/sandbox-small" in output.out
    assert "(a simulation)" in output.out
    assert "60 of 60" in output.err
    assert "by label (a simulation)" in output.out
    call_command("evaluate", "support.route@latest", here=True, scorers=["label", "exact"], **options)
    again = capsys.readouterr().out
    assert "60 answers from the cache" in again
    assert re.search(r"^exact: \d", again, re.MULTILINE)
    for bound in ("0.999", "label=0.999"):
        with pytest.raises(CommandError, match=rf"below {bound.rpartition('=')[2]}"):
            call_command("evaluate", "support.route@latest", here=True, at_least=bound, **options)
    for bound, sentence in (("label", "SCORER=NUMBER"), ("nan", "SCORER=NUMBER"), ("json_schema=0.1", "none of the")):
        with pytest.raises(CommandError, match=sentence):
            call_command("evaluate", "support.route@latest", here=True, at_least=bound, **options)
    with pytest.raises(CommandError, match="no model"):
        call_command("evaluate", "support.route@latest", here=True, **{**options, "model": "sandbox/none"})


def test_the_administration_shows_everything_but_keys(stage: Stage, run: Run, sandbox: Running, django_user_model: Any):
    finish(run.pk)
    root = django_user_model.objects.create_superuser("root", password="correct horse")
    secret = "sk-very-secret-0123456789"
    providers.create(stage.ada, name="openai", base_url="https://api.openai.com/v1", key=secret)
    stored = Provider.objects.get(name="openai")
    client = Client()
    client.force_login(root)
    names = ("provider", "providermodel", "modelprice", "run", "runbatch", "result", "comparison", "gate", "gaterun")
    for name in (*names, "resultannotation", "sla"):
        assert client.get(f"/admin/evaluations/{name}/").status_code == 200, name
    page = text(client.get(f"/admin/evaluations/provider/{stored.pk}/change/"))
    assert "https://api.openai.com/v1" in page
    assert stored.encrypted_key not in page
    assert client.get(f"/admin/evaluations/run/{run.pk}/change/").status_code == 200


def test_a_test_that_no_worker_took_up_is_not_waited_for_for_ever(stage: Stage, model: ProviderModel):
    admin = client_of(stage.ada)
    place = f"/p/paper/settings/providers/{model.provider.name}/wait/"

    assert "Testing …" in text(admin.get(f"{place}?since={int(time.time())}"))
    lost = text(admin.get(f"{place}?since=1"))

    assert "No worker has reported a result" in lost
    assert "hx-get" not in lost
