"""Cross-validation against the sandbox over HTTP: every case tests once, and no fold's model has seen its own."""

import json
import time

import pytest
from django.test import Client
from rest_framework.test import APIClient

from core.errors import Problem
from evaluations import tasks
from evaluations.models import Case, ProviderModel
from finetunes import tasks as finetune_tasks
from finetunes.jobs import cross_validation, tuned_models
from finetunes.jobs import lifecycle as jobs
from finetunes.models import CrossValidation, FineTune, TrainingSet
from finetunes.training_sets import lifecycle as training_sets
from tests.conftest import Stage
from tests.finetunes.conftest import step
from tests.sandbox import Running


def worked(row: CrossValidation) -> CrossValidation:
    """Do all the work of a cross-validation; returns it when it is over. A tune takes its time, however often it is
    asked for."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        CrossValidation.objects.filter(pk=row.pk, state="running").update(heartbeat_at=None)
        finetune_tasks.cross_validate(row.pk)
        row = cross_validation.get_cross_validation(row.project, row.pk)
        if row.is_over:
            return row
        for fold in cross_validation.fold_progress(row):
            finetune_tasks.build(fold.training_set.pk)
            if fold.job is None:
                continue
            if fold.job.is_driven:
                step(fold.job)
            model = tuned_models.tuned_model_of_job(fold.job)
            if model is None:
                continue
            for run in tuned_models.measure(model):
                tasks.work_on_run(run.pk)
                tasks.sum_up_run(run.pk)
            for evaluation in tuned_models.evaluations_of(model):
                finetune_tasks.compare(evaluation.pk)
            for evaluation in tuned_models.evaluations_of(model):
                if evaluation.comparison:
                    tasks.compare_runs(evaluation.comparison.pk)
    raise AssertionError(f"It is {row.state}: {row.error}")


def test_every_case_tests_once_by_a_model_that_has_not_seen_it(
    stage: Stage, training_set: TrainingSet, base: ProviderModel, sandbox: Running
):
    begun = cross_validation.begin(stage.edith, training_set, base, folds=3, budget_usd="3")

    done = worked(begun)

    assert done.state == "done", done.error
    assert done.result
    assert done.result["quality"]["n"] == 90
    assert done.result["quality"]["groups"] == 90
    rows = cross_validation.fold_progress(done)
    tested: list[int] = []
    for row in rows:
        assert row.job
        assert row.job.budget_usd == 1
        assert row.training_set.train + row.evaluation.candidate.cases == 90  # type: ignore[union-attr]
        assert row.training_set.validation == 0
        cases = Case.objects.filter(results__run=row.evaluation.candidate).distinct()  # type: ignore[union-attr]
        tested += cases.values_list("pk", flat=True)
        train_file = "".join(piece.decode() for piece in training_sets.file_pieces(row.training_set, "train"))
        questions = {json.loads(line)["messages"][-2]["content"] for line in train_file.splitlines()}
        assert len(questions) == row.training_set.train
        assert not [case for case in cases if any(case.variables["ticket"] in question for question in questions)]
        with pytest.raises(Problem, match="folds alone"):
            tuned_models.publish(
                stage.edith,
                tuned_models.get_tuned_model(stage.project, row.job.tuned.pk),
                stage.environment("production"),
            )
    assert len(tested) == len(set(tested)) == 90
    assert cross_validation.tuning_cost(rows) > 0
    # The same recipes give the same sets.
    again = cross_validation.begin(stage.edith, training_set, base, folds=3)
    assert {row.training_set.pk for row in cross_validation.fold_progress(again)} == {
        row.training_set.pk for row in rows
    }


def test_a_fold_that_fails_ends_all_of_them(
    stage: Stage, training_set: TrainingSet, base: ProviderModel, slow_sandbox: Running
):
    begun = cross_validation.begin(stage.edith, training_set, base, folds=2)
    for row in cross_validation.fold_progress(begun):
        finetune_tasks.build(row.training_set.pk)
    finetune_tasks.cross_validate(begun.pk)
    first, second = FineTune.objects.filter(cross_validation=begun).order_by("pk")
    jobs.cancel(stage.edith, first)

    CrossValidation.objects.filter(pk=begun.pk).update(next_step_at=None)
    finetune_tasks.cross_validate(begun.pk)

    failed = cross_validation.get_cross_validation(stage.project, begun.pk)
    assert failed.state == "failed"
    assert failed.error == "Fold 1 cancelled."
    assert FineTune.objects.get(pk=second.pk).state == "cancelled"
    with pytest.raises(Problem, match="over"):
        cross_validation.cancel(stage.edith, failed)


def test_what_cannot_be_folded_is_refused(stage: Stage, training_set: TrainingSet, base: ProviderModel):
    for folds in (1, 11, True, "5"):
        with pytest.raises(Problem, match="from 2 to 10"):
            cross_validation.begin(stage.edith, training_set, base, folds=folds)
    fold_set = training_sets.ensure_fold(stage.edith, training_set, 1, 5)
    with pytest.raises(Problem, match="no folds of its own"):
        cross_validation.begin(stage.edith, fold_set, base)
    with pytest.raises(Problem, match="may not"):
        cross_validation.begin(stage.vera, training_set, base)
    assert not CrossValidation.objects.exists()


def test_over_rest_and_on_pages(
    stage: Stage, api: APIClient, client: Client, training_set: TrainingSet, base: ProviderModel
):
    address = f"/api/v1/training-sets/{training_set.pk}/cross-validations"
    answer = api.post(address, {"model": "sandbox/sandbox-small", "folds": 2})
    assert answer.status_code == 201, answer.content
    document = answer.json()
    assert document["folds"] == 2
    assert api.get(answer["Location"]).json()["state"] == "running"
    assert len(api.get("/api/v1/cross-validations").json()["results"]) == 1

    assert stage.edith.user
    client.force_login(stage.edith.user)
    page = f"/p/paper/cross-validations/{document['id']}/"
    assert "2 folds" in client.get(page).content.decode()
    assert "waiting" in client.get(f"{page}wait/").content.decode()
    assert "sandbox-small, 2 folds" in client.get("/p/paper/fine-tunes/").content.decode()
    ended = api.post(f"/api/v1/cross-validations/{document['id']}/cancel")
    assert ended.json()["state"] == "cancelled"
    assert client.get(f"{page}wait/").headers["HX-Refresh"] == "true"
    again = client.post(
        f"/p/paper/training-sets/{training_set.pk}/cross-validate/", {"model": "sandbox/sandbox-small", "folds": "3"}
    )
    assert again["Location"] == f"/p/paper/cross-validations/{document['id'] + 1}/"
