"""The pages, the API and the command of experiments."""

import random
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from inference.experiments import lifecycle, runs, steering
from inference.models import ExperimentRun
from inference.views import experiment_form as form
from inference.views.intervals import interval_drawing
from registry.models import Promotion
from registry.promotions import workflow
from tests.conftest import ApiFor, Stage
from tests.evaluations.runs.test_pages import client_of, text
from tests.inference.experiments.conftest import Lab, approve_arm

DICE = random.Random(3)  # noqa: S311 - the same each time
P = "/p/paper/experiments/"
FORM = {
    **{"prompt": "support.triage", "name": "shorter", "environment": "production", "arm1": "2", "weight1": "40"},
    **{"metric": "score", "margin": "0.05", "ramp": "10 100", "step_hours": "6", "guard_cost": "on"},
    **{"margin_cost": "0.001", "hypothesis": "Shorter is better.", "better": "higher", "expected_subjects": "500"},
}


def plain(answer: Any) -> str:
    return " ".join(text(answer).split())


def test_an_experiment_is_chosen_saved_proposed_and_changed(lab: Lab, stage: Stage):
    page = client_of(stage.edith)
    assert "New experiment" in plain(page.get(P))
    assert ">support.triage<" in text(page.get(f"{P}new/"))
    form = text(page.get(f"{P}new/?prompt=support.triage"))
    assert "v1, live in production" in form
    assert "v2: Sort the ticket shortly." in form

    answer = page.post(f"{P}new/", FORM)

    assert answer.status_code == 302
    record = lifecycle.read_experiment_version(lifecycle.get_experiment(stage.project, "shorter").holder.head).record
    assert [(arm.version, arm.weight) for arm in record.arms] == [(f"support.triage@{lab.arm.content_hash}", 40)]
    assert (record.primary.margin, record.ramp, record.step_hours, record.expected_subjects) == (
        0.05,
        [10, 100],
        6,
        500,
    )
    assert [(metric.name, metric.margin) for metric in record.guardrails] == [("errors", 0.0), ("cost", 0.001)]
    detail = plain(page.get(f"{P}shorter/"))
    assert "Shorter is better." in detail
    assert "40 % of the subjects" in detail
    proposed = page.post(f"{P}shorter/propose/", {"environment": "production", "reason": "why not"})
    assert proposed["Location"].startswith("/p/paper/promotions/")
    assert Promotion.objects.filter(prompt__name="experiment.shorter").count() == 1
    edit = text(page.get(f"{P}shorter/edit/"))
    assert 'value="40"' in edit
    assert page.post(f"{P}shorter/edit/", {**FORM, "weight1": "20"}).status_code == 302
    assert lifecycle.get_experiment(stage.project, "shorter").holder.head.number == 2


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"weight1": "lots"}, "Must be a number."),
        ({"weight1": "100"}, "per cent of the subjects"),
        ({"arm1": ""}, "Must be a list of 1 to 5."),
        ({"arm1": "1"}, "one is the baseline"),
        ({"name": "Not a name"}, "name"),
        ({"metric": "mood"}, "Must be one of"),
        ({"step_hours": "soon"}, "Must be a number."),
    ],
)
def test_a_form_with_a_fault_keeps_what_was_typed(lab: Lab, stage: Stage, changes: dict[str, str], sentence: str):
    answer = client_of(stage.edith).post(f"{P}new/", {**FORM, **changes})
    assert answer.status_code in (400, 409)
    page = text(answer)
    assert sentence in page
    assert "Shorter is better." in page
    assert "Nothing was changed." in page


def test_margins_are_read_where_they_stand_and_stay(lab: Lab, stage: Stage):
    page = client_of(stage.edith)
    # Errors always guard, so that their box cannot be unticked, and is not sent; a margin beside another ticks it.
    form = {**FORM, "margin_errors": "0.02", "guard_cost": "", "margin_cost": "0.003"}
    assert page.post(f"{P}new/", form).status_code == 302
    experiment = lifecycle.get_experiment(stage.project, "shorter")
    record = lifecycle.read_experiment_version(experiment.holder.head).record
    assert [(metric.name, metric.margin) for metric in record.guardrails] == [("errors", 0.02), ("cost", 0.003)]
    edit = text(page.get(f"{P}shorter/edit/"))
    assert 'value="0.02"' in edit
    refused = text(page.post(f"{P}shorter/edit/", {**form, "margin_errors": "-1"}))
    assert "Guardrails: Must be from 0" in refused


def test_the_form_of_the_next_version_changes_nothing_by_itself(lab: Lab, stage: Stage):
    for number in (3, 4, 5):
        approve_arm(stage, stage.commit(lab.prompt, f"Version {number}."))
    names = {"version": "support.triage@5", "percent": 12.5, "daily_usd": 12345.67}
    lab.commit(
        arms=[{"version": f"support.triage@{number}", "weight": 12.25} for number in (2, 3, 4)],
        primary={"metric": "feedback.helpful", "better": "lower", "margin": 0.125},
        guardrails=[
            {"metric": "errors", "margin": 0.02},
            {"metric": "latency_p99", "margin": 1_234_567},
            {"metric": "feedback.tone", "better": "higher", "margin": 0.1},
        ],
        ramp=[5, 100],
        step_hours=1.5,
        shadow=names,
    )
    experiment = lifecycle.get_experiment(stage.project, "shorter")
    record = lifecycle.read_experiment_version(experiment.holder.head).record
    numbers = {f"support.triage@{version.content_hash}": version.number for version in lab.prompt.versions.all()}

    values = {**dict.fromkeys(form.FIELDS, ""), **form.values_of(record, numbers), "environment": "production"}
    document = form.document_of(values, lab.prompt, form.carried_over(record))

    _, again = lifecycle.commit(stage.edith, "shorter", document)
    assert again.record == record
    assert "latency, p99" in plain(client_of(stage.edith).get(f"{P}shorter/edit/")).lower()
    refused = client_of(stage.edith).post(f"{P}shorter/edit/", values | {"margin": "-1"})
    assert refused.status_code == 400
    assert "latency, p99" in plain(refused).lower()


def test_feedback_of_which_nothing_has_come_is_named(lab: Lab, stage: Stage):
    form = {**FORM, "metric": "conversion.?", "feedback_name": "bought", "better": "higher"}
    assert client_of(stage.edith).post(f"{P}new/", form).status_code == 302
    experiment = lifecycle.get_experiment(stage.project, "shorter")
    assert lifecycle.read_experiment_version(experiment.holder.head).record.primary.name == "conversion.bought"


def test_a_name_that_is_taken_is_told(lab: Lab, stage: Stage):
    lab.commit()
    answer = client_of(stage.edith).post(f"{P}new/", FORM)
    assert answer.status_code == 409
    assert "There is an experiment shorter already" in text(answer)
    assert lifecycle.get_experiment(stage.project, "shorter").holder.head.number == 1


def test_versions_say_where_they_are_approved(lab: Lab, stage: Stage):
    stage.commit(lab.prompt, "Never reviewed.")
    form = plain(client_of(stage.edith).get(f"{P}new/?prompt=support.triage"))
    assert "v3: Never reviewed. (not approved)" in form
    assert "v2: Sort the ticket shortly. (approved for production)" in form


def test_a_stopped_arm_keeps_the_figures_that_it_was_stopped_by(lab: Lab, stage: Stage):
    third = stage.commit(lab.prompt, "A third.")
    approve_arm(stage, third)
    run = lab.start(arms=[{"version": f"support.triage@{number}", "weight": 33} for number in (2, 3)], ramp=[50, 100])
    split = lab.split(run)
    lab.report(
        {
            "prompt": f"support.triage@{arm[1:]}",
            "environment": "production",
            "subject": subject,
            "experiment": split.exposure(arm),
            "failed": arm == "v2",
        }
        for subject in map(str, range(600))
        if (arm := split.arm_of(subject))
    )
    steering.look_at_all()
    runs.step(stage.edith, runs.get_run(stage.project, run.pk), reason="")
    page = plain(client_of(stage.edith).get(f"{P}runs/{run.pk}/"))
    assert "as it was when it was stopped" in page
    assert "v2: worse on errors" in page
    viewed = client_of(stage.edith).post(f"{P}runs/{run.pk}/act/", {"do": "step", "step": "1"}, follow=True)
    assert "at step 2 by now" in plain(viewed)


def test_a_promotion_says_what_it_has_to_do_with_an_experiment(run: ExperimentRun, lab: Lab, stage: Stage):
    page = client_of(stage.edith)

    def panel(number: int) -> str:
        return plain(page.get(f"/p/paper/promotions/{number}/experiment/panel/"))

    arm = panel(lab.arm_promotion.pk)
    assert "This version is arm v2 of" in arm
    assert "v2: better on score" in arm
    assert "Releasing it ends the experiment; withdrawing it stops the arm." in arm
    begun = panel(run.release.promotion_id or 0)
    assert "Its release begins an experiment with" in begun
    assert f"Run {run.pk}" in begun
    assert "50 % of the subjects" in begun
    other = workflow.request(
        stage.edith, lab.prompt, stage.commit(lab.prompt, "Another."), stage.environment("production")
    )
    assert "Releasing another version ends it." in panel(other.pk)
    apart = stage.commit(stage.prompt("support.other"), "Alone.")
    alone = workflow.request(stage.edith, apart.prompt, apart, stage.environment("production"))
    assert panel(alone.pk) == ""
    assert "experiment/panel/" in text(page.get(f"/p/paper/promotions/{alone.pk}/"))


def test_a_call_says_its_arm(run: ExperimentRun, stage: Stage, api_for: ApiFor):
    api = api_for(stage.edith)
    (row,) = api.get("/api/v1/calls?prompt=support.triage").json()["results"][:1]
    detail = api.get(f"/api/v1/calls/{row['id']}").json()
    assert (detail["experiment_run"], detail["experiment_step"]) == (run.pk, 1)
    assert f"v{detail['prompt'].partition('@')[2]}" == detail["arm"]
    page = plain(client_of(stage.edith).get(f"/p/paper/calls/?call={row['id']}"))
    assert f"run {run.pk}" in page


def test_a_prompt_that_is_live_nowhere_is_told(stage: Stage):
    stage.commit(stage.prompt("support.other"), "Hello")
    assert "is live nowhere" in plain(client_of(stage.edith).get(f"{P}new/?prompt=support.other"))


@pytest.fixture
def run(lab: Lab) -> ExperimentRun:
    run = lab.start(
        guardrails=[{"metric": "cost", "margin": 0.001}, {"metric": "latency_p50"}], primary={"metric": "score"}
    )
    lab.report(
        lab.calls(
            run,
            [f"user-{number}" for number in range(400)],
            score=lambda arm, _: DICE.uniform(0.6, 1) if arm == "v2" else DICE.random(),
            cost_usd=lambda *_: DICE.uniform(0.001, 0.002),
            latency_ms=lambda *_: DICE.uniform(100, 300),
        )
    )
    steering.look_at_all()
    return runs.get_run(lab.stage.project, run.pk)


def test_a_runs_page_says_what_it_shows_and_what_that_means(run: ExperimentRun, stage: Stage):
    page = plain(client_of(stage.edith).get(f"{P}runs/{run.pk}/"))
    assert "proposed for release" in page
    assert "v2: better on score" in page
    assert "better" in page
    assert "they hold however often one looks" in page
    assert "calls of one user then are taken for many users" in page
    assert 'role="img"' in page
    viewer = plain(client_of(stage.vera).get(f"{P}runs/{run.pk}/"))
    assert "Stop the arm" not in viewer
    listed = plain(client_of(stage.edith).get(P))
    assert "v2: better" in listed
    assert "400 subjects" in listed
    panel = plain(client_of(stage.edith).get("/p/paper/prompts/support.triage/usage/panel/"))
    assert "shorter" in panel


def test_lists_cost_the_same_number_of_queries_however_many_there_are(
    lab: Lab, stage: Stage, django_assert_max_num_queries: Any
):
    for number in range(6):
        lab.commit(f"idea-{number}")
    page = client_of(stage.edith)
    page.get(P)
    with django_assert_max_num_queries(16):
        page.get(P)


def test_people_act_from_the_page(run: ExperimentRun, stage: Stage):
    page = client_of(stage.edith)
    act = f"{P}runs/{run.pk}/act/"
    refused = page.post(act, {"do": "step"}, follow=True)
    assert "at the last step" in plain(refused)
    assert page.post(act, {"do": "propose", "arm": "v2"})["Location"].startswith("/p/paper/promotions/")
    stopped = plain(page.post(act, {"do": "stop", "arm": "v2", "reason": "Odd answers."}, follow=True))
    assert "v2 is stopped" in stopped
    assert "Odd answers." in stopped
    assert "ended" in stopped
    assert page.get(act).status_code == 405


def test_over_rest_from_the_commit_to_the_end(lab: Lab, stage: Stage, api_for: ApiFor):
    api = api_for(stage.edith)
    document = lab.document(ramp=[10, 100])
    saved = api.put("/api/v1/experiments/shorter", {"experiment": document})
    assert (saved.status_code, saved.json()["number"], saved.json()["holder"]) == (200, 1, "experiment.shorter")
    assert saved.json()["experiment"]["baseline"] == f"support.triage@{lab.live.content_hash}"
    assert [row["name"] for row in api.get("/api/v1/experiments").json()["results"]] == ["shorter"]
    promotion = api.post("/api/v1/experiments/shorter/promotions", {"environment": "production"}).json()["promotion"]
    api_for(stage.rhea).post(f"/api/v1/promotions/{promotion}/approve", {})
    assert api.post(f"/api/v1/promotions/{promotion}/apply", {}).status_code == 200
    (row,) = api.get("/api/v1/experiment-runs?state=running&prompt=support.triage").json()["results"]
    address = f"/api/v1/experiment-runs/{row['id']}"
    assert (row["baseline"], row["percent"], row["arms"][0]["weight"]) == ("v1", 10, 50.0)
    assert api.post(f"{address}/step", {"reason": "Looks fine."}).json()["percent"] == 100
    assert api.post(f"{address}/promotions", {"arm": "v2"}).json()["promotion"] == lab.arm_promotion.pk
    ended = api.post(f"{address}/end", {"reason": "Enough."}).json()
    assert [event["kind"] for event in ended["events"]] == ["started", "stepped", "proposed", "ended"]
    assert api.post(f"{address}/end", {"reason": "Again."}).json()["code"] == "experiment.ended"
    assert api.get("/api/v1/experiment-runs?state=odd").status_code == 400


def test_an_alert_of_an_experiment_is_looked_after_like_others(lab: Lab, stage: Stage, api_for: ApiFor):
    run = lab.start()
    lab.report(lab.calls(run, map(str, range(200)), failed=lambda arm, _: arm == "v2"))
    steering.look_at_all()
    api = api_for(stage.edith, scopes=["read", "write"])
    (alert,) = api.get("/api/v1/alerts?state=open").json()["results"]
    assert (alert["figure"], alert["experiment_run"], alert["prompt"]) == ("experiment", run.pk, "support.triage")
    page = plain(client_of(stage.edith).get("/p/paper/prompts/support.triage/live/"))
    assert "Surely worse than the baseline" in page
    assert api.post(f"/api/v1/alerts/{alert['id']}/resolve", {}).status_code == 200
    assert api.get("/api/v1/alerts?state=open").json()["results"] == []


def test_from_a_shell(run: ExperimentRun):
    def experiment(*arguments: str) -> str:
        output = StringIO()
        call_command("experiment", *arguments, "--project", "paper", stdout=output)
        return output.getvalue()

    assert f"{run.pk}  shorter in production  step 1, 100 %" in experiment("list")
    assert "v2: better on score" in experiment("show", str(run.pk))
    with pytest.raises(CommandError, match="Which run"):
        experiment("show")
    with pytest.raises(CommandError, match="no arm"):
        experiment("stop", str(run.pk))
    with pytest.raises(CommandError, match="Give a reason"):
        experiment("end", str(run.pk))
    assert "ended: Enough." in experiment("end", str(run.pk), "--reason", "Enough.")
    assert experiment("list") == ""
    assert "ended: Enough." in experiment("list", "--all")


def test_an_interval_with_an_open_end_is_drawn():
    verdict = {"better": "lower", "margin": 0.0, "change": {"value": 40.0, "low": 12.0, "high": None}}
    drawing = interval_drawing(verdict)
    assert drawing
    # Lower is better, right is better: it is on the left, as far as the line goes.
    assert drawing.low < drawing.value < drawing.high < drawing.zero
    assert interval_drawing({**verdict, "change": {"value": 1.0, "low": None, "high": None}}) is None


def test_a_step_that_is_sent_twice_is_one(lab: Lab, stage: Stage, api_for: ApiFor):
    run = lab.start(ramp=[10, 30, 100])
    api = api_for(stage.edith)
    answers = [api.post(f"/api/v1/experiment-runs/{run.pk}/step", {"step": 1}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 409]
    assert runs.get_run(stage.project, run.pk).step == 2


def test_the_list_has_all_that_run(lab: Lab, stage: Stage):
    first = lab.start()
    stage.release(lab.live, "staging")
    lab.release(first.experiment, "staging")
    page = plain(client_of(stage.edith).get(P))
    assert "runs in production" in page
    assert "runs in staging" in page
