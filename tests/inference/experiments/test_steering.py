"""A run acts by itself: for somebody, by what is sure, and so that everybody sees it."""

import random
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from core.errors import Problem
from inference.experiments import lifecycle, runs, steering
from inference.models import Alert, ExperimentRun
from inference.monitoring import alerts
from registry.accounts import permissions, projects
from registry.accounts.permissions import actor_for_command_line
from registry.models import AuditEntry, Release
from registry.promotions import checks, environments, releases, workflow
from tests.conftest import Stage
from tests.inference.experiments.conftest import Lab, approve_arm, backdated

SUBJECTS = [f"user-{number}" for number in range(600)]
DICE = random.Random(11)  # noqa: S311 - the same each time


def again(run: ExperimentRun) -> ExperimentRun:
    return runs.get_run(run.experiment.project, run.pk)


def test_an_arm_whose_errors_jump_is_stopped_and_everybody_is_told(lab: Lab, stage: Stage):
    run = lab.start()
    lab.report(lab.calls(run, SUBJECTS[:120], failed=lambda arm, _: arm == "v2" and DICE.random() < 0.4))

    assert steering.look_at_all() == 1

    run = again(run)
    assert run.arms.get().stopped_at is not None
    assert run.end_reason == "No arm is left beside the baseline."
    (alert,) = alerts.open_alerts_of(lab.prompt)
    assert alert.event.kind == "stopped"
    assert "Surely worse" in alert.event.reason
    assert [v["metric"] for v in alert.event.evidence["verdicts"] if v["verdict"] == "worse"] == ["errors"]
    entry = AuditEntry.objects.get(action="experiment.arm_stopped")
    # For who released it.
    assert entry.actor == "edith (by itself)"
    assert Release.objects.filter(prompt=lab.prompt).count() == 1


def test_errors_on_both_sides_stop_nobody(lab: Lab):
    run = lab.start()
    lab.report(lab.calls(run, SUBJECTS, failed=lambda *_: DICE.random() < 0.4))
    steering.look_at_all()
    assert again(run).arms.get().stopped_at is None


def test_a_margin_is_what_one_accepts(lab: Lab):
    run = lab.start(guardrails=[{"metric": "errors", "margin": 0.9}])
    lab.report(lab.calls(run, SUBJECTS, failed=lambda arm, _: arm == "v2" and DICE.random() < 0.4))
    steering.look_at_all()
    assert again(run).arms.get().stopped_at is None


@pytest.mark.parametrize(
    ("metric", "values"),
    [
        ("format", {"format_ok": lambda arm, _: arm == "v1" or DICE.random() < 0.6}),
        ("cost", {"cost_usd": lambda arm, _: (3 if arm == "v2" else 1) * DICE.uniform(0.01, 0.02)}),
        ("latency_p50", {"latency_ms": lambda arm, _: (9 if arm == "v2" else 1) * DICE.uniform(90, 110)}),
    ],
)
def test_each_guardrail_acts(lab: Lab, metric: str, values: dict[str, Any]):
    run = lab.start(guardrails=[{"metric": metric}])
    lab.report(lab.calls(run, [f"u{number}" for number in range(1_500)], **values))
    steering.look_at_all()
    stopped = again(run).arms.get()
    assert stopped.stopped_at is not None
    assert metric in [verdict["metric"] for verdict in run.events.get(kind="stopped").evidence["verdicts"]]


def test_a_ramp_goes_on_when_its_step_has_lasted_and_nothing_is_worse(lab: Lab):
    run = lab.start(ramp=[20, 100], step_hours=2)
    lab.report(lab.calls(run, [f"u{number}" for number in range(1_000)]))
    steering.look_at_all()
    assert again(run).step == 1

    steering.look(backdated(run, hours=3))

    run = again(run)
    assert (run.step, run.percent) == (2, 100)
    assert run.figures == {}
    # What came at the first step says nothing of the second.
    steering.look_at_all()
    assert sum(arm["subjects"] for arm in again(run).figures["arms"]) == 0


def test_a_ramp_waits_for_calls(lab: Lab):
    run = lab.start(ramp=[20, 100], step_hours=2)
    lab.report(lab.calls(run, SUBJECTS[:20]))
    steering.look(backdated(run, hours=3))
    assert again(run).step == 1


def test_what_has_won_is_proposed_once_with_its_evidence(lab: Lab, stage: Stage):
    run = lab.start()
    lab.report(lab.calls(run, SUBJECTS, score=lambda arm, _: DICE.uniform(0.5, 1) if arm == "v2" else DICE.random()))

    steering.look_at_all()
    steering.look_at_all()

    run = again(run)
    assert run.promotion == lab.arm_promotion
    assert run.events.filter(kind="proposed").count() == 1
    assert "has won" in run.events.get(kind="proposed").reason
    comment = lab.arm_promotion.reviews.get(comment__contains="experiment")
    assert "better on score" in comment.comment
    # It was approved before, and nothing of that has changed: what is left is an ordinary release, by a person.
    assert Release.objects.filter(prompt=lab.prompt).count() == 1
    workflow.apply(stage.edith, lab.arm_promotion)
    assert again(run).ended_at is not None


def test_the_primary_metric_stops_a_loser_at_the_last_step_alone(lab: Lab):
    run = lab.start(ramp=[50, 100])
    worse = {"score": lambda arm, _: DICE.uniform(0, 0.5) if arm == "v2" else DICE.random()}
    lab.report(lab.calls(run, SUBJECTS * 2, **worse))
    steering.look_at_all()
    assert again(run).arms.get().stopped_at is None
    runs.step(lab.stage.edith, run, reason="")
    lab.report(lab.calls(again(run), SUBJECTS, **worse))
    steering.look_at_all()
    assert again(run).arms.get().stopped_at is not None


def test_an_arm_whose_approval_is_gone_is_stopped(lab: Lab, stage: Stage):
    run = lab.start()
    workflow.withdraw(stage.edith, lab.arm_promotion)
    steering.look_at_all()
    assert "could not be released" in again(run).arms.get().stop_reason


def test_a_run_that_nobody_stands_behind_ends(lab: Lab, stage: Stage):
    run = lab.start()
    admin = actor_for_command_line(stage.project)
    projects.remove_member(admin, user=stage.edith.user)
    steering.look_at_all()
    assert again(run).end_reason.startswith("Nobody stands behind it: edith")
    assert Alert.objects.get().event.kind == "ended"


def test_a_mismatch_pauses_the_ramp_and_is_told_once(lab: Lab):
    run = lab.start(ramp=[50, 100], step_hours=0)
    calls = lab.calls(run, (f"user-{number}" for number in range(2_000)))
    lab.report(call for call in calls if call["experiment"]["arm"] == "v1" or int(call["subject"][5:]) % 2)
    for _ in range(2):
        steering.look_at_all()
    run = again(run)
    assert (run.step, run.events.filter(kind="paused").count(), run.figures["is_mismatched"]) == (1, 1, True)


def test_a_required_check_that_failed_keeps_an_arm_out(lab: Lab, stage: Stage):
    production = stage.environment("production")
    rules = environments.Rules(True, 1, ("evals",))
    experiment = lab.commit()
    environments.change_rules(stage.ada, production, rules)
    service = permissions.Actor(stage.project, "ci", frozenset({permissions.Right.RECORD_CHECKS}))
    workflow.approve(stage.rhea, workflow.get_promotion(stage.project, lab.arm_promotion.pk))
    for version, status in ((lab.arm, "failed"), (experiment.holder.versions.get(), "passed")):
        checks.record(service, version, name="evals", status=status)

    with pytest.raises(Problem) as problem:
        lab.release(experiment)
    assert problem.value.code == "experiment.not_approved"
    checks.record(service, lab.arm, name="evals", status="passed")
    run = runs.running(release=lab.release(experiment)).get()
    checks.record(service, lab.arm, name="evals", status="failed")
    steering.look_at_all()
    assert "could not be released" in again(run).arms.get().stop_reason


def test_two_workers_go_one_step(lab: Lab, stage: Stage):
    run = lab.start(ramp=[10, 30, 100], step_hours=0)
    lab.report(lab.calls(run, [f"u{number}" for number in range(1_200)]))
    seen = again(run)
    steering.look(seen)
    with pytest.raises(Problem) as problem:
        steering.look(seen)
    assert (problem.value.code, again(run).step) == ("experiment.no_step", 2)


def test_a_ramp_waits_while_anything_is_worse(lab: Lab):
    run = lab.start(ramp=[50, 100], step_hours=0)
    lab.report(
        lab.calls(run, SUBJECTS * 2, score=lambda arm, _: DICE.uniform(0, 0.4) if arm == "v2" else DICE.random())
    )
    steering.look_at_all()
    assert again(run).step == 1


def test_one_subject_that_tries_again_and_again_stops_nobody(lab: Lab):
    run = lab.start()
    subject = next(each for each in SUBJECTS if lab.split(run).arm_of(each) == "v2")
    lab.report([*lab.calls(run, SUBJECTS), *lab.calls(run, [subject] * 300, failed=True)])
    steering.look_at_all()
    assert again(run).arms.get().stopped_at is None


def test_under_a_mismatch_only_guardrails_act_and_it_is_not_forgotten(lab: Lab):
    run = lab.start()
    worse = {"score": lambda arm, _: DICE.uniform(0, 0.4) if arm == "v2" else DICE.random()}
    calls = lab.calls(run, (f"user-{number}" for number in range(2_000)), **worse)
    lab.report(call for call in calls if call["experiment"]["arm"] == "v1" or int(call["subject"][5:]) % 2)
    steering.look_at_all()
    assert again(run).figures["is_mismatched"]
    assert again(run).arms.get().stopped_at is None
    lab.report(lab.calls(again(run), (f"late-{number}" for number in range(9_000)), **worse))
    steering.look_at_all()
    assert again(run).figures["is_mismatched"]
    assert again(run).arms.get().stopped_at is None


def test_a_winner_that_is_stopped_makes_room_for_the_next(lab: Lab, stage: Stage):
    third = stage.commit(lab.prompt, "A third.")
    approve_arm(stage, third)
    arms = [{"version": f"support.triage@{number}", "weight": 33} for number in (2, 3)]
    run = lab.start(arms=arms)
    split = lab.split(run)
    lab.report(
        {
            "prompt": f"support.triage@{split.arm_of(subject)[1:]}",
            "environment": "production",
            "subject": subject,
            "experiment": split.exposure(split.arm_of(subject)),
            "score": {"v1": 0.3, "v2": 0.9, "v3": 0.7}[split.arm_of(subject)] + DICE.uniform(-0.1, 0.1),
        }
        for subject in SUBJECTS
    )
    steering.look_at_all()
    assert run.events.get(kind="proposed").arm == "v2"
    runs.stop_arm(stage.edith, again(run), "v2", reason="Odd answers.")
    steering.look_at_all()
    assert [event.arm for event in run.events.filter(kind="proposed")] == ["v2", "v3"]
    with pytest.raises(Problem):
        runs.propose(stage.edith, again(run), "v2")


def test_a_rollback_serves_no_arm_that_was_stopped_since(lab: Lab, stage: Stage):
    first = lab.start()
    lab.start(arms=[{"version": "support.triage@2", "weight": 20}])
    second = runs.running(prompt=lab.prompt).get()
    runs.stop_arm(stage.edith, second, "v2", reason="Odd answers.")
    with pytest.raises(Problem) as problem:
        releases.roll_back(stage.edith, first.experiment.holder, stage.environment("production"))
    assert problem.value.code == "experiment.arm_stopped"


def test_one_that_ended_begins_again_by_another_promotion(lab: Lab, stage: Stage):
    run = lab.start()
    experiment = lifecycle.get_experiment(stage.project, "shorter")
    with pytest.raises(Problem) as problem:
        lab.release(experiment)
    assert problem.value.code == "promotion.already_live"
    runs.end(stage.edith, run, reason="Enough.")
    lab.release(experiment)
    assert runs.running(prompt=lab.prompt).get().pk != run.pk


def test_what_is_told_is_what_happened(lab: Lab, stage: Stage):
    third = stage.commit(lab.prompt, "A third.")
    approve_arm(stage, third)
    run = lab.start(arms=[{"version": f"support.triage@{number}", "weight": 33} for number in (2, 3)])
    runs.stop_arm(stage.edith, run, "v2", reason="Odd answers.")
    projects.remove_member(actor_for_command_line(stage.project), user=stage.edith.user)
    steering.look_at_all()
    assert [alert.event.kind for alert in Alert.objects.all()] == ["ended"]


def test_a_run_that_nobody_can_read_is_told(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    run = lab.start()
    monkeypatch.setattr(steering.figures, "read", lambda _: 1 / 0)
    steering.look_at_all()
    assert not Alert.objects.exists()
    monkeypatch.setattr(steering, "BLIND_AFTER", timedelta())
    for _ in range(2):
        steering.look_at_all()
    assert "nothing is guarded" in Alert.objects.get().event.reason
    assert again(run).ended_at is None


def test_a_problem_that_stays_is_no_race(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    lab.start()

    def refuse(_: object) -> None:
        raise Problem("experiment.invalid", "The reader is stricter now.")

    monkeypatch.setattr(steering.figures, "read", refuse)
    monkeypatch.setattr(steering, "BLIND_AFTER", timedelta())
    steering.look_at_all()
    alert = Alert.objects.get()
    assert "nothing is guarded" in alert.event.reason
    alerts.resolve(lab.stage.edith, alert)
    steering.look_at_all()
    assert Alert.objects.filter(resolved_at=None).count() == 1


def test_what_is_proposed_by_hand_keeps_no_winner_back(lab: Lab, stage: Stage):
    third = stage.commit(lab.prompt, "A third.")
    approve_arm(stage, third)
    run = lab.start(arms=[{"version": f"support.triage@{number}", "weight": 33} for number in (2, 3)])
    runs.propose(stage.edith, run, "v2")
    split = lab.split(run)
    lab.report(
        {
            "prompt": f"support.triage@{arm[1:]}",
            "environment": "production",
            "subject": subject,
            "experiment": split.exposure(arm),
            "score": {"v1": 0.3, "v2": 0.3, "v3": 0.8}[arm] + DICE.uniform(-0.1, 0.1),
        }
        for subject in SUBJECTS
        if (arm := split.arm_of(subject))
    )
    steering.look_at_all()
    assert [event.arm for event in run.events.filter(kind="proposed")] == ["v2", "v3"]


def test_one_that_cannot_be_looked_at_keeps_no_other(lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: Any):
    run = lab.start()
    monkeypatch.setattr(steering, "look", lambda _: 1 / 0)
    assert steering.look_at_all() == 1
    assert f"experiment.not_looked_at run={run.pk}" in caplog.text


def test_figures_are_kept_with_when_they_were_read(lab: Lab):
    run = lab.start()
    before = timezone.now()
    lab.report(lab.calls(run, SUBJECTS[:200], score=0.5))
    steering.look_at_all()
    run = again(run)
    assert run.looked_at is not None
    assert run.looked_at >= before
    assert [verdict["verdict"] for verdict in run.figures["verdicts"]] == ["inconclusive", "inconclusive"]
