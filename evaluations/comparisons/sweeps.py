"""Model sweeps: runs of one version by several models and temperatures, with and without retrieval, under one budget,
compared with each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from core.errors import Fault, Problem
from core.model_settings import laid_over
from evaluations.comparisons import lifecycle as comparisons
from evaluations.comparisons.lifecycle import DEFAULT_MARGIN, MAX_RUNS
from evaluations.models import RUN_OPEN, Comparison, ProviderModel, Run, RunState
from evaluations.providers import configuration as providers
from evaluations.runs import lifecycle as runs
from evaluations.runs import planning
from evaluations.runs.planning import RunPlan, RunSettings
from evaluations.scorers.specs import specs_from_json
from infra import work
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.models import Project, PromptVersion
from registry.prompts import drafts

MAX_TEMPERATURES = 6


@dataclass(frozen=True)
class Grid:
    """The runs of a sweep: each model at each temperature (None: the version's own), before each the same without
    retrieval, if wanted. The other settings are those of one run, whose `model` is ignored."""

    settings: RunSettings
    models: Sequence[ProviderModel]
    temperatures: Sequence[float | None] = (None,)
    also_without_retrieval: bool = False

    def cells(self) -> list[RunSettings]:
        """Return the settings of each run, model by model."""
        settings = [self.settings]
        if self.also_without_retrieval:
            settings = [replace(self.settings, without_retrieval=True, as_of=None), self.settings]
        return [
            replace(setting, model=model, parameters=self._parameters(temperature), budget_usd=None)
            for model in dict.fromkeys(self.models)
            for temperature in dict.fromkeys(self.temperatures or (None,))
            for setting in settings
        ]

    def _parameters(self, temperature: float | None) -> dict[str, Any]:
        parameters = dict(self.settings.parameters or {})
        return parameters if temperature is None else {**parameters, "temperature": temperature}


@transaction.atomic
def create(
    actor: Actor,
    grid: Grid,
    *,
    budget_usd: object = None,
    margin: object = DEFAULT_MARGIN,
    targets: Mapping[str, Any] | None = None,
) -> Comparison:
    """Create a run of every model at every temperature, under one budget for all of them, and their comparison."""
    actor.require(Right.EDIT)
    if grid.settings.searches and grid.settings.as_of is None:
        # All search the same documents.
        grid = replace(grid, settings=replace(grid.settings, as_of=timezone.now()))
    budget, plans = _plan(actor.project, grid, budget_usd)
    version = grid.settings.version
    sweep = comparisons.insert(actor, (), margin=margin, targets=targets, swept=version, budget_usd=budget)
    comparisons.add_runs(sweep, [runs.insert(actor, settings, plan, sweep=sweep) for settings, plan in plans])
    after = {"of": str(version), "runs": len(plans), "budget_usd": None if budget is None else str(budget)}
    audit.record(actor, "sweep.created", sweep, after=after)
    return sweep


def without_retrieval(actor: Actor, run: Run) -> Comparison:
    """Measure what a run's search is worth: its version on its cases without retrieval, and with it as it was, compared
    by those of its scorers that judge answers. A budget is doubled, for two runs."""
    if not run.searches:
        raise Problem("run.wrong_state", f"Run {run.pk} searches no collection.")
    specs = specs_from_json(run.scorers)
    scorers = [spec.as_dict() for spec in specs if not planning.judges_retrieval(actor.project, spec)]
    if not scorers:
        sentence = "All of its scorers judge by what was retrieved; measure it by one that judges answers."
        raise Problem("comparison.not_comparable", sentence)
    settings = replace(
        planning.settings_of(run),
        scorers=scorers,
        fresh=run.is_fresh,
        concurrency=run.concurrency,
        cases=[key for keys in run.batches.values_list("cases", flat=True) for key in keys],
    )
    budget = None if run.budget_usd is None else 2 * run.budget_usd
    return create(actor, Grid(settings, [run.model], also_without_retrieval=True), budget_usd=budget)


def estimate_sweep(project: Project, grid: Grid, budget_usd: object = None) -> dict[str, Any]:
    """Return what a sweep would ask, and about what it costs; `cost_usd` is None where a model's price is not known."""
    _, plans = _plan(project, grid, budget_usd)
    costs = [plan.cost_usd for _, plan in plans]
    return {
        "runs": len(plans),
        "cases": len(plans[0][1].cases),
        "answers": sum(len(plan.cases) * settings.repetitions for settings, plan in plans),
        "tokens_in": sum(plan.tokens_in for _, plan in plans),
        "tokens_out": sum(plan.tokens_out for _, plan in plans),
        "cost_usd": None if None in costs else str(round(sum((cost for cost in costs if cost), Decimal(0)), 6)),
    }


def _plan(project: Project, grid: Grid, budget_usd: object) -> tuple[Decimal | None, list[tuple[RunSettings, RunPlan]]]:
    faults: list[Fault] = []
    budget = planning.read_budget(budget_usd, faults)
    if len(grid.temperatures) > MAX_TEMPERATURES:
        faults.append(Fault("/temperatures", "count", f"At most {MAX_TEMPERATURES} temperatures."))
    faults += [
        Fault("/temperatures", "range", "A temperature is a number from 0 to 2.")
        for temperature in grid.temperatures
        if temperature is not None and not 0 <= temperature <= 2
    ]
    if grid.also_without_retrieval and not grid.settings.searches:
        sentence = f"{grid.settings.version} searches no collection."
        faults.append(Fault("/also_without_retrieval", "retrieval", sentence))
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
    cells = grid.cells()
    comparisons.require_count(len(cells))
    plans = [(settings, planning.plan_run(project, settings)) for settings in cells]
    unpriced = [str(settings.model) for settings, plan in plans if budget is not None and plan.price is None]
    if unpriced:
        sentence = f"{unpriced[0]} has no price, so a budget cannot be kept. Enter its price first."
        raise Problem("run.no_price", sentence, faults=[Fault("/budget_usd", "price", sentence)])
    return budget, plans


@transaction.atomic
def open_draft(actor: Actor, sweep: Comparison, run: Run) -> PromptVersion:
    """Start the actor's draft of the swept version with a run's model and settings; returns that version. Refuses where
    they have a draft of the prompt already: it would be lost."""
    actor.require(Right.EDIT)
    if sweep.swept is None or not sweep.swept_runs.filter(pk=run.pk, state=RunState.DONE).exists():
        raise Problem("run.wrong_state", "A draft starts from a finished run of a sweep.")
    if run.is_without_retrieval:
        sentence = "What the prompt says of retrieval is taken out by hand: its texts may show what is found."
        raise Problem("run.wrong_state", sentence)
    version = sweep.swept
    if drafts.get_draft(actor, version.prompt):
        sentence = f"You have a draft of {version.prompt.name}; commit or discard it first."
        raise Problem("draft.changed_elsewhere", sentence)
    model = {**laid_over(version.content.get("model", {}), run.parameters), "name": run.model_name}
    head = version.prompt.head
    drafts.save(
        actor,
        version.prompt,
        document={**version.content, "model": model},
        revision=0,
        base=version.number,
        seen=head.number if head else None,
    )
    return version


@transaction.atomic
def cancel(actor: Actor, sweep: Comparison) -> Comparison:
    """Cancel the runs of a sweep that are open; their answers stay. Does nothing where none is."""
    actor.require(Right.EDIT)
    for entry in sweep.entries.filter(run__sweep=sweep, run__state__in=RUN_OPEN).select_related("run__project"):
        runs.cancel(actor, entry.run)
    return comparisons.get_comparison(sweep.project, sweep.pk)


@transaction.atomic
def resume(actor: Actor, sweep: Comparison, *, budget_usd: object = None) -> tuple[Comparison, list[Run]]:
    """Go on with the runs of a sweep that ended early, with another budget where there is one; returns those runs."""
    actor.require(Right.EDIT)
    faults: list[Fault] = []
    budget = planning.read_budget(budget_usd, faults)
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
    locked = Comparison.objects.select_for_update().get(pk=sweep.pk)
    if budget is not None:
        locked.budget_usd = budget
    ended = list(locked.swept_runs.filter(state__in=runs.RESUMABLE).select_related("project", "model__provider"))
    if not ended:
        raise Problem("run.wrong_state", "None of these runs ended early.")
    if locked.budget_usd is not None:
        _require_budget(locked, ended)
    # A worker that computes the result now has lost the row: the runs go on.
    rows = Comparison.objects.filter(pk=locked.pk)
    work.put_back(rows, result=None, budget_usd=locked.budget_usd)
    resumed = [runs.resume(actor, run, of_sweep=True) for run in ended]
    return comparisons.get_comparison(sweep.project, sweep.pk), resumed


def _require_budget(sweep: Comparison, ended: Sequence[Run]) -> None:
    unpriced = [str(run.model) for run in ended if run.price is None]
    if unpriced:
        sentence = f"{unpriced[0]} had no price when this was created, so a budget cannot be kept."
        raise Problem("run.no_price", sentence, faults=[Fault("/budget_usd", "price", sentence)])
    already = cost_of_sweep(sweep)
    if sweep.budget_usd is not None and sweep.budget_usd <= already:
        sentence = f"The sweep has cost ${already:.4f} already; its budget must be more than that."
        raise Problem("run.budget", sentence, faults=[Fault("/budget_usd", "range", sentence)])


def cost_of_sweep(sweep: Comparison) -> Decimal:
    """Return what a sweep's runs have cost together, in US dollars."""
    cost: Decimal = sweep.swept_runs.aggregate(all=Sum("cost_usd"))["all"] or Decimal(0)
    return cost


def grid_from_document(project: Project, document: Mapping[str, Any]) -> Grid:
    """Read a sweep as it is written: as one run, with `models` and `temperatures` in place of `model`."""
    models = [providers.get_model(project, str(reference)) for reference in document["models"][: MAX_RUNS + 1]]
    if not models:
        raise Problem("request.invalid", "Choose some models.", faults=[Fault("/models", "required", "Choose some.")])
    settings = planning.settings_from_document(project, {**document, "model": str(models[0])})
    temperatures = tuple(document.get("temperatures") or (None,))
    return Grid(settings, models, temperatures, bool(document.get("also_without_retrieval")))
