"""Pages, the API and the command: the whole way from data to a promotion, as people and machines go it."""

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from standardwebhooks.webhooks import Webhook

from evaluations import tasks as evaluating
from evaluations.models import Dataset, ProviderModel
from finetunes import tasks as finetune_tasks
from finetunes.jobs import lifecycle as jobs
from finetunes.jobs import polling, provider_settings, tuned_models
from finetunes.models import FineTune, TrainingSet
from registry.models import PromptVersion
from tests.conftest import ApiFor, Stage
from tests.evaluations.runs.test_pages import client_of, text
from tests.finetunes.conftest import until
from tests.sandbox import Running

NEW = {
    "prompt": "support.route@latest",
    "dataset": "support.tickets",
    "instruction": "Sort it.",
    "method": "supervised",
}


@pytest.fixture
def edith(stage: Stage) -> Client:
    return client_of(stage.edith)


def measured(job: FineTune) -> None:
    """What the workers do once a model is tuned."""
    model = tuned_models.tuned_model_of_job(job)
    assert model is not None
    finetune_tasks.measure(model.pk)
    for row in tuned_models.evaluations_of(model):
        for _, run in row.runs:
            evaluating.work_on_run(run.pk)
            evaluating.sum_up_run(run.pk)
        finetune_tasks.compare(row.pk)
    for row in tuned_models.evaluations_of(model):
        assert row.comparison is not None, row.error
        evaluating.compare_runs(row.comparison.pk)


def test_the_guided_path_from_readiness_to_a_promotion(
    stage: Stage, edith: Client, version: PromptVersion, tickets: Dataset, base: ProviderModel, sandbox: Running
):
    look = text(edith.get("/p/paper/new-training-set/?prompt=support.route@latest&dataset=support.tickets"))
    assert "<h2>Readiness</h2>" in look
    assert "Sort the ticket." in look
    built = edith.post("/p/paper/new-training-set/", NEW)
    training_set = TrainingSet.objects.get()
    page = f"/p/paper/training-sets/{training_set.pk}/"
    assert built["Location"] == page
    assert "Waiting for a worker" in text(edith.get(page))
    finetune_tasks.build(training_set.pk)
    assert edith.get(f"{page}wait/")["HX-Refresh"] == "true"
    assert "Valid" in text(edith.get(page))
    assert edith.get(f"{page}train.jsonl").getvalue().startswith(b'{"messages":[{"role":"system","content":"Sort it."}')

    form = {"model": "sandbox/sandbox-small", "n_epochs": "3", "batch_size": "auto", "suffix": "tickets"}
    assert "3 epochs:" in text(edith.post(page, {**form, "do": "estimate"}))
    refused = edith.post(page, {**form, "n_epochs": "many", "do": "draft"})
    assert refused.status_code == 400
    assert "Must be a whole number, or auto." in text(refused)
    edith.post(page, {**form, "do": "draft"})
    job = FineTune.objects.get()
    assert job.hyperparameters["batch_size"] == "auto"
    page = f"/p/paper/fine-tunes/{job.pk}/"
    assert "Submitting sends the files" in text(edith.get(page))
    edith.post(f"{page}do/submit/")
    assert "the job continues" in text(edith.get(page))
    job = until(jobs.get_job(stage.project, job.pk), lambda job: job.is_over)
    assert edith.get(f"{page}wait/?state=running")["HX-Refresh"] == "true"
    assert "The evaluation starts automatically" in text(edith.get(page))
    measured(job)
    assert edith.get(f"{page}evaluation/")["HX-Refresh"] == "true"
    html = text(edith.get(page))
    assert "tuned, short prompt" in html
    assert "polyline" in html
    assert re.search(r'aria-current="step">\s*<a href="', html)

    published = edith.post(f"{page}publish/", {"environment": "production", "reason": "Better and cheaper"})

    assert published["Location"].startswith("/p/paper/promotions/")
    assert "Published as support.route@2" in text(edith.get(page))
    listed = text(edith.get("/p/paper/fine-tunes/"))
    assert "Succeeded" in listed
    assert "Tuned model:" in text(edith.get("/p/paper/prompts/support.route/strategy/panel/"))
    assert "<b>Sandbox</b>" in text(edith.get("/p/paper/settings/providers/sandbox/tuning/panel/"))


def test_the_same_over_rest(
    stage: Stage, api_for: ApiFor, version: PromptVersion, tickets: Dataset, base: ProviderModel, sandbox: Running
):
    client = api_for(stage.edith)
    document = {"dataset": "support.tickets", "prompt": "support.route@latest", "instruction": "Sort it."}
    created = client.post("/api/v1/training-sets", document, format="json")
    assert (created.status_code, created.json()["state"]) == (201, "pending")
    assert client.post("/api/v1/training-sets", document, format="json").status_code == 200
    number = created.json()["id"]
    finetune_tasks.build(number)
    training_set = client.get(f"/api/v1/training-sets/{number}").json()
    assert (training_set["state"], training_set["faults"]) == ("done", 0)
    lines = client.get(f"/api/v1/training-sets/{number}/files/validation").getvalue().splitlines()
    assert len(lines) == training_set["validation"]
    assert client.get(f"/api/v1/training-sets/{number}/files/secret").status_code == 404
    settings = {"model": "sandbox/sandbox-small"}
    estimate = client.post(f"/api/v1/training-sets/{number}/estimate", settings, format="json").json()
    assert estimate["trained_tokens"] == 3 * estimate["tokens"]
    assert estimate["is_exact"] is False

    draft = client.post("/api/v1/fine-tunes", {**settings, "training_set": number, "submit": True}, format="json")
    assert (draft.status_code, draft.json()["state"]) == (201, "validating")
    key = draft.json()["id"]
    job = until(jobs.get_job(stage.project, key), lambda job: job.is_over)
    measured(job)
    assert client.get(f"/api/v1/fine-tunes/{key}").json()["state"] == "succeeded"
    assert client.get(f"/api/v1/fine-tunes/{key}/events").json()["results"]
    assert client.get(f"/api/v1/fine-tunes/{key}/curves").json()["points"][0]["values"]["train_loss"] > 0
    assert client.post(f"/api/v1/fine-tunes/{key}/cancel", {}, format="json").json()["code"] == "finetune.wrong_state"
    (model,) = client.get("/api/v1/tuned-models").json()["results"]
    assert [evaluation["split"] for evaluation in model["evaluations"]] == ["test", "general"]
    assert model["stale"] == []
    published = client.post(
        f"/api/v1/tuned-models/{model['id']}/publish", {"environment": "production"}, format="json"
    ).json()
    assert published["published"] == "support.route@2"
    assert published["promotion"] is not None


def test_lists_take_as_many_queries_for_many_rows_as_for_one(
    stage: Stage,
    api_for: ApiFor,
    training_set: TrainingSet,
    base: ProviderModel,
    sandbox: Running,
):
    client, pages = api_for(stage.edith), client_of(stage.edith)
    lists = ("/api/v1/tuned-models", "/api/v1/fine-tunes", "/api/v1/training-sets")
    # The first visit of a session notes its project.
    pages.get("/p/paper/fine-tunes/")
    took: list[dict[str, int]] = []
    for _ in range(2):
        for _ in range(2):
            until(jobs.submit(stage.edith, jobs.draft(stage.edith, training_set, base)), lambda job: job.is_over)
        for model in tuned_models.unmeasured_models():
            tuned_models.measure(model)
        counts = {}
        for address in (*lists, "/p/paper/fine-tunes/"):
            with CaptureQueriesContext(connection) as queries:
                assert (pages if address.startswith("/p/") else client).get(address).status_code == 200
            counts[address] = len(queries)
        took.append(counts)
    assert took[0] == took[1]


def test_how_a_provider_tunes_is_set_by_admins(stage: Stage, api_for: ApiFor, base: ProviderModel):
    address = "/api/v1/providers/sandbox/tuning"
    assert api_for(stage.edith).patch(address, {"max_jobs": 2}, format="json").status_code == 403
    ada = api_for(stage.ada)
    assert ada.patch(address, {"max_jobs": 0}, format="json").status_code == 400
    assert ada.patch(address, {"webhook_secret": "guess"}, format="json").status_code == 400
    saved = ada.patch(address, {"max_jobs": 2, "protocol": "azure"}, format="json").json()
    assert (saved["max_jobs"], saved["protocol"], saved["webhook"]) == (2, "azure", None)
    priced = ada.post(f"{address}-prices", {"model": "sandbox-small", "training": "5"}, format="json")
    assert priced.status_code == 201
    price = provider_settings.current_price(base)
    assert price is not None
    assert price.training == 5


def test_a_signed_webhook_shortens_the_wait_and_an_unsigned_one_does_nothing(
    stage: Stage, job: FineTune, slow_sandbox: Running
):
    secret = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    fine_tuning = provider_settings.set_up(stage.ada, job.model.provider, webhook_secret=secret)
    sent = until(jobs.submit(stage.edith, job), lambda job: bool(job.remote_id))
    FineTune.objects.filter(pk=job.pk).update(next_poll_at=timezone.now() + timedelta(hours=1))
    body = json.dumps({"type": "fine_tuning.job.succeeded", "data": {"id": sent.remote_id}})

    def send(key: str, at: Any) -> int:
        headers = {
            "webhook-id": "wh_1",
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Webhook(key).sign("wh_1", at, body),
        }
        answer = Client().post(f"/hooks/fine-tunes/{fine_tuning.pk}", body, "application/json", headers=headers)
        return answer.status_code

    assert send(f"whsec_{'A' * 32}", timezone.now()) == 401
    assert send(secret, timezone.now() - timedelta(hours=1)) == 401
    assert Client().post(f"/hooks/fine-tunes/{fine_tuning.pk}", body, "application/json").status_code == 401
    assert not jobs.due_jobs().exists()
    assert send(secret, timezone.now()) == 204
    assert jobs.due_jobs().get().pk == job.pk


def test_the_command_checks_files_and_goes_the_whole_way(
    version: PromptVersion,
    tickets: Dataset,
    base: ProviderModel,
    sandbox: Running,
    tmp_path: Path,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(polling, "FIRST_PAUSE_SECONDS", 0.2)
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"messages": []}\n')
    with pytest.raises(CommandError, match="cannot be used"):
        call_command("finetune", "check", str(bad))
    assert "train:1 missing_messages_list" in capsys.readouterr().out

    arguments = ["support.route@latest", "--dataset", "support.tickets", "--project", "paper", "--here"]
    # Both are right in all of a few cases, which shows nothing of others.
    with pytest.raises(CommandError, match="not shown to be as good"):
        call_command("finetune", "run", *arguments, "--model", "sandbox/sandbox-small")

    output = capsys.readouterr().out
    assert "(a simulation)" in output
    assert "test, tuned: quality" in output
    job = FineTune.objects.get()
    call_command("finetune", "publish", str(job.pk), "--environment", "production", "--project", "paper")
    assert "waits for review" in capsys.readouterr().out
