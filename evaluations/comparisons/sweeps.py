"""Lineups: several runs on the same cases side by side, and model sweeps, which make such runs.

Each run is held against the first, case by case, and against the service levels. The cheapest that keeps them is named:
the one that is shown to by its intervals, and the one whose figures do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Prefetch, Q, QuerySet, Sum
from django.utils import timezone

from core.errors import Fault, Problem
from evaluations.comparisons import gates
from evaluations.comparisons.pairwise import DEFAULT_MARGIN
from evaluations.models import RUN_OPEN, Lineup, LineupRun, LineupState, ProviderModel, Run, RunState
from evaluations.providers import configuration as providers
from evaluations.runs import lifecycle as runs
from evaluations.runs import planning
from evaluations.runs.planning import Asked, Plan
from evaluations.statistics import service_levels
from evaluations.statistics.service_levels import Candidate
from infra import work
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.models import Project

FEWEST, MOST = 2, 24
SILENCE = timedelta(minutes=10)
MOST_TEMPERATURES = 6


@dataclass(frozen=True)
class Grid:
    """What a sweep tries: each model at each temperature (None: the version's own). The rest is as for one run; its
    `model` is not looked at."""

    asked: Asked
    models: Sequence[ProviderModel]
    temperatures: Sequence[float | None] = (None,)

    def cells(self) -> list[Asked]:
        """One run each, model by model."""
        return [
            replace(self.asked, model=model, parameters=self._parameters(temperature), budget_usd=None)
            for model in dict.fromkeys(self.models)
            for temperature in dict.fromkeys(self.temperatures or (None,))
        ]

    def _parameters(self, temperature: float | None) -> dict[str, Any]:
        own = dict(self.asked.parameters or {})
        return own if temperature is None else {**own, "temperature": temperature}


@transaction.atomic
def create(
    actor: Actor, chosen: Sequence[Run], *, margin: object = DEFAULT_MARGIN, levels: Mapping[str, Any] | None = None
) -> Lineup:
    """Put runs that are done side by side; the first is what the others are held against."""
    actor.require(Right.EDIT)
    wanted = list({run.pk: run for run in chosen}.values())
    _check_count(len(wanted))
    for run in wanted:
        if run.state != RunState.DONE:
            said = RunState(run.state).label.lower()
            raise Problem("comparison.not_comparable", f"Run {run.pk} is {said}; only runs that are done are compared.")
        if run.scorers != wanted[0].scorers:
            sentence = f"Runs {wanted[0].pk} and {run.pk} were not judged by the same scorers."
            raise Problem("comparison.not_comparable", sentence)
        if run.cases_hash != wanted[0].cases_hash:
            sentence = f"Runs {wanted[0].pk} and {run.pk} are not on the same cases: nothing could be paired."
            raise Problem("comparison.not_comparable", sentence)
    lineup = _insert(actor, margin, levels)
    _place(lineup, wanted)
    audit.record(actor, "lineup.created", lineup, after={"runs": [run.pk for run in wanted]})
    return lineup


@transaction.atomic
def sweep(
    actor: Actor,
    grid: Grid,
    *,
    budget_usd: object = None,
    margin: object = DEFAULT_MARGIN,
    levels: Mapping[str, Any] | None = None,
) -> Lineup:
    """Make a run of every model at every temperature, under one budget for all of them."""
    actor.require(Right.EDIT)
    budget, plans = _planned(actor.project, grid, budget_usd)
    lineup = _insert(actor, margin, levels, swept=grid.asked.version, budget_usd=budget)
    made = [runs.insert(actor, asked, plan, sweep=lineup) for asked, plan in plans]
    _place(lineup, made)
    after = {"of": str(grid.asked.version), "runs": len(made), "budget_usd": None if budget is None else str(budget)}
    audit.record(actor, "sweep.created", lineup, after=after)
    return lineup


def estimated(project: Project, grid: Grid, budget_usd: object = None) -> dict[str, Any]:
    """What a sweep would ask, and about what it costs; `cost_usd` is None where a model's price is not known."""
    _, plans = _planned(project, grid, budget_usd)
    costs = [plan.cost_usd for _, plan in plans]
    return {
        "runs": len(plans),
        "cases": len(plans[0][1].cases),
        "answers": sum(len(plan.cases) * asked.repeats for asked, plan in plans),
        "tokens_in": sum(plan.tokens_in for _, plan in plans),
        "tokens_out": sum(plan.tokens_out for _, plan in plans),
        "cost_usd": None if None in costs else str(round(sum((cost for cost in costs if cost), Decimal(0)), 6)),
    }


def _planned(project: Project, grid: Grid, budget_usd: object) -> tuple[Decimal | None, list[tuple[Asked, Plan]]]:
    faults: list[Fault] = []
    budget = planning.read_budget(budget_usd, faults)
    if len(grid.temperatures) > MOST_TEMPERATURES:
        faults.append(Fault("/temperatures", "count", f"At most {MOST_TEMPERATURES} temperatures."))
    faults += [
        Fault("/temperatures", "range", "A temperature is a number from 0 to 2.")
        for one in grid.temperatures
        if one is not None and not 0 <= one <= 2
    ]
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
    cells = grid.cells()
    _check_count(len(cells))
    plans = [(asked, planning.plan(project, asked)) for asked in cells]
    without = [str(asked.model) for asked, plan in plans if budget is not None and plan.price is None]
    if without:
        sentence = f"Nobody has said what {without[0]} costs, so a budget cannot be kept. Enter its price first."
        raise Problem("run.no_price", sentence, faults=[Fault("/budget_usd", "price", sentence)])
    return budget, plans


def _check_count(count: int) -> None:
    if not FEWEST <= count <= MOST:
        sentence = f"Side by side go from {FEWEST} to {MOST} runs; this is {count}."
        raise Problem("request.invalid", sentence, faults=[Fault("/models", "count", sentence)])


def _insert(actor: Actor, margin: object, levels: Mapping[str, Any] | None, **members: Any) -> Lineup:
    wanted = margin if isinstance(margin, int | float) and not isinstance(margin, bool) else -1.0
    if not 0 <= wanted <= 1:
        sentence = "The margin is a number from 0 to 1."
        raise Problem("request.invalid", sentence, faults=[Fault("/margin", "range", sentence)])
    asked = gates.told(gates.levels_of(actor.project)) if levels is None else gates.read_levels(levels, "/levels")
    kept = {name: value for name, value in asked.items() if value is not None}
    return Lineup.objects.create(
        project=actor.project, margin=float(wanted), levels=kept, by_name=actor.name, **members
    )


def _place(lineup: Lineup, chosen: Sequence[Run]) -> None:
    LineupRun.objects.bulk_create(LineupRun(lineup=lineup, run=run, place=place) for place, run in enumerate(chosen))


@transaction.atomic
def cancel(actor: Actor, lineup: Lineup) -> Lineup:
    """End the runs of a sweep that are under way; what they have stays. Nothing happens where none is."""
    actor.require(Right.EDIT)
    for place in lineup.places.filter(run__sweep=lineup, run__state__in=RUN_OPEN).select_related("run__project"):
        runs.cancel(actor, place.run)
    return numbered(lineup.project, lineup.pk)


@transaction.atomic
def resume(actor: Actor, lineup: Lineup, *, budget_usd: object = None) -> tuple[Lineup, list[Run]]:
    """Go on with the runs of a sweep that ended early, with another budget where one is given; and which those are."""
    actor.require(Right.EDIT)
    faults: list[Fault] = []
    budget = planning.read_budget(budget_usd, faults)
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
    locked = Lineup.objects.select_for_update().get(pk=lineup.pk)
    if budget is not None:
        locked.budget_usd = budget
    ended = list(locked.swept_runs.filter(state__in=runs.RESUMABLE).select_related("project", "model__provider"))
    if not ended:
        raise Problem("run.wrong_state", "None of these runs ended early.")
    if locked.budget_usd is not None:
        _require_budget(locked, ended)
    locked.state, locked.result, locked.error, locked.attempts, locked.beat_at = LineupState.PENDING, None, "", 0, None
    locked.save(update_fields=["budget_usd", "state", "result", "error", "attempts", "beat_at"])
    went_on = [runs.resume(actor, run, of_sweep=True) for run in ended]
    return numbered(lineup.project, lineup.pk), went_on


def _require_budget(lineup: Lineup, ended: Sequence[Run]) -> None:
    without = [str(run.model) for run in ended if run.price is None]
    if without:
        sentence = f"Nobody had said what {without[0]} costs when this was made, so a budget cannot be kept."
        raise Problem("run.no_price", sentence, faults=[Fault("/budget_usd", "price", sentence)])
    already = spent(lineup)
    if lineup.budget_usd is not None and lineup.budget_usd <= already:
        sentence = f"The sweep has cost ${already:.4f} already; its budget must be more than that."
        raise Problem("run.budget", sentence, faults=[Fault("/budget_usd", "range", sentence)])


def spent(lineup: Lineup) -> Decimal:
    """What a sweep's runs have cost together, in US dollars."""
    found: Decimal = lineup.swept_runs.aggregate(all=Sum("cost_usd"))["all"] or Decimal(0)
    return found


def numbered(project: Project, number: int) -> Lineup:
    """The project's lineup with this number, or `lineup.not_found`."""
    found = loaded().filter(project=project, pk=number).first()
    if found is None:
        raise Problem("lineup.not_found", f"There is no lineup {number}.")
    return found


def loaded() -> QuerySet[Lineup]:
    """Lineups with their runs, in order."""
    places = LineupRun.objects.select_related(
        "run__version__prompt", "run__dataset_version__dataset", "run__project", "run__model__provider"
    )
    return Lineup.objects.select_related("project", "swept__prompt").prefetch_related(
        Prefetch("places", places.order_by("place"))
    )


def open_work() -> QuerySet[Lineup]:
    """Lineups whose runs are all over and summed up, and that nobody works on."""
    unready = LineupRun.objects.filter(Q(run__state__in=RUN_OPEN) | Q(run__summary__isnull=True), lineup=OuterRef("pk"))
    dead = timezone.now() - SILENCE
    waiting = Lineup.objects.filter(Q(beat_at=None) | Q(beat_at__lt=dead), state=LineupState.PENDING)
    return waiting.filter(~Exists(unready)).order_by("id")


def perform(lineup: Lineup) -> None:
    """Work a lineup out; does nothing where its runs are not over, or another worker does it."""
    mine = open_work().filter(pk=lineup.pk)
    if mine.update(beat_at=timezone.now(), attempts=F("attempts") + 1) != 1:
        return
    lineup.refresh_from_db(fields=["attempts"])
    work.carry_out(
        lineup,
        lambda: _finish(lineup, LineupState.DONE, result=worked_out(lineup)),
        lambda sentence: _finish(lineup, LineupState.FAILED, error=sentence),
    )


def _finish(lineup: Lineup, state: LineupState, **members: Any) -> None:
    mine = Lineup.objects.filter(pk=lineup.pk, state=LineupState.PENDING, attempts=lineup.attempts)
    # Where its runs were taken up again meanwhile, nobody works on it now, and this is not its result any more.
    mine.filter(beat_at__isnull=False).update(state=state, **members)


def worked_out(lineup: Lineup) -> dict[str, Any]:
    """What a lineup's page shows, as JSON: each run against the first and the levels, and which to choose."""
    # Imported here: scipy is for who compares.
    from evaluations.runs.summaries import answers_of  # noqa: PLC0415
    from evaluations.statistics import contrasts  # noqa: PLC0415

    placed = [place.run for place in lineup.places.all()]
    done = [run for run in placed if run.state == RunState.DONE]
    contrasted: dict[int, dict[str, Any]] = {}
    if len(done) > 1 and done[0].pk == placed[0].pk:
        others = ((run.pk, list(answers_of(run))) for run in done[1:])
        contrasted = contrasts.against(list(answers_of(done[0])), others, margin=lineup.margin)
    candidates = [_candidate(run, lineup.levels) for run in done]
    choice = service_levels.choose(candidates)
    rows = [
        {
            "run": one.key,
            "cost": one.cost,
            "latency": one.latency,
            "levels": [found.as_dict() for found in one.findings],
            "against": contrasted.get(one.key),
        }
        for one in candidates
    ]
    return {"rows": rows, "shown": choice.shown, "met": choice.met}


def _candidate(run: Run, levels: service_levels.Levels) -> Candidate:
    summary = run.summary or {}
    cost = summary.get("cost_per_call_usd") or {}
    latency = (summary.get("latency_ms") or {}).get("p50") or {}
    quality = summary.get("quality") or {}
    found = service_levels.findings(summary, levels)
    return Candidate(run.pk, cost.get("value"), latency.get("value"), quality.get("value"), found)


def asked_for(project: Project, document: Mapping[str, Any]) -> Grid:
    """A sweep as it is written: as one run, with `models` and `temperatures` in place of `model`."""
    models = [providers.model_named(project, str(reference)) for reference in document["models"][: MOST + 1]]
    if not models:
        raise Problem("request.invalid", "Choose some models.", faults=[Fault("/models", "required", "Choose some.")])
    asked = planning.asked_for(project, {**document, "model": str(models[0])})
    return Grid(asked, models, tuple(document.get("temperatures") or (None,)))
