"""Gates: a promotion waits for what is measured, and is released or not by what it shows."""

from typing import Any

import pytest
from django.db import DatabaseError, transaction
from django.test import Client
from django.utils import timezone

from core.errors import Problem
from evaluations import tasks
from evaluations.comparisons import gates
from evaluations.comparisons.slas import set_slas
from evaluations.datasets import lifecycle as datasets
from evaluations.models import Dataset, Gate, GateRun, GateState, ProviderModel, Run
from evaluations.providers import configuration as providers
from evaluations.runs import lifecycle as runs
from registry.accounts import api_keys, permissions
from registry.models import Promotion, PromptVersion, VersionCheck
from registry.promotions import approvals, checks, workflow
from registry.prompts import versions
from tests.conftest import ApiFor, Stage
from tests.evaluations.conftest import cases, routing
from tests.sandbox import Running


@pytest.fixture
def gate(stage: Stage, tickets: Dataset, model: ProviderModel) -> Gate:
    return make_gate(stage, tickets, model)


def make_gate(stage: Stage, tickets: Dataset, model: ProviderModel, **how: Any) -> Gate:
    assert tickets.head
    settings = {"name": "tickets", "scorers": ["label"], **how}
    return gates.create(
        stage.ada, stage.environment("production"), dataset_version=tickets.head, model=model, **settings
    )


def measure() -> None:
    """What workers do until there is nothing left."""
    for run in gates.start_gate_runs():
        tasks.work_on_run(run.pk)
    for run in Run.objects.filter(summary__isnull=True):
        tasks.sum_up_run(run.pk)
    for gate_run in gates.unsettled_gate_runs():
        gates.settle(gate_run)


def ask(stage: Stage, version: PromptVersion) -> Any:
    return workflow.request(stage.edith, version.prompt, version, stage.environment("production"))


def newest(stage: Stage, version: PromptVersion) -> VersionCheck:
    check = approvals.newest_checks(version, stage.environment("production"), ["tickets"])["tickets"]
    assert check is not None
    return check


def test_a_gate_is_on_a_model_that_can_be_asked(stage: Stage, tickets: Dataset, model: ProviderModel):
    archived = providers.archive_model(stage.ada, model)

    with pytest.raises(Problem) as refused:
        make_gate(stage, tickets, archived)

    assert refused.value.code == "model.archived"
    assert "tickets" not in stage.environment("production").required_checks


def test_a_gate_is_a_required_check(stage: Stage, gate: Gate):
    assert "tickets" in stage.environment("production").required_checks
    gates.remove(stage.ada, gate)
    assert "tickets" not in stage.environment("production").required_checks
    with pytest.raises(Problem, match="removed already"):
        gates.remove(stage.ada, gate)


def test_a_gate_can_ask_one_scorer(
    stage: Stage, tickets: Dataset, model: ProviderModel, version: PromptVersion, sandbox: Running
):
    with pytest.raises(Problem) as refused:
        make_gate(stage, tickets, model, min_quality=0.1, quality_scorer="exact")
    assert refused.value.faults[0].pointer == "/quality_scorer"
    make_gate(stage, tickets, model, scorers=["label", "exact"], min_quality=0.0, quality_scorer="label")

    ask(stage, version)
    measure()

    assert "at least 0, by label" in str(GateRun.objects.get().reasons)


def test_a_good_version_is_measured_and_passes(stage: Stage, gate: Gate, version: PromptVersion, sandbox: Running):
    promotion = ask(stage, version)
    workflow.approve(stage.rhea, promotion)
    with pytest.raises(Problem):
        workflow.apply(stage.edith, promotion)

    measure()

    gate_run = GateRun.objects.get()
    assert gate_run.state == GateState.PASSED, gate_run.reasons
    check = newest(stage, version)
    assert check is not None
    assert check.status == "passed"
    workflow.apply(stage.edith, promotion)
    assert gates.start_gate_runs() == []


def test_while_it_is_measured_nothing_is_let_through(stage: Stage, gate: Gate, version: PromptVersion):
    ask(stage, version)
    assert len(gates.start_gate_runs()) == 1
    assert gates.start_gate_runs() == [], "once is enough"
    check = newest(stage, version)
    assert check is not None
    assert check.status == "failed"
    assert check.summary.startswith(gates.MEASURING)


def test_a_worse_version_does_not_replace_a_better_one(
    stage: Stage, gate: Gate, version: PromptVersion, sandbox: Running
):
    promotion = ask(stage, version)
    workflow.approve(stage.rhea, promotion)
    measure()
    workflow.apply(stage.edith, promotion)
    bad = routing()
    bad["messages"] = [{"role": "system", "content": "Say hello."}, {"role": "user", "content": "{{ ticket }}"}]
    worse = stage.commit(version.prompt, "x", messages=bad["messages"], model=bad["model"])

    ask(stage, worse)
    measure()

    gate_run = GateRun.objects.get(version=worse)
    assert gate_run.state == GateState.FAILED
    assert gate_run.baseline is not None
    assert gate_run.comparison is not None
    assert any("compared with the live version" in reason["text"] and not reason["met"] for reason in gate_run.reasons)


def test_other_cases_are_a_change_of_the_rules(
    stage: Stage, gate: Gate, version: PromptVersion, tickets: Dataset, sandbox: Running
):
    """An editor who changes the dataset changes no gate; an admin moves the gate, and approvals become void."""
    promotion = ask(stage, version)
    measure()
    workflow.approve(stage.rhea, promotion)
    datasets.change(stage.edith, datasets.get_dataset(stage.project, tickets.name), added=cases(30, 100))
    tickets.refresh_from_db()
    assert tickets.head is not None
    assert gates.start_gate_runs() == []
    with pytest.raises(Problem, match="may not"):
        gates.use_cases(stage.edith, gate, tickets.head)

    moved = gates.use_cases(stage.ada, gates.get_gate(stage.project, gate.pk), tickets.head)

    assert Promotion.objects.get(pk=promotion.pk).status == "open"
    assert (moved.name, moved.dataset_version, moved.scorers) == (gate.name, tickets.head, gate.scorers)
    assert stage.environment("production").measured_checks == [gate.name]
    assert len(gates.start_gate_runs()) == 1
    check = newest(stage, version)
    assert (check.status, check.summary.startswith(gates.MEASURING)) == ("failed", True)


def test_only_the_gate_opens_itself(stage: Stage, gate: Gate, version: PromptVersion):
    """Not a key that records a check of its name, nor the same content under a name that the gate is not for."""
    key, _ = api_keys.issue(stage.ada, name="ci", scopes=["write"])
    with pytest.raises(Problem, match="measures this itself") as refused:
        checks.record(permissions.actor_for_key(key), version, name="tickets", status="passed")
    assert refused.value.code == "check.measured"
    with pytest.raises(DatabaseError, match="a gate measures the check"), transaction.atomic():
        VersionCheck.objects.create(
            project=stage.project, content_hash=version.content_hash, name="tickets", status="passed"
        )

    twin = versions.commit(stage.edith, stage.prompt("elsewhere.twin"), content=version.content).version
    gates._write_check(gate, twin, passed=True, summary="This gate is not for this prompt.")

    assert twin.content_hash == version.content_hash
    promotion = ask(stage, version)
    assert approvals.get_approval_status(promotion).missing_checks == ["tickets"]


def test_what_is_live_now_is_what_it_must_not_be_worse_than(
    stage: Stage, gate: Gate, version: PromptVersion, sandbox: Running
):
    ask(stage, version)
    measure()
    assert gates.start_gate_runs() == []
    other = stage.commit(version.prompt, "Say billing: {{ ticket }}", model={"name": "sandbox-small"})
    hurried = ask(stage, other)
    workflow.approve(stage.rhea, hurried)
    workflow.apply(stage.ada, hurried, override=workflow.Override("It burns"))

    assert len(gates.start_gate_runs()) == 2, "The version again, and what is live now."

    assert newest(stage, version).summary.startswith(gates.MEASURING)
    measure()
    assert GateRun.objects.filter(version=version, baseline__version=other).exists()
    assert gates.start_gate_runs() == []


def test_what_could_not_be_measured_is_measured_again_after_a_while(
    stage: Stage, gate: Gate, version: PromptVersion, sandbox: Running
):
    ask(stage, version)
    (run,) = gates.start_gate_runs()
    runs.cancel(stage.edith, run)
    tasks.sum_up_run(run.pk)
    gates.settle(gates.unsettled_gate_runs().get())
    assert GateRun.objects.get().state == GateState.ERRORED
    assert gates.start_gate_runs() == [], "not at once"

    GateRun.objects.update(finished_at=timezone.now() - gates.RETRY_INTERVAL)
    measure()

    assert [gate_run.state for gate_run in GateRun.objects.order_by("id")] == [GateState.ERRORED, GateState.PASSED]
    assert newest(stage, version).status == "passed"


def test_a_gate_that_cannot_begin_says_so_once(stage: Stage, gate: Gate, version: PromptVersion):
    ask(stage, version)
    providers.archive(stage.ada, gate.model.provider)

    gates.start_gate_runs()
    gates.start_gate_runs()

    assert VersionCheck.objects.filter(name=gate.name).count() == 1
    assert "Cannot be measured" in newest(stage, version).summary


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ({"quality": 1.0}, "by the SLA"),
        ({"p99_latency_ms": 1}, "p99 latency"),
        ({"cost_per_call_usd": "0.000001"}, "Cost of a call"),
        ({"format_adherence": 0.9}, "not measured"),
    ],
)
def test_service_levels_are_kept(
    stage: Stage,
    gate: Gate,
    version: PromptVersion,
    api_for: ApiFor,
    sandbox: Running,
    levels: dict[str, Any],
    message: str,
):
    assert api_for(stage.ada).put("/api/v1/slas", levels).status_code == 200
    ask(stage, version)

    measure()

    gate_run = GateRun.objects.get()
    assert gate_run.state == GateState.FAILED
    assert any(message in reason["text"] for reason in gate_run.reasons if not reason["met"])


def test_a_gate_measures_with_as_many_calls_as_the_slas_say(
    stage: Stage, gate: Gate, version: PromptVersion, sandbox: Running
):
    set_slas(stage.ada, {"p99_latency_ms": 60_000, "concurrency": 1})
    ask(stage, version)
    measure()

    (run,) = Run.objects.all()
    assert (run.concurrency, run.is_fresh, (run.summary or {})["calls_in_flight"]) == (1, True, 1)
    assert newest(stage, version).status == "passed"


def test_a_run_that_fails_says_why_on_the_check(stage: Stage, gate: Gate, version: PromptVersion, sandbox: Running):
    sandbox.fault("unauthorized")
    ask(stage, version)

    measure()

    check = newest(stage, version)
    assert check is not None
    assert "Incorrect API key" in check.summary
    assert GateRun.objects.get().state == GateState.ERRORED


def test_prompts_that_a_gate_is_not_for_pass_it(
    stage: Stage, tickets: Dataset, model: ProviderModel, version: PromptVersion
):
    make_gate(stage, tickets, model, prompts="billing.")
    ask(stage, version)

    assert gates.start_gate_runs() == []

    check = newest(stage, version)
    assert check is not None
    assert check.status == "passed"


def test_odd_gates_are_refused(stage: Stage, gate: Gate, tickets: Dataset, model: ProviderModel):
    for how, code in (
        ({}, "gate.name_taken"),
        ({"name": "No Name"}, "request.invalid"),
        ({"name": "b", "margin": 2}, "request.invalid"),
        ({"name": "b", "scorers": []}, "scorers.invalid"),
        ({"name": "b", "not_worse": False, "keeps_slas": False}, "gate.asks_nothing"),
    ):
        with pytest.raises(Problem) as refused:
            make_gate(stage, tickets, model, **how)
        assert refused.value.code == code, how


def test_gates_over_rest_and_on_pages(
    stage: Stage, api_for: ApiFor, version: PromptVersion, tickets: Dataset, model: ProviderModel, sandbox: Running
):
    ada = api_for(stage.ada)
    body = {
        "environment": "production",
        "name": "tickets",
        "dataset": "support.tickets",
        "model": "sandbox/sandbox-small",
        "scorers": ["label"],
    }
    assert api_for(stage.edith).post("/api/v1/gates", body).status_code == 403
    response = ada.post("/api/v1/gates", body)
    assert response.status_code == 201, response.json()
    proposed = ask(stage, version)
    person = Client()
    assert stage.ada.user
    person.force_login(stage.ada.user)
    evidence = f"/p/paper/gates/evidence/{proposed.pk}/"
    waiting = person.get(evidence).content.decode()
    assert "Starts within half a minute" in waiting
    # It follows by itself, and says when there is something new; what has been typed beside it stays.
    assert f'hx-get="{evidence}?waited=1"' in waiting
    measure()
    page = person.get(f"{evidence}?waited=1").content.decode()
    assert "No other version is live" in page
    assert "Measured." in page
    assert "hx-get" not in page
    assert ada.get(f"/api/v1/gates/{response.json()['id']}/runs").json()["results"][0]["state"] == "passed"
    assert "Not worse than the live version" in person.get("/p/paper/settings/gates/").content.decode()
    form = {**body, "name": "second", "split": "test", "min_quality": "0.1", "margin": "0.02", "not_worse": "on"}
    assert person.post("/p/paper/settings/gates/", form).status_code == 302
    wrong = person.post("/p/paper/settings/gates/", {**form, "name": "third", "margin": "much"})
    assert "Must be a number." in wrong.content.decode()
    person.post("/p/paper/settings/slas/", {"quality": "0.5"})
    assert ada.get("/api/v1/slas").json()["quality"] == 0.5
    person.post(f"/p/paper/settings/gates/{response.json()['id']}/remove/")
    assert gates.active_gates(stage.project).count() == 1
