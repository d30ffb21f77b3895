"""Jobs at a provider over HTTP: every transition, and every failure on the way."""

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from core.errors import Problem
from evaluations import tasks
from evaluations.comparisons import gates
from evaluations.models import Dataset, ProviderModel
from evaluations.providers import configuration as providers
from finetunes import tasks as finetune_tasks
from finetunes.jobs import lifecycle as jobs
from finetunes.jobs import polling, provider_settings, tuned_models
from finetunes.jobs import worker as job_worker
from finetunes.models import FineTune, TrainingSet, TunedModel
from finetunes.providers import states
from finetunes.providers.protocols import PROTOCOLS
from finetunes.providers.states import JobState
from registry.promotions import approvals, environments, workflow
from tests.conftest import Stage
from tests.finetunes.conftest import is_over, step, until
from tests.sandbox import Running

pytestmark = pytest.mark.usefixtures("settled")
ROOT = Path(__file__).resolve().parents[3]


def is_sent(job: FineTune) -> bool:
    return bool(job.remote_id)


def test_from_a_draft_to_a_model_that_is_measured_and_published(
    stage: Stage, job: FineTune, sandbox: Running, tickets: Dataset
):
    submitted = jobs.submit(stage.edith, job)
    done = until(submitted, is_over)

    assert done.state == JobState.SUCCEEDED
    assert done.trained_tokens is not None
    assert done.cost_usd == Decimal(done.trained_tokens * 3) / 1_000_000
    assert any("succeeded" in event.message for event in done.events.all())
    assert done.points.count() > 5
    figures = {figure.name: figure for figure in jobs.estimated_and_actual(jobs.get_job(done.project, done.pk))}
    last_step = done.points.order_by("-step").values_list("step", flat=True).first()
    assert (figures["steps"].estimated, figures["steps"].actual) == (done.estimate["steps"], last_step)
    assert figures["trained_tokens"].actual == done.trained_tokens
    assert figures["cost_usd"].actual == pytest.approx(float(done.cost_usd))
    assert done.checkpoints.count() == 1
    model = tuned_models.tuned_model_of_job(done)
    assert model is not None
    assert model.model is not None
    price = providers.price_of(model.model)
    assert price is not None
    assert price.input == 1

    for run in tuned_models.measure(model):
        tasks.work_on_run(run.pk)
        tasks.sum_up_run(run.pk)
    for evaluation in tuned_models.uncompared_evaluations():
        finetune_tasks.compare(evaluation.pk)
    for evaluation in tuned_models.evaluations_of(model):
        assert evaluation.error == ""
        assert evaluation.comparison is not None
        tasks.compare_runs(evaluation.comparison.pk)
    task, general = tuned_models.evaluations_of(model)
    assert (task.split, general.split) == ("test", "general")
    assert task.baseline is not None
    assert task.candidate is not None
    assert task.candidate.version == job.training_set.prompt
    assert task.candidate.tokens_in < task.baseline.tokens_in
    assert tuned_models.measure(model) == []

    production = environments.get_environment(stage.project, "production")
    published = tuned_models.publish(stage.edith, tuned_models.get_tuned_model(stage.project, model.pk), production)
    assert published.published is not None
    assert published.promotion is not None
    assert published.published.prompt.name == "support.route"
    assert published.published.content["model"]["name"] == model.remote_name
    gate = gates.create(
        stage.ada,
        production,
        name="quality",
        dataset_version=task.baseline.dataset_version,
        model=job.model,
        scorers=["label"],
        min_quality=0.1,
    )
    gates.start_gate_runs()
    (measuring,) = gate.runs.all()
    assert measuring.run.model == model.model
    tasks.work_on_run(measuring.run_id)
    tasks.sum_up_run(measuring.run_id)
    tasks.settle_gate(measuring.pk)
    workflow.approve(stage.rhea, workflow.get_promotion(stage.project, published.promotion.pk))
    workflow.apply(stage.edith, workflow.get_promotion(stage.project, published.promotion.pk))
    live = approvals.live_release(production, published.published.prompt)
    assert live is not None
    assert live.version == published.published


def test_postgresql_refuses_unknown_transitions_and_changes_of_a_submitted_job(stage: Stage, job: FineTune):
    for state in ("running", "succeeded"):
        with pytest.raises(DatabaseError, match="Invalid transition"), transaction.atomic():
            FineTune.objects.filter(pk=job.pk).update(state=state)
    jobs.submit(stage.edith, job)
    with pytest.raises(DatabaseError, match="never changes"), transaction.atomic():
        FineTune.objects.filter(pk=job.pk).update(hyperparameters={"n_epochs": 9})
    assert set(states.MOVES) | set(states.FINAL_STATES) == set(JobState)


@pytest.mark.parametrize("kind", ["done_then_error", "done_then_drop", "broken_json", "html"])
@pytest.mark.parametrize("on", ["create", "upload"])
def test_a_request_whose_answer_was_lost_is_found_and_not_repeated(
    stage: Stage, job: FineTune, slow_sandbox: Running, kind: str, on: str
):
    slow_sandbox.fault(kind, on=on, count=1)

    sent = until(jobs.submit(stage.edith, job), is_sent)

    assert len(slow_sandbox.jobs()) == 1
    assert slow_sandbox.jobs()[0]["id"] == sent.remote_id
    assert slow_sandbox.jobs()[0]["metadata"] == {"cuebook_ref": str(job.reference)}
    assert len(slow_sandbox.files()) == 2


def test_a_provider_that_never_answers_gets_one_create_request(stage: Stage, job: FineTune, slow_sandbox: Running):
    provider = job.model.provider
    provider.project = stage.project
    providers.change(stage.ada, provider, timeout_seconds=1)
    slow_sandbox.fault("done_then_hang", on="create", count=1)

    sent = until(jobs.submit(stage.edith, job), is_sent)

    assert [row["id"] for row in slow_sandbox.jobs()] == [sent.remote_id]


def test_a_create_request_that_never_arrived_is_sent_again(stage: Stage, job: FineTune, slow_sandbox: Running):
    slow_sandbox.fault("overloaded", on="create", count=2)

    sent = until(jobs.submit(stage.edith, job), is_sent)

    assert [row["id"] for row in slow_sandbox.jobs()] == [sent.remote_id]


def test_nothing_is_sent_again_before_the_list_has_had_time(
    stage: Stage, job: FineTune, slow_sandbox: Running, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(job_worker, "LISTING_DELAY", timedelta(minutes=1))
    slow_sandbox.fault("overloaded", on="create", count=1)
    waiting = until(jobs.submit(stage.edith, job), lambda row: row.asked_at is not None)

    for _ in range(3):
        waiting = step(waiting)

    assert waiting.remote_id == ""
    assert "is searched" in waiting.note
    assert slow_sandbox.jobs() == []


@pytest.mark.parametrize(
    ("kind", "state"), [("unauthorized", "attention"), ("no_credit", "attention"), ("refused", "attention")]
)
def test_a_failure_that_only_a_user_can_fix_waits_for_one_and_goes_on(
    stage: Stage, job: FineTune, slow_sandbox: Running, kind: str, state: str
):
    slow_sandbox.fault(kind, on="create", count=1)
    stuck = until(jobs.submit(stage.edith, job), lambda row: row.state == state)
    assert stuck.error
    assert stuck.next_poll_at is None
    assert job_worker.advance(job.pk) is None

    sent = until(jobs.retry(stage.edith, stuck), is_sent)

    assert [row["id"] for row in slow_sandbox.jobs()] == [sent.remote_id]


def test_a_rate_limit_is_respected(stage: Stage, job: FineTune, slow_sandbox: Running):
    sent = until(jobs.submit(stage.edith, job), is_sent)
    slow_sandbox.fault("rate_limited", on="poll", count=1, retry_after=3_000)

    waiting = step(sent)

    assert waiting.next_poll_at is not None
    assert waiting.next_poll_at > timezone.now() + timedelta(seconds=2_900)
    assert (waiting.state, waiting.consecutive_failures) == (JobState.QUEUED, 1)
    assert step(waiting).consecutive_failures == 0


def test_an_unknown_status_is_shown_and_ends_nothing(stage: Stage, job: FineTune, slow_sandbox: Running):
    sent = until(jobs.submit(stage.edith, job), is_sent)
    slow_sandbox.move(sent.remote_id, "paused_for_lunch")

    updated = step(sent)

    assert (updated.state, updated.remote_status) == (JobState.QUEUED, "paused_for_lunch")
    assert "paused_for_lunch" in updated.note
    assert updated.next_poll_at is not None
    slow_sandbox.move(sent.remote_id, "running")
    assert step(updated).state == JobState.RUNNING
    slow_sandbox.move(sent.remote_id, "queued")
    assert step(updated).state == JobState.QUEUED
    slow_sandbox.move(sent.remote_id, "failed")
    assert step(updated).state == JobState.FAILED


def test_a_success_without_a_model_needs_attention(stage: Stage, job: FineTune, slow_sandbox: Running):
    sent = until(jobs.submit(stage.edith, job), is_sent)
    slow_sandbox.move(sent.remote_id, "succeeded")

    assert step(sent).state == JobState.NEEDS_ATTENTION
    assert not TunedModel.objects.exists()


def test_cancelling_at_every_stage(stage: Stage, training_set: TrainingSet, base: ProviderModel, slow_sandbox: Running):
    def fresh() -> FineTune:
        return jobs.draft(stage.edith, training_set, base)

    assert jobs.cancel(stage.edith, fresh()).state == JobState.CANCELLED
    submitted = jobs.submit(stage.edith, fresh())
    assert jobs.cancel(stage.edith, submitted).state == JobState.CANCELLED
    assert slow_sandbox.jobs() == []
    uploading = until(jobs.submit(stage.edith, fresh()), lambda row: row.training_file != "")
    assert until(jobs.cancel(stage.edith, uploading), is_over).state == JobState.CANCELLED
    assert slow_sandbox.jobs() == []
    sent = until(jobs.submit(stage.edith, fresh()), is_sent)
    slow_sandbox.fault("overloaded", on="cancel", count=1)
    ended = until(jobs.cancel(stage.edith, sent), is_over)
    assert ended.state == JobState.CANCELLED
    assert [row["status"] for row in slow_sandbox.jobs()] == ["cancelled"]
    with pytest.raises(Problem, match="over"):
        jobs.cancel(stage.edith, ended)


def test_a_job_whose_answer_was_lost_is_cancelled_all_the_same(stage: Stage, job: FineTune, slow_sandbox: Running):
    slow_sandbox.fault("done_then_error", on="create", count=1)
    lost = until(jobs.submit(stage.edith, job), lambda row: row.asked_at is not None)

    ended = until(jobs.cancel(stage.edith, lost), is_over)

    assert ended.state == JobState.CANCELLED
    assert [row["status"] for row in slow_sandbox.jobs()] == ["cancelled"]


def test_the_list_has_its_time_from_when_the_answer_was_lost(
    stage: Stage, job: FineTune, slow_sandbox: Running, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(job_worker, "LISTING_DELAY", timedelta(seconds=2))
    provider = job.model.provider
    provider.project = stage.project
    providers.change(stage.ada, provider, timeout_seconds=3)
    slow_sandbox.fault("hang", on="create", count=1)
    lost = until(jobs.submit(stage.edith, job), lambda row: row.consecutive_failures > 0 and row.asked_at is not None)

    # The request was sent more than two seconds ago, and was waited for; the list has been searched once.
    assert "is searched" in step(lost).note


def test_a_job_that_cannot_be_reached_any_more_can_be_cancelled(stage: Stage, job: FineTune, slow_sandbox: Running):
    sent = until(jobs.submit(stage.edith, job), is_sent)
    slow_sandbox.fault("unauthorized", on="poll")
    slow_sandbox.fault("unauthorized", on="cancel")
    stuck = step(jobs.cancel(stage.edith, sent))
    assert (stuck.state, stuck.resumes_at) == (JobState.NEEDS_ATTENTION, JobState.QUEUED)

    ended = jobs.cancel(stage.edith, stuck)

    assert (ended.state, ended.note) == (JobState.CANCELLED, "Cancelled here; the provider could not be reached.")


def test_a_job_that_the_provider_no_longer_has_is_over_when_it_is_cancelled(
    stage: Stage, job: FineTune, slow_sandbox: Running
):
    sent = until(jobs.submit(stage.edith, job), is_sent)
    FineTune.objects.filter(pk=sent.pk).update(remote_id="ftjob-gone")

    assert step(jobs.cancel(stage.edith, sent)).state == JobState.CANCELLED


def test_a_result_that_cannot_be_saved_and_a_step_that_ends_workers_wait_for_a_user(
    stage: Stage, job: FineTune, monkeypatch: pytest.MonkeyPatch
):
    submitted = jobs.submit(stage.edith, job)
    with monkeypatch.context() as patched:
        patched.setitem(job_worker._STEPS, JobState.VALIDATING, lambda _: job_worker._StepResult({"note": "a\x00b"}))
        stuck = step(submitted)
    assert (stuck.state, stuck.heartbeat_at) == (JobState.NEEDS_ATTENTION, None)
    FineTune.objects.filter(pk=job.pk).update(attempts=FineTune.MAX_ATTEMPTS)

    stuck = step(jobs.retry(stage.edith, stuck))

    assert "workers ended" in stuck.error
    assert (stuck.state, stuck.attempts) == (JobState.NEEDS_ATTENTION, 0)


def test_a_job_is_submitted_at_the_prices_of_that_day(stage: Stage, training_set: TrainingSet, base: ProviderModel):
    drafted = jobs.draft(stage.edith, training_set, base, budget_usd="1")
    provider_settings.set_price(stage.ada, base, {"training": "100000"})
    with pytest.raises(Problem, match="the budget is"):
        jobs.submit(stage.edith, drafted)
    provider_settings.set_price(stage.ada, base, {"training": "2"})

    submitted = jobs.submit(stage.edith, jobs.get_job(stage.project, drafted.pk))

    assert submitted.price == {"training": "2.000000", "tuned_input": None, "tuned_output": None}


def test_jobs_wait_for_a_slot(stage: Stage, training_set: TrainingSet, base: ProviderModel, slow_sandbox: Running):
    provider_settings.set_up(stage.ada, base.provider, max_jobs=1)
    first, second = (jobs.submit(stage.edith, jobs.draft(stage.edith, training_set, base)) for _ in range(2))
    first = until(first, is_sent)

    waiting = step(second)

    assert (waiting.state, waiting.note[:6]) == (JobState.VALIDATING, "Waits:")
    until(jobs.cancel(stage.edith, first), is_over)
    assert is_sent(until(waiting, is_sent))


def test_costs_leaks_and_last_days_are_checked_before_anything_is_sent(
    stage: Stage, training_set: TrainingSet, base: ProviderModel
):
    dear = jobs.draft(stage.edith, training_set, base, budget_usd="0.000001")
    with pytest.raises(Problem) as refusal:
        jobs.submit(stage.edith, dear)
    assert refusal.value.code == "finetune.over_budget"
    with pytest.raises(Problem) as refusal:
        jobs.draft(stage.edith, training_set, base, hyperparameters={"n_epochs": 99, "beta": 1, "speed": 1})
    assert {fault.pointer for fault in refusal.value.faults} == {
        "/hyperparameters/n_epochs",
        "/hyperparameters/beta",
        "/hyperparameters/speed",
    }
    ends = PROTOCOLS["openai"].closes
    assert ends is not None
    provider_settings.set_up(stage.ada, base.provider, protocol="openai")
    provider_settings.require_tunable(base, ends - timedelta(days=1))
    assert "2027-01-06" in provider_settings.shutdown_warnings(base, ends - timedelta(days=1))[0]
    with pytest.raises(Problem) as refusal:
        provider_settings.require_tunable(base, ends)
    assert refusal.value.code == "finetune.closed"


def test_pauses_grow_respect_retry_after_and_never_coincide():
    assert [round(polling.pause_seconds(n) / 5) for n in (0, 2)] <= [
        round(polling.pause_seconds(n) * 1.3) for n in (1, 4)
    ]
    assert polling.pause_seconds(10**6) <= polling.MAX_PAUSE_SECONDS * 1.2
    assert polling.backoff_seconds(10**6) <= polling.MAX_BACKOFF_SECONDS * 1.2
    assert polling.backoff_seconds(1, 100.0) >= 100
    assert len({polling.pause_seconds(0) for _ in range(20)}) > 10


def test_of_two_workers_one_takes_the_step(stage: Stage, job: FineTune):
    submitted = jobs.submit(stage.edith, job)
    FineTune.objects.filter(pk=submitted.pk).update(heartbeat_at=timezone.now())

    assert job_worker.advance(job.pk) is None


KILLED = """
import os, sys, django
django.setup()
from django.conf import settings
from django.db import connections
settings.SANDBOX_URL, name, key = sys.argv[1], sys.argv[2], int(sys.argv[3])
connections.settings["default"]["NAME"] = name
from finetunes.jobs import worker
for _ in range(6):
    worker.advance(key)
"""


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_is_killed_between_acceptance_and_our_commit_leaves_one_job(
    stage: Stage, job: FineTune, slow_sandbox: Running
):
    """The provider has accepted and its answer is on the way when the worker dies."""
    slow_sandbox.fault("slow", on="create", count=1, seconds=30)
    jobs.submit(stage.edith, job)
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings"}
    command = [sys.executable, "-c", KILLED, slow_sandbox.url, connection.settings_dict["NAME"], str(job.pk)]
    worker = subprocess.Popen(command, cwd=ROOT, env=environment)
    until_then = time.monotonic() + 60
    while not slow_sandbox.jobs() and time.monotonic() < until_then:
        assert worker.poll() is None, "The worker ended by itself."
        time.sleep(0.1)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    left = FineTune.objects.get(pk=job.pk)
    assert (left.state, left.remote_id, left.asked_at is not None) == (JobState.UPLOADING, "", True)

    # The lease runs out; the next worker looks before it asks.
    lapsed = timezone.now() - FineTune.LEASE_TIMEOUT - timedelta(seconds=1)
    FineTune.objects.filter(pk=job.pk).update(heartbeat_at=lapsed)
    sent = until(jobs.get_job(stage.project, job.pk), is_sent)

    assert [row["id"] for row in slow_sandbox.jobs()] == [sent.remote_id]
