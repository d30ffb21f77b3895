"""The golden set: the live version answers the same cases every night, and a provider's silent change is found."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from core.errors import Problem
from evaluations import tasks
from evaluations.datasets import lifecycle as datasets
from evaluations.models import ProviderModel, Run
from inference.models import Monitor, MonitorState, NightlyRun
from inference.monitoring import alerts, golden, monitors
from registry.accounts import projects
from registry.accounts.permissions import actor_for_command_line
from registry.models import PromptVersion
from registry.prompts import versions
from tests.conftest import Stage
from tests.evaluations.conftest import cases, make_model, make_run, routing, sandbox  # noqa: F401
from tests.evaluations.runs.test_pages import client_of, text
from tests.sandbox import Running

pytestmark = pytest.mark.usefixtures("sandbox")


@pytest.fixture
def reference(stage: Stage, sandbox: Running) -> Run:  # noqa: F811
    model: ProviderModel = make_model(stage)
    dataset = datasets.create(stage.edith, name="support.tickets")
    datasets.change(stage.edith, dataset, added=cases(60))
    dataset = datasets.get_dataset(stage.project, "support.tickets")
    version: PromptVersion = versions.commit(
        stage.edith, stage.prompt("support.route"), content=routing(), message="first"
    ).version
    stage.release(version)
    run = make_run(stage, version, dataset, model)
    answer(run)
    return Run.objects.get(pk=run.pk)


@pytest.fixture
def monitor(stage: Stage, reference: Run) -> Monitor:
    return monitors.create(
        stage.edith, reference.version.prompt, figure="golden_set", bound=0.1, min_calls=30, run=reference
    )


def answer(run: Run) -> None:
    """What the workers do with a run."""
    tasks.work_on_run(run.pk)
    tasks.sum_up_run(run.pk)


def night(after: int) -> datetime:
    return (timezone.now() + timedelta(days=after)).replace(hour=2)


def measured(after: int) -> NightlyRun:
    """One night: its run begins, is driven, and compared."""
    assert golden.begin_due(night(after)) == 1
    run = NightlyRun.objects.latest("day").run
    assert run is not None
    answer(run)
    assert golden.settle_done() == 1
    return NightlyRun.objects.latest("day")


def test_a_silent_change_is_found_against_the_first_night(
    stage: Stage,
    monitor: Monitor,
    sandbox: Running,  # noqa: F811
):
    first = measured(0)
    assert first.sentence == "The first night of version 1: its reference."
    assert golden.begin_due(night(0)) == 0
    second = measured(1)
    assert (second.loss, second.is_worse, second.cases) == (0.0, False, 60)
    assert monitors.look(monitor).state == MonitorState.OK
    # Asked anew each night, and not from what was answered before.
    assert len(sandbox.calls()) == 3 * 60

    # Nearly all: what share of the refused would have been right is chance.
    sandbox.fault("model_refuses", share=0.95)
    third = measured(2)

    assert third.is_worse, third.sentence
    assert third.comparison is not None
    monitor = monitors.look(monitor)
    assert monitor.state == MonitorState.ALERT
    assert monitor.value == pytest.approx(third.loss)
    (alert,) = alerts.open_alerts(stage.project)
    assert alert.monitor == monitor
    sandbox.fix()
    measured(3)
    assert monitors.look(monitor).state == MonitorState.OK


def test_by_day_nothing_begins(monitor: Monitor):
    assert golden.begin_due(night(0).replace(hour=14)) == 0
    assert not NightlyRun.objects.exists()


def test_it_runs_for_who_set_it(stage: Stage, monitor: Monitor):
    projects.remove_member(actor_for_command_line(stage.project), user=stage.edith.user)
    assert golden.begin_due(night(0)) == 0
    row = NightlyRun.objects.get()
    assert row.sentence.startswith("It could not begin")
    assert monitors.look(monitor).state == MonitorState.UNKNOWN


def test_another_version_begins_anew(stage: Stage, monitor: Monitor):
    measured(0)
    stage.release(stage.commit(monitor.prompt, "Sort the ticket.\n- incident: down\n- billing: money"))
    row = measured(1)
    assert row.sentence == "The first night of version 2: its reference."


@pytest.mark.parametrize("case", ["none", "of another figure", "of another prompt", "not done"])
def test_it_names_a_run_that_is_done(stage: Stage, reference: Run, case: str):
    prompt, figure, run = reference.version.prompt, "golden_set", reference
    if case == "of another figure":
        figure = "score"
    if case == "of another prompt":
        prompt = stage.prompt("support.other")
    if case == "not done":
        run = make_run(stage, reference.version, reference.dataset_version.dataset, reference.model)
    with pytest.raises(Problem) as problem:
        monitors.create(stage.edith, prompt, figure=figure, bound=0.1, run=None if case == "none" else run)
    assert [fault.pointer for fault in problem.value.faults] == ["/run"]


def test_over_rest_and_on_the_page(stage: Stage, reference: Run, api_for: Any):
    api = api_for(stage.edith)
    body = {"prompt": "support.route", "figure": "golden_set", "bound": 0.05, "run": reference.pk}
    answer = api.post("/api/v1/monitors", body)
    assert (answer.status_code, answer.json()["run"]) == (201, reference.pk)
    measured(0)
    page = text(client_of(stage.edith).get("/p/paper/prompts/support.route/live/"))
    assert "The first night of version 1: its reference." in page
    form = {"figure": "golden_set", "bound": "0.1", "hours": "24", "min_calls": "30", "run": str(reference.pk)}
    assert client_of(stage.edith).post("/p/paper/prompts/support.route/live/", form).status_code == 302
    assert Monitor.objects.filter(run=reference).count() == 2
