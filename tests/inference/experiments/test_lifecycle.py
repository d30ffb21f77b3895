"""Experiments are promoted like prompts: no arm and no weight is served that was not approved."""

from typing import Any

import pytest
from django.db import DatabaseError, transaction

from core.errors import Problem
from inference.experiments import lifecycle, runs, serving
from inference.models import ExperimentArm, ExperimentEvent, ExperimentRun
from registry.accounts.permissions import Actor
from registry.models import AuditEntry
from registry.promotions import releases, workflow
from registry.prompts import versions
from tests.conftest import Stage
from tests.inference.experiments.conftest import Lab


def code_of(work: Any) -> str:
    with pytest.raises(Problem) as problem, transaction.atomic():
        work()
    return problem.value.code


def test_a_release_begins_a_run_with_what_was_approved(lab: Lab):
    run = lab.start(arms=[{"version": f"{lab.prompt.name}@latest", "weight": 12.5}], ramp=[10, 100])

    split = lab.split(run)
    (arm,) = split.challengers
    assert (split.baseline, arm.name, arm.weight, run.percent) == ("v1", "v2", 125, 10)
    assert [event.kind for event in run.events.all()] == ["started"]
    assert serving.find_run(lab.stage.project, lab.prompt.name, "production") == run
    assert serving.find_run(lab.stage.project, lab.prompt.name, "staging") is None


def test_an_arm_that_nobody_approved_is_refused_at_request_and_at_release(lab: Lab, stage: Stage):
    other = stage.commit(lab.prompt, "Never reviewed.")
    experiment = lab.commit(arms=[{"version": f"{lab.prompt.name}@{other.number}", "weight": 50}])

    assert code_of(lambda: lab.release(experiment)) == "experiment.not_approved"
    # Where nobody has to approve, nobody has.
    stage.release(lab.live, "staging")
    assert lab.release(experiment, "staging").environment.name == "staging"


def test_an_approval_that_is_withdrawn_before_the_release_counts_no_more(lab: Lab, stage: Stage):
    experiment = lifecycle.get_experiment(stage.project, lab.commit().name)
    promotion = lifecycle.propose(stage.edith, experiment, stage.environment("production"))
    workflow.approve(stage.rhea, promotion)
    workflow.withdraw(stage.edith, lab.arm_promotion)

    assert code_of(lambda: workflow.apply(stage.edith, promotion)) == "experiment.not_approved"
    assert not ExperimentRun.objects.exists()


def test_who_asks_for_an_experiment_cannot_approve_it(lab: Lab, stage: Stage):
    experiment, _ = lifecycle.commit(stage.rhea, "hers", lab.document())
    experiment = lifecycle.get_experiment(stage.project, "hers")
    promotion = lifecycle.propose(stage.rhea, experiment, stage.environment("production"))

    assert code_of(lambda: workflow.approve(stage.rhea, promotion)) == "promotion.own_approval"
    workflow.approve(stage.ralf, promotion)


def test_the_baseline_has_to_be_live(lab: Lab, stage: Stage):
    experiment = lab.commit()
    stage.release(stage.commit(lab.prompt, "Newer."))

    assert code_of(lambda: lab.release(experiment)) == "experiment.not_live"


def test_a_release_of_the_prompt_ends_the_run_in_its_own_transaction(lab: Lab, stage: Stage):
    run = lab.start()

    workflow.apply(stage.edith, lab.arm_promotion)

    run.refresh_from_db()
    assert (run.end_reason, run.ended_at is not None) == ("Version 2 was released.", True)
    assert serving.find_run(stage.project, lab.prompt.name, "production") is None


def test_other_weights_are_another_promotion_and_keep_the_salt(lab: Lab, stage: Stage):
    first = lab.start()
    second = lab.start(arms=[{"version": f"{lab.prompt.name}@2", "weight": 20}])

    first.refresh_from_db()
    assert first.ended_at is not None
    assert lab.split(first).salt == lab.split(second).salt
    assert runs.running(prompt=lab.prompt).get() == second
    # Back to what was approved before: a rollback, like of any prompt.
    holder = second.experiment.holder
    releases.roll_back(stage.edith, holder, stage.environment("production"))
    assert lab.split(runs.running(prompt=lab.prompt).get()).challengers[0].weight == 5_000


def test_a_prompt_has_one_experiment_at_a_time_in_an_environment(lab: Lab):
    lab.start()
    assert code_of(lambda: lab.start("another")) == "experiment.other_runs"


def test_what_somebody_commits_by_hand_is_not_run(lab: Lab, stage: Stage):
    experiment = lab.commit()
    text = experiment.holder.versions.get().content["text"]
    for by_hand in ("{}", text.replace('"weight": 50', '"weight": 1, "weight": 50')):
        content = {"kind": "text", "text": by_hand}
        versions.commit(stage.edith, experiment.holder, content=content, message="by hand")
        assert code_of(lambda: lab.release(experiment)) == "experiment.invalid"


@pytest.mark.parametrize("name", ["new", "runs", "Not a name", "", "x" * 101])
def test_names_that_pages_have_are_taken(lab: Lab, name: str):
    assert code_of(lambda: lab.commit(name)) == "experiment.invalid"


def test_an_arm_is_stopped_and_the_last_one_ends_the_run(lab: Lab, stage: Stage):
    run = lab.start()

    runs.stop_arm(stage.edith, run, "v2", reason="Odd answers.")

    run.refresh_from_db()
    assert run.end_reason == "No arm is left beside the baseline."
    assert lab.split(run).arm_of("anybody") in ("v1", None)
    assert code_of(lambda: runs.stop_arm(stage.edith, run, "v2", reason="Again.")) == "experiment.ended"
    actions = AuditEntry.objects.filter(action__startswith="experiment.").values_list("action", flat=True)
    assert set(actions) == {"experiment.created", "experiment.arm_stopped", "experiment.ended"}


def test_subjects_of_a_stopped_arm_leave_and_the_others_stay(lab: Lab, stage: Stage):
    third = stage.commit(lab.prompt, "A third.")
    promotion = workflow.request(stage.edith, third.prompt, third, stage.environment("production"))
    workflow.approve(stage.rhea, promotion)
    arms = [{"version": f"{lab.prompt.name}@{number}", "weight": 30} for number in (2, 3)]
    run = lab.start(arms=arms)
    before = {subject: lab.split(run).arm_of(subject) for subject in map(str, range(500))}

    runs.stop_arm(stage.edith, run, "v2", reason="Odd answers.")

    split = lab.split(run)
    assert all(split.arm_of(subject) == (None if arm == "v2" else arm) for subject, arm in before.items())


def test_steps_go_up_the_approved_ramp_and_no_further(lab: Lab, stage: Stage):
    run = lab.start(ramp=[1, 100])

    runs.step(stage.edith, run, reason="")

    assert lab.split(run).challengers[0].weight == 5_000
    assert code_of(lambda: runs.step(stage.edith, run, reason="")) == "experiment.no_step"


@pytest.mark.parametrize("verb", ["stop_arm", "step", "end"])
def test_viewers_and_outsiders_change_nothing(lab: Lab, stage: Stage, otis: Actor, verb: str):
    run = lab.start(ramp=[1, 100])
    arguments = ("v2",) if verb == "stop_arm" else ()

    assert code_of(lambda: getattr(runs, verb)(stage.vera, run, *arguments, reason="no")) == "access.denied"
    assert code_of(lambda: runs.get_run(otis.project, run.pk)) == "experiment.not_found"


def test_the_database_keeps_a_run_as_it_was(lab: Lab):
    run = lab.start(ramp=[1, 100])
    other = {"release_id": run.release_id}
    for change in (
        lambda: ExperimentRun.objects.filter(pk=run.pk).update(step=0),
        lambda: ExperimentRun.objects.filter(pk=run.pk).update(metrics=["cost"]),
        lambda: ExperimentArm.objects.filter(run=run).update(weight=9_000),
        lambda: ExperimentEvent.objects.filter(run=run).update(reason="another"),
        lambda: ExperimentEvent.objects.filter(run=run).delete(),
        lambda: ExperimentRun.objects.create(
            experiment=run.experiment,
            prompt=run.prompt,
            environment=run.environment,
            baseline=run.baseline,
            metrics=[],
            percent=100,
            **other,
        ),
    ):
        with pytest.raises(DatabaseError), transaction.atomic():
            change()


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"arms": []}, "/arms"),
        ({"arms": [{"version": "support.triage@2", "weight": 99.5}]}, "/arms/0/weight"),
        ({"arms": [{"version": "other@2", "weight": 50}]}, "/arms/0/version"),
        (
            {"arms": [{"version": "support.triage@2", "weight": 60}, {"version": "support.triage@1", "weight": 60}]},
            "/arms",
        ),
        ({"arms": [{"version": "support.triage@1", "weight": 50}]}, "/arms"),
        ({"primary": None}, "/primary"),
        ({"primary": {"metric": "mood"}}, "/primary/metric"),
        ({"primary": {"metric": "errors", "better": "higher"}}, "/primary/better"),
        ({"guardrails": [{"metric": "cost"}, {"metric": "cost"}]}, "/guardrails"),
        ({"ramp": [10, 5, 100]}, "/ramp"),
        ({"ramp": [10, 50]}, "/ramp"),
        ({"ramp": [True, 100]}, "/ramp"),
        ({"hypothesis": "{{ oops }}"}, "/hypothesis"),
        ({"step_hours": -1}, "/step_hours"),
        ({"surprise": 1}, "/surprise"),
        ({"primary": {"metric": "conversion.complaint"}}, "/primary/better"),
    ],
)
def test_faults_are_named(lab: Lab, members: dict[str, Any], pointer: str):
    with pytest.raises(Problem) as problem:
        lab.commit(**members)
    assert problem.value.code == "experiment.invalid"
    assert pointer in [fault.pointer for fault in problem.value.faults]


def test_errors_are_guarded_whatever_else_is(lab: Lab):
    record = runs.record_of(lab.start(guardrails=[{"metric": "cost", "margin": 0.001}]))
    assert [metric.name for metric in record.guardrails] == ["errors", "cost"]
