"""A run acts by itself: for somebody, by what is sure, and so that everybody sees it."""

import random
from typing import Any

import pytest
from django.utils import timezone

from inference.experiments import runs, steering
from inference.models import Alert, ExperimentRun
from inference.monitoring import alerts
from registry.accounts import projects
from registry.accounts.permissions import actor_for_command_line
from registry.models import AuditEntry, Release
from registry.promotions import workflow
from tests.conftest import Stage
from tests.inference.experiments.conftest import Lab, backdated

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
    assert alert.event.evidence["verdicts"][0]["metric"] == "errors"
    entry = AuditEntry.objects.get(action="experiment.arm_stopped")
    # For whom released it.
    assert entry.actor == "edith"
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
    lab.report(lab.calls(run, SUBJECTS))
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
    assert "not approved" in again(run).arms.get().stop_reason


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
