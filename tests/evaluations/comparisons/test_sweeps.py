"""Model sweeps and comparisons of several runs, one budget, and the cheapest that keeps the SLAs."""

import re
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from core.errors import Problem
from evaluations import tasks
from evaluations.comparisons import lifecycle as comparisons
from evaluations.comparisons import slas, sweeps
from evaluations.comparisons.sweeps import Grid
from evaluations.models import Comparison, ComparisonState, Dataset, ProviderModel, Run, RunState
from evaluations.providers import configuration as providers
from evaluations.runs import lifecycle as runs
from evaluations.runs import planning
from evaluations.runs.planning import RunSettings
from evaluations.statistics import slas as sla_statistics
from evaluations.statistics.intervals import NO_SPREAD
from evaluations.statistics.slas import Candidate, SLAResult, choose_cheapest, sla_results
from registry.models import PromptVersion
from tests.conftest import ApiFor, Stage
from tests.evaluations.conftest import make_run
from tests.evaluations.runs.test_pages import client_of, finish, text
from tests.sandbox import Running


@pytest.fixture
def large(stage: Stage, model: ProviderModel) -> ProviderModel:
    added = providers.add_model(stage.ada, model.provider, "sandbox-large")
    providers.set_price(stage.ada, added, {"input": "20", "output": "80"})
    return added


@pytest.fixture
def grid(version: PromptVersion, tickets: Dataset, model: ProviderModel, large: ProviderModel) -> Grid:
    assert tickets.head
    run_settings = RunSettings(version=version, dataset_version=tickets.head, scorers=["label"], model=model, split="")
    return Grid(run_settings, [large, model], (0.0,))


def finished(sweep: Comparison) -> Comparison:
    for run in sweep.swept_runs.order_by("id"):
        finish(run.pk)
    tasks.compare_runs(sweep.pk)
    return comparisons.get_comparison(sweep.project, sweep.pk)


def test_a_sweep_names_the_cheapest_model_that_keeps_the_levels(stage: Stage, grid: Grid, sandbox: Running):
    slas.set_slas(stage.ada, {"quality": 0.2})

    done = finished(sweeps.create(stage.edith, grid))

    large, small = (entry.run for entry in done.entries.all())
    assert done.state == ComparisonState.DONE
    assert done.result is not None
    assert done.result["shown"] == done.result["met"] == small.pk
    first, second = done.result["rows"]
    assert first["against"] is None
    assert second["against"]["n"] == 60
    assert second["against"]["p_adjusted"] is not None
    assert second["cost"] < first["cost"]
    (level,) = second["slas"]
    assert (level["name"], level["met"], level["shown"]) == ("quality", True, True)
    assert level["low"] >= 0.2
    assert len(sandbox.calls()) == 120
    assert large.parameters == small.parameters == {"temperature": 0.0}


@pytest.mark.usefixtures("sandbox")
def test_levels_of_the_day_stay_with_the_sweep(stage: Stage, grid: Grid):
    slas.set_slas(stage.ada, {"quality": 0.2})
    sweep = sweeps.create(stage.edith, grid)
    slas.set_slas(stage.ada, {"quality": 1.0})

    done = finished(sweep)

    assert done.slas == {"quality": 0.2}
    assert done.result is not None
    assert done.result["shown"] is not None


def test_one_budget_is_for_all_runs_together_and_can_be_raised(stage: Stage, grid: Grid, sandbox: Running):
    sweep = sweeps.create(stage.edith, grid, budget_usd="0.02")

    stopped = finished(sweep)

    spent = sweeps.cost_of_sweep(stopped)
    # The next call may be dearer than the dearest so far: by as much a budget can be exceeded.
    assert Decimal("0.018") < spent < Decimal("0.0205")
    states = [entry.run.state for entry in stopped.entries.all()]
    assert RunState.STOPPED in states
    (ended, *_) = (entry.run for entry in stopped.entries.all() if entry.run.state == RunState.STOPPED)
    assert "the sweep's $0.02" in ended.error
    before = len(sandbox.calls())

    resumed, went_on = sweeps.resume(stage.edith, stopped, budget_usd="5")

    assert {run.pk for run in went_on} == {
        entry.run_id for entry in stopped.entries.all() if entry.run.state == "stopped"
    }
    done = finished(resumed)
    assert [run.state for run in done.runs] == ["done", "done"]
    assert len(sandbox.calls()) == 120
    assert before < 120
    assert done.state == ComparisonState.DONE


@pytest.mark.usefixtures("sandbox")
def test_a_sweep_waits_for_the_figures_of_all_its_runs(stage: Stage, grid: Grid):
    sweep = sweeps.create(stage.edith, grid)
    first, second = sweep.swept_runs.order_by("id")
    finish(first.pk)
    tasks.work_on_run(second.pk)

    tasks.compare_runs(sweep.pk)

    assert comparisons.get_comparison(sweep.project, sweep.pk).state == ComparisonState.PENDING
    tasks.sum_up_run(second.pk)
    tasks.compare_runs(sweep.pk)
    done = comparisons.get_comparison(sweep.project, sweep.pk)
    assert done.result is not None
    assert len(done.result["rows"]) == 2


@pytest.mark.usefixtures("sandbox")
def test_a_budget_that_could_not_be_kept_is_refused_when_a_sweep_goes_on(
    stage: Stage, grid: Grid, model: ProviderModel
):
    unpriced = providers.add_model(stage.ada, model.provider, "sandbox-retired")
    sweep = sweeps.create(stage.edith, Grid(grid.settings, [model, unpriced]))
    for run in sweep.swept_runs.all():
        runs.cancel(stage.edith, run)

    with pytest.raises(Problem) as refusal:
        sweeps.resume(stage.edith, sweep, budget_usd="1")
    assert refusal.value.code == "run.no_price"
    with pytest.raises(Problem) as alone:
        runs.resume(stage.edith, sweep.swept_runs.first(), budget_usd="1")
    assert alone.value.code == "run.wrong_state"


@pytest.mark.usefixtures("sandbox")
def test_a_cancelled_sweep_keeps_what_it_has(stage: Stage, grid: Grid):
    sweep = sweeps.create(stage.edith, grid)
    finish(sweep.swept_runs.order_by("id").first().pk)

    sweeps.cancel(stage.edith, sweep)

    done = finished(sweep)
    assert [run.state for run in done.runs] == ["done", "cancelled"]
    assert done.result is not None
    assert len(done.result["rows"]) == 1


@pytest.mark.usefixtures("sandbox")
def test_runs_that_are_done_are_compared(
    stage: Stage, version: PromptVersion, tickets: Dataset, model: ProviderModel, large: ProviderModel
):
    started = [make_run(stage, version, tickets, run_model) for run_model in (model, large, model)]
    for run in started:
        finish(run.pk)
    compared = list(Run.objects.filter(pk__in=[run.pk for run in started]).order_by("id"))

    sweep = comparisons.create(stage.edith, compared, targets={"quality": 0.1})

    done = finished(sweep)
    assert done.result is not None
    assert [row["run"] for row in done.result["rows"]] == [run.pk for run in started]
    same = done.result["rows"][2]["against"]
    assert (same["difference"], same["wins"], same["losses"]) == (0, 0, 0)
    other = make_run(stage, version, tickets, model, limit=10)
    finish(other.pk)
    other.refresh_from_db()
    with pytest.raises(Problem, match="not on the same cases"):
        comparisons.create(stage.edith, [compared[0], other])
    with pytest.raises(Problem, match="2 to 24 runs"):
        comparisons.create(stage.edith, compared[:1])


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"models": ["sandbox/sandbox-small"]}, "/models"),
        ({"models": []}, "/models"),
        ({"temperatures": [3]}, "/temperatures"),
        ({"slas": {"beauty": 1}}, "/slas/beauty"),
        ({"slas": {"quality": True}}, "/slas/quality"),
        ({"margin": 2}, "/margin"),
    ],
)
@pytest.mark.usefixtures("sandbox", "version", "tickets", "large")
def test_unfitting_sweeps_are_refused_with_a_pointer(
    stage: Stage, api_for: ApiFor, change: dict[str, Any], pointer: str
):
    body = {
        "prompt": "support.route@latest",
        "dataset": "support.tickets",
        "models": ["sandbox/sandbox-small", "sandbox/sandbox-large"],
        "scorers": ["label"],
        **change,
    }

    refused = api_for(stage.edith).post("/api/v1/sweeps", body, format="json")

    assert refused.status_code == 400
    assert refused.json()["errors"][0]["pointer"] == pointer
    assert not Run.objects.exists()


@pytest.mark.usefixtures("sandbox", "version", "tickets", "large")
def test_over_rest(stage: Stage, api_for: ApiFor):
    client = api_for(stage.edith)
    body = {
        "prompt": "support.route@latest",
        "dataset": "support.tickets",
        "split": "",
        "models": ["sandbox/sandbox-large", "sandbox/sandbox-small"],
        "temperatures": [0, 1],
        "scorers": ["label"],
        "limit": 10,
        "slas": {"quality": 0.01},
        "budget_usd": "3",
    }
    estimate = client.post("/api/v1/sweeps/estimate", body, format="json").json()
    assert (estimate["runs"], estimate["answers"]) == (4, 40)

    response = client.post("/api/v1/sweeps", body, format="json")

    assert response.status_code == 201, response.json()
    assert (response.json()["state"], len(response.json()["runs"])) == ("pending", 4)
    finished(Comparison.objects.get())
    done = client.get(response["Location"]).json()
    assert done["state"] == "done"
    assert done["result"]["met"] is not None
    assert client.get("/api/v1/comparisons").json()["results"][0]["id"] == done["id"]
    again = client.post("/api/v1/comparisons", {"runs": [run["id"] for run in done["runs"]]}, format="json")
    assert again.status_code == 201
    assert client.post(f"{response['Location']}/resume", {}, format="json").json()["code"] == "run.wrong_state"
    assert client.post(f"{response['Location']}/cancel", {}, format="json").json()["state"] == "done"


@pytest.mark.usefixtures("sandbox", "version", "tickets", "large")
def test_the_pages(stage: Stage):
    edith: Client = client_of(stage.edith)
    slas.set_slas(stage.ada, {"quality": 0.1, "p99_latency_ms": 100_000})
    form = {
        "prompt": "support.route@latest",
        "dataset": "support.tickets",
        "split": "",
        "models": ["sandbox/sandbox-large", "sandbox/sandbox-small"],
        "temperatures": "0",
        "repetitions": "1",
        "leaked": "mark",
        "margin": "0.02",
        "scorers": ["label"],
    }
    estimate = edith.post("/p/paper/new-sweep/", {**form, "do": "estimate"})
    assert "2 runs on 60 cases" in text(estimate)
    wrong = edith.post("/p/paper/new-sweep/", {**form, "temperatures": "warm"})
    assert wrong.status_code == 400
    assert "&#x27;warm&#x27; is not a number." in text(wrong)

    started = edith.post("/p/paper/new-sweep/", {**form, "do": "start"})

    sweep = Comparison.objects.get()
    assert started["Location"] == f"/p/paper/comparisons/{sweep.pk}/"
    assert "0 of 120 answers" in text(edith.get(started["Location"]))
    # What holds a run up is seen without opening it.
    Run.objects.filter(pk=sweep.runs[0].pk).update(note="sandbox cannot be reached; the next attempt is in 60 s.")
    assert "sandbox cannot be reached" in text(edith.get(started["Location"]))
    finished(sweep)
    done = text(edith.get(started["Location"]))
    # Sixty calls say nothing of a p99's upper bound, and the page says that it is not shown.
    assert "sandbox/sandbox-small at temperature 0 is the cheapest whose figures meet the SLAs" in done
    assert "Not with 95 % confidence" in done
    assert "A simulation." in done
    assert 'class="chart scatter"' in done
    assert edith.get(f"{started['Location']}wait/")["HX-Refresh"] == "true"
    assert "support.route v1, 2 settings" in text(edith.get("/p/paper/evaluations/"))
    first = sweep.runs[0].pk
    response = edith.post("/p/paper/new-comparison/", {"run": first, "runs": [first + 1], "margin": "0.05"})
    assert response["Location"] == f"/p/paper/comparisons/{sweep.pk + 1}/"


@pytest.mark.usefixtures("sandbox", "version", "tickets", "large")
def test_the_command_waits_and_names_the_model(stage: Stage, capsys: pytest.CaptureFixture[str]):
    slas.set_slas(stage.ada, {"quality": 0.1})
    models = ("--model", "sandbox/sandbox-large", "--model", "sandbox/sandbox-small")
    common = ("support.route@latest", "--dataset", "support.tickets", "--project", "paper", "--split", "all", "--here")

    call_command("compare_models", *common, *models)

    output = capsys.readouterr().out
    assert "sandbox/sandbox-small is the cheapest that meets the SLAs with 95 % confidence" in output
    assert "a simulation" in output
    assert re.search(r"sandbox-small against sandbox/sandbox-large: \w+", output)
    assert re.search(r"This is comparison \d+", output)
    slas.set_slas(stage.ada, {"quality": 1.0})
    with pytest.raises(CommandError, match="None of them meets"):
        call_command("compare_models", *common, *models)


# --- Choosing --------------------------------------------------------------------------------------------------------


def candidate(key: int, cost: float | None, *, value: float, low: float) -> Candidate:
    return Candidate(key, cost, 100.0, value, [SLAResult("quality", 0.8, value, low, 1.0)])


def test_the_cheapest_that_is_shown_and_the_cheapest_whose_figures_do_are_two_answers():
    candidates = [
        candidate(1, 9.0, value=0.95, low=0.9),
        candidate(2, 1.0, value=0.7, low=0.6),
        candidate(3, 2.0, value=0.82, low=0.75),
        candidate(4, 5.0, value=0.9, low=0.8),
        candidate(5, None, value=0.99, low=0.98),
    ]

    assert choose_cheapest(candidates) == sla_statistics.Choice(confident=4, met=3)
    assert choose_cheapest([]) == sla_statistics.Choice(None, None)
    assert choose_cheapest([Candidate(1, 1.0, 1.0, 1.0, [])]) == sla_statistics.Choice(None, None), (
        "Without levels none keeps them."
    )


def test_findings_take_the_bad_end_of_each_interval():
    summary = {
        "quality": {"value": 0.9, "low": 0.85, "high": 0.95, "method": "BCa"},
        "latency_ms": {"p99": {"value": 500.0, "low": 450.0, "high": None, "method": "order"}},
        "cost_per_call_usd": {"value": 0.01, "low": None, "high": None, "method": NO_SPREAD, "n": 20},
        "scorers": [{"scorer": "json_valid", "passed": {"value": 1.0, "low": 0.9, "high": 1.0, "method": "Wilson"}}],
    }
    levels = {"quality": 0.88, "p99_latency_ms": 600, "cost_per_call_usd": 0.01, "format_adherence": 0.9}

    results = {result.name: (result.is_met, result.is_met_confidently) for result in sla_results(summary, levels)}

    assert results == {
        "quality": (True, False),
        "format_adherence": (True, True),
        "p99_latency_ms": (True, False),
        "cost_per_call_usd": (True, True),
    }
    assert sla_results({}, {"quality": 0.5})[0].is_met is False
    alike = {"value": 1.0, "low": 1.0, "high": 1.0, "method": "t over 2 groups"}
    assert sla_results({"quality": alike}, {"quality": 0.9})[0].is_met_confidently is False, (
        "Two groups that are alike show nothing."
    )
    assert sla_statistics.NO_SPREAD == NO_SPREAD


@pytest.mark.parametrize(
    ("calls_in_flight", "concurrency", "value"),
    [(1, 1, 700.0), (16, 16, 700.0), (16, None, 700.0), (None, None, 700.0), (16, 1, None), (None, 1, None)],
)
def test_a_latency_counts_where_it_was_measured_as_the_slas_say(
    calls_in_flight: int | None, concurrency: int | None, value: float | None
):
    estimate = {"value": 700.0, "low": 600.0, "high": 800.0, "n": 50, "method": "order statistics"}
    summary = {"latency_ms": {"p99": estimate}, "calls_in_flight": calls_in_flight}

    (result,) = sla_results(summary, {"p99_latency_ms": 1000, "concurrency": concurrency})

    assert result.value == value
    assert result.is_met == (value is not None)
    assert bool(result.reason) == (value is None)


def test_a_sweep_of_one_setting_is_refused_before_anything_is_asked(
    stage: Stage, version: PromptVersion, tickets: Dataset, model: ProviderModel
):
    run_settings = planning.settings_from_document(
        stage.project,
        {"prompt": str(version), "dataset": tickets.name, "model": str(model), "scorers": ["label"], "split": ""},
    )

    with pytest.raises(Problem) as refusal:
        sweeps.create(stage.edith, Grid(run_settings, [model, model]))

    assert refusal.value.faults[0].pointer == "/models"
