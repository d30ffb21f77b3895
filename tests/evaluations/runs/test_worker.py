"""Runs, driven by a worker against a real server: what comes of them when all goes well, and when it does not."""

import time
from decimal import Decimal
from typing import Any

import pytest
from django.db import ProgrammingError
from django.utils import timezone

from core.errors import Problem
from evaluations.datasets import lifecycle as datasets
from evaluations.models import BatchState, Dataset, Provider, ProviderModel, Result, Run, RunBatch, RunState
from evaluations.providers import configuration as providers
from evaluations.runs import batches
from evaluations.runs import lifecycle as runs
from evaluations.runs import worker as run_worker
from evaluations.runs.calls import LOOK_AHEAD_SECONDS
from evaluations.runs.summaries import sum_up
from evaluations.runs.worker import TickResult, tick
from registry.models import PromptVersion
from registry.prompts import versions
from tests.conftest import Stage
from tests.evaluations.conftest import make_run
from tests.sandbox import Running


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried again at once."""
    monkeypatch.setattr("evaluations.providers.retries.FIRST_PAUSE_SECONDS", 0.01)


def again(run: Run) -> Run:
    return runs.get_run(run.project, run.pk)


def test_a_run_asks_each_case_once_and_is_summed_up(run: Run, sandbox: Running):
    assert tick(run) == TickResult.OVER

    sum_up(run)
    done = again(run)
    assert (done.state, done.answered, done.failed, done.from_cache) == (RunState.DONE, 60, 0, 0)
    assert len(sandbox.calls()) == 60
    assert done.summary is not None
    assert done.summary["quality"]["n"] == 60
    assert 0 < done.summary["quality"]["value"] < 1
    assert done.summary["scorers"][0]["labels"]["macro_f1"] > 0
    assert done.summary["latency_ms"]["p50"]["value"] > 0
    assert Decimal(str(done.summary["cost_usd"])) == pytest.approx(done.cost_usd)
    tokens = sum(call["usage"]["prompt_tokens"] for call in sandbox.calls())
    assert done.tokens_in == tokens
    assert done.cost_usd == Decimal(done.tokens_in + 4 * done.tokens_out) / 1_000_000


def test_a_second_run_of_the_same_is_free_and_says_so(
    stage: Stage, run: Run, version: PromptVersion, tickets: Dataset, model: ProviderModel, sandbox: Running
):
    tick(run)
    repeated = make_run(stage, version, tickets, model, scorers=["exact"])

    tick(repeated)

    done = again(repeated)
    assert (done.state, done.from_cache, done.cost_usd) == (RunState.DONE, 60, 0)
    assert len(sandbox.calls()) == 60
    # A call costs what it costs, whoever paid: figures of the two runs can be compared.
    assert done.results.first().cost_usd == run.results.first().cost_usd


def test_above_temperature_zero_every_repeat_is_asked(
    stage: Stage, version: PromptVersion, tickets: Dataset, model: ProviderModel, sandbox: Running
):
    warm = make_run(stage, version, tickets, model, parameters={"temperature": 1}, repetitions=2, limit=10)

    tick(warm)

    assert again(warm).answered == len(sandbox.calls()) == 20
    assert not sandbox.paid_twice()


def test_answers_are_judged_again_without_asking(stage: Stage, run: Run, sandbox: Running):
    tick(run)
    judged = runs.rescore(stage.edith, again(run), ["exact", {"scorer": "length", "threshold": 3}])

    assert tick(judged) == TickResult.OVER

    assert again(judged).answered == 60
    assert len(sandbox.calls()) == 60
    assert set(judged.results.first().scores) == {"exact", "length"}


@pytest.mark.parametrize("kind", ["rate_limited", "overloaded", "drop", "html", "broken_json", "empty", "wrong_types"])
def test_what_a_second_try_mends_is_tried_again(run: Run, sandbox: Running, kind: str):
    sandbox.fault(kind, count=5)

    assert tick(run) == TickResult.OVER

    done = again(run)
    assert (done.state, done.answered, done.failed) == (RunState.DONE, 60, 0)
    assert not sandbox.paid_twice()


@pytest.mark.parametrize(
    ("kind", "message"), [("unauthorized", "Incorrect API key"), ("no_credit", "exceeded your current quota")]
)
def test_what_nobody_but_an_admin_can_mend_ends_the_run(run: Run, sandbox: Running, kind: str, message: str):
    sandbox.fault(kind)

    tick(run)

    ended = again(run)
    assert ended.state == RunState.FAILED
    assert message in ended.error
    assert not run.results.exists()


def test_a_run_that_failed_goes_on_where_it_was(stage: Stage, run: Run, sandbox: Running):
    sandbox.fault("unauthorized")
    tick(run)
    sandbox.fix()

    tick(runs.resume(stage.edith, again(run)))

    assert again(run).state == RunState.DONE
    assert len(sandbox.calls()) == 60


def test_a_provider_that_is_down_is_waited_for(run: Run, sandbox: Running, monkeypatch: pytest.MonkeyPatch):
    sandbox.fault("overloaded")

    assert tick(run) == TickResult.WAITING

    waiting = again(run)
    assert waiting.state == RunState.RUNNING
    assert "Goes on at" in waiting.note
    assert waiting.not_before is not None
    assert not runs.claimable_runs().filter(pk=run.pk).exists()
    assert set(run.batches.values_list("state", flat=True)) == {BatchState.PENDING}
    sandbox.fix()
    Run.objects.filter(pk=run.pk).update(not_before=None)
    assert tick(again(run)) == TickResult.OVER
    done = again(run)
    assert (done.state, done.note, done.consecutive_failures) == (RunState.DONE, "", 0)
    assert len(sandbox.calls()) == 60


def test_a_provider_that_stays_down_ends_the_run(run: Run, sandbox: Running):
    sandbox.fault("drop")
    Run.objects.filter(pk=run.pk).update(consecutive_failures=run_worker.MAX_CONSECUTIVE_FAILURES)

    tick(again(run))

    assert again(run).state == RunState.FAILED


def test_first_answers_that_all_fail_alike_end_the_run(run: Run, sandbox: Running):
    sandbox.fault("refused")

    tick(run)

    ended = again(run)
    assert ended.state == RunState.FAILED
    assert "context length" in ended.error
    assert run_worker.FIRST_ERRORS <= ended.answered < 60 or ended.answered == 60


def test_one_bad_call_is_that_cases_error(run: Run, sandbox: Running):
    sandbox.fault("refused", count=1)

    tick(run)

    done = again(run)
    assert (done.state, done.answered, done.failed) == (RunState.DONE, 60, 1)
    missed = run.results.exclude(error="").get()
    assert missed.error == "call.refused"
    assert (missed.quality, missed.passed) == (0.0, False)


def test_a_refusal_and_a_cut_off_answer_are_answers(run: Run, sandbox: Running):
    sandbox.fault("model_refuses", count=1)
    sandbox.fault("cut_off", count=1)

    tick(run)

    assert run.results.exclude(refusal="").count() == 1
    assert run.results.filter(finish_reason="length").count() == 1
    assert again(run).failed == 0


def test_a_budget_stops_cleanly_and_can_be_raised(
    stage: Stage, version: PromptVersion, tickets: Dataset, model: ProviderModel, sandbox: Running
):
    budget = Decimal("0.002")
    dear = make_run(stage, version, tickets, model, budget_usd=str(budget))

    tick(dear)

    stopped = again(dear)
    assert stopped.state == RunState.STOPPED
    assert 0 < stopped.answered < 60
    assert stopped.cost_usd <= budget
    assert len(sandbox.calls()) == stopped.answered
    with pytest.raises(Problem, match="has cost"):
        runs.resume(stage.edith, stopped, budget_usd="0.0001")
    tick(runs.resume(stage.edith, stopped, budget_usd="1"))
    assert again(dear).state == RunState.DONE
    assert len(sandbox.calls()) == 60


def test_a_budget_needs_a_price(stage: Stage, version: PromptVersion, tickets: Dataset, model: ProviderModel):
    unpriced = model.provider.models.create(name="sandbox-large")

    with pytest.raises(Problem) as refused:
        make_run(stage, version, tickets, unpriced, budget_usd="1")

    assert refused.value.code == "run.no_price"


def test_a_cancelled_run_keeps_what_is_paid_for(
    stage: Stage, run: Run, sandbox: Running, monkeypatch: pytest.MonkeyPatch
):
    save_results = batches.save_results

    def keep_and_cancel(*arguments: Any) -> Run:
        save_results(*arguments)
        if Run.objects.get(pk=run.pk).is_open:
            runs.cancel(stage.edith, run)
        return Run.objects.get(pk=run.pk)

    monkeypatch.setattr("evaluations.runs.batches.save_results", keep_and_cancel)
    monkeypatch.setattr("evaluations.runs.unsaved.MAX_UNSAVED_RESULTS", 5)

    assert tick(run) == TickResult.OVER

    ended = again(run)
    assert ended.state == RunState.CANCELLED
    assert 5 <= ended.answered < 60
    assert len(sandbox.calls()) == ended.answered


def test_a_turn_ends_in_time_and_the_next_goes_on(run: Run, sandbox: Running):
    assert tick(run, seconds=-1) == TickResult.AGAIN
    assert tick(again(run)) == TickResult.OVER
    assert again(run).answered == 60


def test_what_a_dead_worker_left_is_taken_up(run: Run, sandbox: Running):
    batches.begin(run)
    lost = batches.claim(run)
    assert lost is not None
    assert not runs.claimable_runs().filter(pk=run.pk).exists(), "somebody is at it"
    RunBatch.objects.filter(pk=lost.batch.pk).update(heartbeat_at="2020-01-01T00:00:00Z")
    assert runs.claimable_runs().filter(pk=run.pk).exists()

    assert tick(again(run)) == TickResult.OVER

    done = again(run)
    assert (done.state, done.answered) == (RunState.DONE, 60)
    assert done.asked_again == len(lost.batch.cases), "what was in the air may have been asked before"


def test_a_result_that_is_there_is_not_counted_twice(run: Run, sandbox: Running):
    """Two workers with one batch: the later brings the same answers, and adds nothing."""
    tick(run)
    before = again(run)
    RunBatch.objects.filter(run=run).update(state=BatchState.PENDING)
    Run.objects.filter(pk=run.pk).update(state=RunState.RUNNING)

    tick(again(run))

    after = again(run)
    assert (after.answered, after.cost_usd, after.state) == (before.answered, before.cost_usd, RunState.DONE)
    assert Result.objects.filter(run=run).count() == 60


def test_a_case_that_cannot_be_rendered_is_an_error_of_its_own(
    stage: Stage, version: PromptVersion, model: ProviderModel, sandbox: Running
):
    dataset = datasets.create(stage.edith, name="odd")
    datasets.change(stage.edith, dataset, added=[{"variables": {"ticket": "x"}}, {"variables": {"other": "x"}}])
    odd = make_run(stage, version, datasets.get_dataset(stage.project, "odd"), model, scorers=["length"])

    tick(odd)

    done = again(odd)
    assert (done.state, done.answered, done.failed) == (RunState.DONE, 2, 1)
    assert odd.results.exclude(error="").get().error == "render.missing_variable"


def test_examples_that_are_still_being_embedded_are_waited_for(
    run: Run, sandbox: Running, monkeypatch: pytest.MonkeyPatch
):
    def not_yet(*_: Any) -> Any:
        raise Problem("examples.not_embedded", "42 of 42 examples are still being embedded.")

    with monkeypatch.context() as patch:
        patch.setattr("registry.prompts.versions.render_requests", not_yet)
        assert tick(run) == TickResult.WAITING
    waiting = again(run)
    assert (waiting.state, waiting.answered) == (RunState.RUNNING, 0)
    assert "still being embedded" in waiting.note
    Run.objects.filter(pk=run.pk).update(not_before=None)
    assert tick(again(run)) == TickResult.OVER
    assert (again(run).answered, again(run).failed) == (60, 0)


def test_a_judge_is_a_registered_prompt(
    stage: Stage, version: PromptVersion, tickets: Dataset, model: ProviderModel, sandbox: Running
):
    rubric = {
        "kind": "chat",
        "messages": [{"role": "user", "content": "Is {{ output }} right for {{ input }}? Expected: {{ expected }}."}],
        "model": {"name": "sandbox-small", "temperature": 0},
        "response": {
            "format": "json_schema",
            "name": "grade",
            "schema": {
                "type": "object",
                "properties": {"score": {"type": "number"}, "reason": {"type": "string"}},
                "required": ["score", "reason"],
                "additionalProperties": False,
            },
        },
    }
    judge = versions.commit(stage.edith, stage.prompt("judges.route"), content=rubric, message="x").version
    judged = make_run(
        stage,
        version,
        tickets,
        model,
        limit=10,
        scorers=["label", {"scorer": "judge", "parameters": {"prompt": "judges.route@latest"}}],
    )
    assert judged.scorers[1]["parameters"]["prompt"] == f"judges.route@{judge.content_hash}"

    tick(judged)

    done = again(judged)
    assert (done.state, done.answered) == (RunState.DONE, 10)
    assert len(sandbox.calls()) == 20
    scores = [row.scores["judge"] for row in judged.results.all()]
    assert all(0 <= score["value"] <= 1 and "unread" not in score.get("found", {}) for score in scores)
    assert done.cost_usd > sum(row.cost_usd for row in judged.results.all()), "judging is paid for as well"


def test_a_model_that_is_archived_on_the_way_is_asked_no_more(run: Run, stage: Stage, sandbox: Running):
    archived = providers.archive_model(stage.ada, run.model)

    tick(again(run))

    stopped = again(run)
    assert (stopped.state, "was archived" in stopped.error) == (RunState.FAILED, True)
    assert not sandbox.calls()
    with pytest.raises(Problem, match="is archived; restore it"):
        runs.resume(stage.edith, stopped)
    providers.restore_model(stage.ada, archived)
    assert runs.resume(stage.edith, again(run)).state == RunState.PENDING


def test_a_judge_that_is_archived_is_asked_no_more(
    stage: Stage, version: PromptVersion, tickets: Dataset, model: ProviderModel, sandbox: Running
):
    stage.commit(stage.prompt("judges.route"), "Grade {{ output }}, with a score.", model={"name": "sandbox-large"})
    large = providers.add_model(stage.ada, model.provider, "sandbox-large")
    scorers = ["label", {"scorer": "judge", "parameters": {"prompt": "judges.route@latest"}}]
    judged = make_run(stage, version, tickets, model, limit=10, scorers=scorers)
    providers.archive_model(stage.ada, large)

    tick(judged)

    stopped = again(judged)
    assert (stopped.state, stopped.error) == (
        RunState.FAILED,
        "sandbox/sandbox-large is archived; restore it to ask it.",
    )
    assert not sandbox.calls()
    with pytest.raises(Problem, match="sandbox-large is archived"):
        runs.resume(stage.edith, stopped)


def test_frozen_is_frozen(run: Run):
    with pytest.raises(ProgrammingError, match="never change"):
        Run.objects.filter(pk=run.pk).update(repetitions=3)


def test_a_run_that_breaks_ends_and_is_not_asked_again(run: Run, sandbox: Running, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: Any) -> Any:
        raise ValueError("never thought of")

    monkeypatch.setattr(batches, "save_results", broken)

    assert tick(run) == TickResult.OVER

    assert again(run).state == RunState.FAILED
    assert "the log has it" in again(run).error
    call_count = len(sandbox.calls())
    assert tick(again(run)) == TickResult.OVER
    assert len(sandbox.calls()) == call_count


def test_what_is_free_says_nothing_of_what_a_call_costs(
    stage: Stage, run: Run, version: PromptVersion, tickets: Dataset, model: ProviderModel, sandbox: Running
):
    tick(make_run(stage, version, tickets, model, limit=5))
    call_count = len(sandbox.calls())

    tight = make_run(stage, version, tickets, model, budget_usd="0.0005")
    tick(tight)

    stopped = again(tight)
    assert stopped.state == RunState.STOPPED
    assert stopped.from_cache == 5
    assert stopped.cost_usd <= Decimal("0.0006")
    assert len(sandbox.calls()) - call_count <= 12


def test_a_turn_takes_back_what_is_queued_for_later(run: Run, model: ProviderModel, sandbox: Running):
    Provider.objects.filter(pk=model.provider_id).update(requests_per_minute=60)
    started = time.monotonic()

    assert tick(again(run), seconds=1.0) == TickResult.AGAIN

    assert time.monotonic() - started < 15, "Sixty calls at one a second were not waited for."
    assert 0 < len(sandbox.calls()) < 60
    ahead = (Provider.objects.get(pk=model.provider_id).next_request_at - timezone.now()).total_seconds()
    assert ahead < LOOK_AHEAD_SECONDS + 3, "Turns that nobody uses are lost to all; few are reserved ahead."


@pytest.mark.parametrize(
    "parameters", [{"max_tokens": "abc"}, {"temperature": "hot"}, {"temperature": 1e999}, {"n": 2}]
)
def test_settings_that_no_provider_takes_are_refused(
    stage: Stage, version: PromptVersion, tickets: Dataset, model: ProviderModel, parameters: Any
):
    with pytest.raises(Problem) as refusal:
        make_run(stage, version, tickets, model, parameters=parameters)

    assert refusal.value.code == "request.invalid"
    assert refusal.value.faults[0].pointer.startswith("/parameters")


def test_old_answers_are_free_and_say_nothing_of_latency(
    stage: Stage, run: Run, version: PromptVersion, tickets: Dataset, model: ProviderModel, sandbox: Running
):
    tick(run)
    cached = make_run(stage, version, tickets, model, scorers=["exact"])
    fresh = make_run(stage, version, tickets, model, scorers=["exact"], fresh=True)
    for measured in (cached, fresh):
        tick(measured)
        sum_up(again(measured))

    assert (again(cached).from_cache, again(fresh).from_cache) == (60, 0)
    assert len(sandbox.calls()) == 120
    medians = [(again(measured).summary or {})["latency_ms"]["p50"] for measured in (cached, fresh)]
    assert medians[0] is None
    assert medians[1]["value"] > 0
