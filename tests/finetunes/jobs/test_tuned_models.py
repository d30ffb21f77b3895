"""Tuned models: measured, deployed, and the reasons to tune again."""

from datetime import timedelta

import pytest
from django.utils import timezone

from core.errors import Problem
from evaluations import tasks
from evaluations.datasets import lifecycle as datasets
from evaluations.models import Case, Dataset, Result
from evaluations.runs import lifecycle as runs
from finetunes import tasks as finetune_tasks
from finetunes.jobs import lifecycle as jobs
from finetunes.jobs import provider_settings, tuned_models
from finetunes.models import FineTune, TunedModel
from inference.calls import log as call_log
from registry.accounts import permissions
from registry.promotions import environments
from tests.conftest import Stage
from tests.evaluations.conftest import case
from tests.finetunes.conftest import is_over, until
from tests.sandbox import Running

pytestmark = pytest.mark.usefixtures("settled")


def test_a_lost_evaluation_is_begun_again_and_a_taken_name_is_refused(stage: Stage, job: FineTune, sandbox: Running):
    provider_settings.set_up(stage.ada, job.model.provider, protocol="azure")
    done = until(jobs.submit(stage.edith, job), is_over)
    model = tuned_models.tuned_model_of_job(done)
    assert model
    with pytest.raises(Problem, match="another model already"):
        tuned_models.set_deployed_name(stage.edith, model, job.model.name)
    model = tuned_models.set_deployed_name(stage.edith, model, model.remote_name)
    with pytest.raises(Problem, match="Nothing about its evaluation"):
        tuned_models.measure_again(stage.edith, model)
    first = tuned_models.measure(model)
    runs.cancel(stage.edith, first[0])
    tasks.sum_up_run(first[0].pk)
    tasks.work_on_run(first[1].pk)
    tasks.sum_up_run(first[1].pk)
    finetune_tasks.compare(tuned_models.evaluations_of(model)[0].pk)
    assert "cancelled" in tuned_models.evaluations_of(model)[0].error

    again = tuned_models.measure_again(stage.edith, model)

    assert [run.split for run in again] == ["test", "test"]
    assert {row.split: row.error for row in tuned_models.evaluations_of(model)} == {"test": "", "general": ""}


def test_the_reasons_to_tune_again_are_listed(stage: Stage, job: FineTune, sandbox: Running, tickets: Dataset):
    done = until(jobs.submit(stage.edith, job), is_over)
    model = tuned_models.tuned_model_of_job(done)
    assert model is not None
    assert tuned_models.retuning_reasons(model) == []

    datasets.change(stage.edith, tickets, added=[case(f"Brand new {n}", "billing", split="train") for n in range(9)])
    assert model.model is not None
    model.model.shutdown_date = timezone.now().date() + timedelta(days=30)
    model.model.save()

    model = tuned_models.tuned_model_of_job(done)
    assert model is not None
    newer, ends = tuned_models.retuning_reasons(model)
    assert "9 more training cases" in newer
    assert "30 days" in ends


def test_live_calls_that_differ_from_what_was_measured_are_a_reason_to_tune_again(
    stage: Stage, job: FineTune, sandbox: Running, tickets: Dataset
):
    done = until(jobs.submit(stage.edith, job), is_over)
    model = tuned_models.tuned_model_of_job(done)
    assert model
    for run in tuned_models.measure(model):
        tasks.work_on_run(run.pk)
    published = tuned_models.publish(stage.edith, model, stage.environment("production")).published
    assert published
    calls = [
        {"id": str(number), "prompt": str(published), "tokens_in": 400 + number % 50, "tokens_out": 4}
        for number in range(250)
    ]
    # The eighteen cases of the test split are too few to show drift; some hundreds are enough.
    service = permissions.actor_for_command_line(stage.project)
    call_log.record(service, calls)
    finetune_tasks.look_at_drift()
    checked = tuned_models.get_tuned_model(stage.project, model.pk)
    assert [drift["size"] for drift in checked.drifts] == ["too few", "too few"]
    assert not [reason for reason in tuned_models.retuning_reasons(checked) if "measured" in reason]

    run = model.evaluations.get(split="test").candidate
    assert run
    more = Case.objects.exclude(results__run=run)
    first = more.first()
    assert first
    copies = [
        Case(
            **{name: getattr(first, name) for name in ("dataset_id", "added_in", "variables", "split", "is_placed")},
            **{name: getattr(first, name) for name in ("group_hash", "input_hash", "weight")},
            digest=number.to_bytes(32, "big"),
        )
        for number in range(300)
    ]
    Result.objects.bulk_create(
        Result(run=run, case=copied_case, tokens_in=40 + place % 7, tokens_out=4)
        for place, copied_case in enumerate(Case.objects.bulk_create(copies))
    )
    TunedModel.objects.update(drift_looked_at=None)
    finetune_tasks.look_at_drift()

    (reason,) = tuned_models.retuning_reasons(tuned_models.get_tuned_model(stage.project, model.pk))
    assert reason.startswith("Live calls differ from what it was measured on. Length of questions has moved much")


def test_a_model_that_has_to_be_deployed_waits_for_its_name(stage: Stage, job: FineTune, sandbox: Running):
    provider_settings.set_up(stage.ada, job.model.provider, protocol="azure")
    done = until(jobs.submit(stage.edith, job), is_over)
    model = tuned_models.tuned_model_of_job(done)
    assert model is not None
    assert model.model is None
    assert not tuned_models.unmeasured_models().exists()
    with pytest.raises(Problem, match="Deploy"):
        tuned_models.publish(stage.edith, model, environments.get_environment(stage.project, "production"))

    named = tuned_models.set_deployed_name(stage.edith, model, model.remote_name)

    assert named.model is not None
    assert list(tuned_models.unmeasured_models()) == [model]
