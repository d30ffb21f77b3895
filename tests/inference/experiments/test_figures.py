"""Figures of a run: what comes out of SQL over the raw calls, subject by subject."""

import random
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from core.errors import Problem
from inference.calls import feedback, storage
from inference.calls import subjects as deletion
from inference.experiments import figures, runs
from inference.models import Call, ExperimentRun, ExperimentUnit, ShadowPair
from registry.accounts import permissions
from tests.conftest import Stage
from tests.inference.experiments.conftest import Lab, approve_arm

BY_SUBJECT = """
SELECT arm, count(*), sum(value), sum(value ^ 2) FROM (
    SELECT arm, subject, avg({column}) AS value FROM inference_call
    WHERE experiment_run = %s AND experiment_step = %s AND {column} IS NOT NULL GROUP BY arm, subject
) AS subjects GROUP BY arm
"""
SUBJECTS = [f"user-{number}" for number in range(300)]


def service(stage: Stage) -> permissions.Actor:
    return permissions.Actor(stage.project, "service", frozenset({permissions.Right.OBSERVE}))


def raw(run: ExperimentRun, column: str) -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute(BY_SUBJECT.format(column=column), [run.pk, run.step])
        return {arm: pytest.approx((n, total, squares)) for arm, n, total, squares in cursor.fetchall()}


def sums_of(read: figures.RunFigures, metric: str) -> dict[str, Any]:
    return {
        arm.name: (arm.sums[metric].n, arm.sums[metric].total, arm.sums[metric].squares)
        for arm in (read.baseline, *read.arms)
    }


def test_figures_are_those_of_sql_over_the_raw_calls(lab: Lab):
    dice = random.Random(7)  # noqa: S311 - the same each time
    guardrails = [{"metric": "format"}, {"metric": "cost"}, {"metric": "latency_p95"}]
    run = lab.start(guardrails=guardrails)
    repeated = [subject for subject in SUBJECTS for _ in range(dice.randint(1, 4))]
    lab.report(
        lab.calls(
            run,
            repeated,
            score=lambda *_: dice.choice([None, 0.25, 0.5, 1.0]),
            format_ok=lambda *_: dice.random() < 0.9,
            cost_usd=lambda *_: dice.randint(1, 90) / 10_000,
            failed=lambda *_: dice.random() < 0.05,
            latency_ms=lambda *_: dice.uniform(100, 900),
        )
    )

    read = figures.read(run)

    assert sums_of(read, "score") == raw(run, "score")
    assert sums_of(read, "format") == raw(run, "format_ok::int::float8")
    assert sums_of(read, "cost") == raw(run, "cost_usd::float8")
    for arm in (read.baseline, *read.arms):
        calls = Call.objects.filter(experiment_run=run.pk, arm=arm.name)
        assert (arm.calls, arm.failed) == (calls.count(), calls.filter(failed=True).count())
        assert arm.subjects == calls.values("subject").distinct().count()
    assert [each.metric.name for each in read.verdicts] == ["score", "errors", "format", "cost", "latency_p95"]
    assert not read.is_mismatched


def test_late_feedback_counts_for_its_subject_and_conversions_for_all(lab: Lab, stage: Stage):
    guardrails = [{"metric": "feedback.helpful", "better": "higher"}]
    run = lab.start(primary={"metric": "conversion.bought", "better": "higher"}, guardrails=guardrails)
    lab.report(lab.calls(run, SUBJECTS, id=lambda _, subject: f"call-{subject}"))
    helpful = {subject: number % 3 == 0 for number, subject in enumerate(SUBJECTS[:120])}
    rows = [{"call": f"call-{subject}", "name": "helpful", "boolean": value} for subject, value in helpful.items()]
    rows += [{"call": f"call-{subject}", "name": "bought", "boolean": True} for subject in SUBJECTS[::5]]
    rows += [{"call": f"call-{subject}", "name": "other", "boolean": True} for subject in SUBJECTS]
    feedback.record(service(stage), rows)

    read, split = figures.read(run), lab.split(run)

    for arm in (read.baseline, *read.arms):
        of_arm = [subject for subject in SUBJECTS if split.arm_of(subject) == arm.name]
        bought = sum(subject in SUBJECTS[::5] for subject in of_arm)
        assert (arm.sums["conversion.bought"].n, arm.sums["conversion.bought"].total) == (len(of_arm), bought)
        values = [helpful[subject] for subject in of_arm if subject in helpful]
        assert (arm.sums["feedback.helpful"].n, arm.sums["feedback.helpful"].total) == (len(values), sum(values))


def test_a_subject_in_two_arms_says_nothing_of_either(lab: Lab):
    run = lab.start()
    split = lab.split(run)
    calls = lab.calls(run, SUBJECTS, score=0.5)
    arm = split.arm_of(SUBJECTS[0])
    other = next(call for call in calls if call["experiment"]["arm"] != arm)
    lab.report(calls)
    with pytest.raises(Problem) as problem:
        lab.report([{**other, "subject": SUBJECTS[0]}])
    assert [fault.code for fault in problem.value.faults] == ["not_assigned"]
    # However it has come there.
    exposure, number = other["experiment"], 2 if other["experiment"]["arm"] == "v2" else 1
    version = lab.prompt.versions.get(number=number)
    members = {"project": lab.stage.project.pk, "version": version.pk, "environment": "production"}
    members |= {"experiment_run": run.pk, "experiment_step": 1, "arm": exposure["arm"], "subject": SUBJECTS[0]}
    storage.store([storage.new_call(**members, reference="crossed", at=timezone.now())])

    read = figures.read(run)

    assert read.mixed == 1
    assert read.baseline.subjects + read.arms[0].subjects == len(SUBJECTS) - 1


def test_a_call_that_gives_way_is_taken_out_again(lab: Lab):
    run = lab.start()
    (document,) = lab.calls(run, SUBJECTS[:1], id="one", score=0.5)
    lab.report([document])
    members = {"project": lab.stage.project.pk, "version": lab.live.pk, "environment": "production"}
    call = storage.new_call(**members, reference="one", at=timezone.now(), route="prompt")
    storage.store([call], replaces_reports=True)

    assert set(ExperimentUnit.objects.values_list("n", "total")) == {(0, 0.0)}
    assert figures.read(run).baseline.subjects + figures.read(run).arms[0].subjects == 0


def test_a_deleted_subject_leaves_numbers_that_name_nobody(lab: Lab, stage: Stage):
    run = lab.start(guardrails=[{"metric": "feedback.helpful", "better": "higher"}])
    lab.report(lab.calls(run, SUBJECTS, score=0.5, id=lambda _, subject: f"call-{subject}"))
    before, rows = figures.read(run).as_dict(), ExperimentUnit.objects.count()

    deletion.delete(stage.ada, SUBJECTS[0])
    feedback.record(service(stage), [{"call": f"call-{SUBJECTS[0]}", "name": "helpful", "boolean": True}])

    after = figures.read(run).as_dict()
    assert {**after, "at": ""} == {**before, "at": ""}
    assert ExperimentUnit.objects.count() == rows


@pytest.mark.parametrize(
    ("exposure", "code"),
    [
        ({"run": 10**9, "step": 1, "arm": "v1"}, "unknown"),
        ({"run": None, "step": 2, "arm": "v1"}, "range"),
        ({"run": None, "step": 1, "arm": "v2"}, "other"),
        ({"run": None, "step": 1, "arm": "v9"}, "other"),
        ({"run": None, "step": 1}, "type"),
        ({"run": None, "step": True, "arm": "v1"}, "type"),
    ],
)
def test_a_report_of_another_arm_is_refused(lab: Lab, exposure: dict[str, Any], code: str):
    run = lab.start()
    exposure = {**exposure, "run": run.pk if exposure["run"] is None else exposure["run"]}
    with pytest.raises(Problem) as problem:
        lab.report([{"prompt": f"{lab.prompt.name}@1", "environment": "production", "experiment": exposure}])
    assert [fault.code for fault in problem.value.faults] == [code]


def test_who_reports_something_else_than_the_weights_is_noticed(lab: Lab):
    run = lab.start()
    calls = lab.calls(run, (f"user-{number}" for number in range(3_000)), score=0.5)
    half = [call for call in calls if call["experiment"]["arm"] == "v1" or hash(call["subject"]) % 2]
    lab.report(half)
    assert figures.read(run).is_mismatched


def test_without_a_subject_each_call_is_one_of_its_own(lab: Lab):
    run = lab.start()
    calls = [{**call, "subject": ""} for call in lab.calls(run, SUBJECTS, score=0.5)]
    lab.report(calls)
    read = figures.read(run)
    assert read.baseline.subjects + read.arms[0].subjects == len(SUBJECTS)


def test_records_of_runs_are_read_as_they_were_reviewed(lab: Lab):
    run = lab.start(hypothesis="Shorter is better.")
    assert runs.record_of(run).hypothesis == "Shorter is better."


def test_pairs_of_a_shadow_are_compared_with_themselves(lab: Lab, stage: Stage):
    third = stage.commit(lab.prompt, "A third.")
    approve_arm(stage, third)
    run = lab.start(shadow={"version": "support.triage@3", "percent": 10, "daily_usd": 2})
    arm = run.arms.get(name="v3")
    assert (arm.is_shadow, arm.weight, lab.split(run).challengers[0].name) == (True, 1_000, "v2")
    assert len(lab.split(run).challengers) == 1
    dice = random.Random(5)  # noqa: S311 - the same each time
    for number in range(200):
        live_cost = dice.uniform(0.1, 0.9)
        ShadowPair.objects.create(
            arm=arm,
            call=f"call-{number}",
            at=timezone.now(),
            live_failed=False,
            live_cost_usd=round(live_cost, 8),
            live_format_ok=number % 2 == 0,
            failed=number % 4 == 0,
            cost_usd=round(live_cost + dice.uniform(0.01, 0.02), 8),
            format_ok=number % 2 == 0 or number % 3 == 0,
            is_same=number % 5 == 0 or None,
        )

    (shadow,) = figures.read(run).shadows

    judged = {verdict["metric"]: verdict for verdict in shadow["verdicts"]}
    # Costs differ far more between calls than within pairs: only paired can a cent be told.
    assert judged["cost"]["verdict"] == "worse"
    assert judged["cost"]["change"]["value"] == pytest.approx(0.015, abs=0.001)
    assert (judged["errors"]["value"], judged["errors"]["verdict"]) == (0.25, "worse")
    assert judged["format"]["verdict"] == "better"
    assert judged["latency_mean"]["verdict"] == "inconclusive"
    assert (shadow["pairs"], shadow["compared"], shadow["same"]) == (200, 40, 40)


def test_a_shadow_needs_an_approval_and_a_budget(lab: Lab, stage: Stage):
    stage.commit(lab.prompt, "A third.")
    shadow = {"version": "support.triage@3", "percent": 10}
    with pytest.raises(Problem) as problem:
        lab.commit(shadow=shadow)
    assert [fault.pointer for fault in problem.value.faults] == ["/shadow/daily_usd"]
    with pytest.raises(Problem) as problem:
        lab.start(shadow={**shadow, "daily_usd": 1})
    assert problem.value.code == "experiment.not_approved"
