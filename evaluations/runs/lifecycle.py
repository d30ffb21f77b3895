"""Runs: create, re-score, cancel, resume and read them. The work itself is in evaluations.runs.worker."""

from dataclasses import replace
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from core.errors import Fault, Problem
from evaluations.models import RUN_OPEN, BatchState, Comparison, Result, ResultAnnotation, Run, RunBatch, RunState
from evaluations.providers import configuration as providers
from evaluations.runs import planning
from evaluations.runs.planning import RunPlan, RunSettings
from evaluations.scorers.specs import specs_from_json
from evaluations.statistics.agreement import cohen
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.models import Project

# Cases that a worker claims at a time: some seconds of work.
BATCH = 100
MAX_OPEN = 50
# States in which a run has ended without all its answers, and may be resumed.
RESUMABLE = (RunState.STOPPED, RunState.CANCELLED, RunState.FAILED)


@transaction.atomic
def create(actor: Actor, settings: RunSettings) -> Run:
    """Freeze the settings of a run and leave it to the workers."""
    actor.require(Right.EDIT)
    return insert(actor, settings, planning.plan_run(actor.project, settings))


def insert(
    actor: Actor,
    settings: RunSettings,
    plan: RunPlan,
    *,
    answers_of: Run | None = None,
    sweep: Comparison | None = None,
) -> Run:
    """Insert a planned run; of a sweep, or on the answers of another run."""
    if Run.objects.filter(project=actor.project, state__in=RUN_OPEN).count() >= MAX_OPEN:
        raise Problem("run.too_many", f"{MAX_OPEN} runs are running in this project; wait for some, or cancel them.")
    model = settings.model
    run = Run.objects.create(
        project=actor.project,
        version=settings.version,
        dataset_version=settings.dataset_version,
        split=settings.split,
        model=model,
        provider_name=model.provider.name,
        model_name=model.name,
        is_simulation=model.provider.is_simulation,
        parameters=dict(plan.parameters),
        scorers=[spec.as_dict() for spec in plan.specs],
        repetitions=settings.repetitions,
        cases=len(plan.cases),
        cases_hash=plan.cases_hash,
        leaked=settings.leaked,
        is_fresh=settings.fresh,
        concurrency=settings.concurrency,
        is_without_retrieval=settings.without_retrieval,
        as_of=settings.as_of or (timezone.now() if settings.searches else None),
        excluded=plan.excluded,
        price=plan.price.as_dict() if plan.price else None,
        estimate=plan.estimate() if answers_of is None else _estimate_of_judging(plan),
        budget_usd=plan.budget_usd,
        answers_of=answers_of,
        sweep=sweep,
        by=actor.user,
        by_key=actor.key,
        by_name=actor.name,
    )
    RunBatch.objects.bulk_create(
        (
            RunBatch(run=run, number=number, cases=list(plan.cases[start : start + BATCH]))
            for number, start in enumerate(range(0, len(plan.cases), BATCH), start=1)
        ),
        batch_size=500,
    )
    after = {
        "version": str(settings.version),
        "dataset": str(settings.dataset_version),
        "model": str(model),
        "cases": run.cases,
        "budget_usd": str(run.budget_usd) if run.budget_usd is not None else None,
    }
    audit.record(actor, "run.created", run, after=after)
    return run


def _estimate_of_judging(plan: RunPlan) -> dict[str, Any]:
    """Estimate re-scoring: existing answers cost nothing; the cost of judges is unknown beforehand."""
    asks = any(spec.definition.asks_model for spec in plan.specs)
    return {"tokens_in": 0, "tokens_out": 0, "cost_usd": None if asks else "0"}


@transaction.atomic
def rescore(actor: Actor, run: Run, scorers: object) -> Run:
    """Re-score the same answers by other scorers; only judges are called, and paid."""
    actor.require(Right.EDIT)
    if run.is_open:
        raise Problem("run.wrong_state", "This run is still running.")
    source = run.answers_of or run
    keys = list(source.results.order_by("case").values_list("case", flat=True).distinct())
    if not keys:
        raise Problem("run.no_cases", "This run has no answers that could be re-scored.")
    settings = replace(planning.settings_of(run), scorers=scorers)
    plan = planning.plan_rescoring(actor.project, settings, keys)
    return insert(actor, settings, plan, answers_of=source)


def runs_with_related() -> QuerySet[Run]:
    """Return runs with their related rows."""
    return Run.objects.select_related(
        "project", "version__prompt", "dataset_version__dataset", "model__provider", "answers_of", "sweep"
    )


def get_run(project: Project, number: int) -> Run:
    """Return the project's run with this number, or raise `run.not_found`."""
    run = runs_with_related().filter(project=project, pk=number).first()
    if run is None:
        raise Problem("run.not_found", f"There is no run {number}.")
    run.project = project
    return run


@transaction.atomic
def cancel(actor: Actor, run: Run) -> Run:
    """Cancel a run. Calls in flight still arrive, and their answers are saved: they are paid for."""
    actor.require(Right.EDIT)
    if (
        Run.objects.filter(pk=run.pk, state__in=RUN_OPEN).update(
            state=RunState.CANCELLED, finished_at=timezone.now(), note=""
        )
        != 1
    ):
        raise Problem("run.wrong_state", f"This run is {RunState(run.state).label.lower()}.")
    audit.record(actor, "run.cancelled", run)
    return get_run(run.project, run.pk)


@transaction.atomic
def resume(actor: Actor, run: Run, *, budget_usd: object = None, of_sweep: bool = False) -> Run:
    """Resume a run that ended early, with a new budget where one is given; its answers stay. A sweep's runs are resumed
    together (evaluations.comparisons.sweeps)."""
    actor.require(Right.EDIT)
    if run.sweep_id and not of_sweep:
        raise Problem(
            "run.wrong_state", f"This run belongs to sweep {run.sweep_id}; resume the sweep, under its budget."
        )
    faults: list[Fault] = []
    budget = planning.read_budget(budget_usd, faults)
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
    locked = Run.objects.select_for_update().get(pk=run.pk)
    if locked.state not in RESUMABLE:
        raise Problem("run.wrong_state", f"This run is {RunState(locked.state).label.lower()}.")
    providers.require_usable(run.model, run.version.content, run.parameters)
    planning.require_usable_judges(run.project, specs_from_json(run.scorers))
    if budget is not None and locked.price is None:
        raise Problem("run.no_price", "This model has no price, so a budget cannot be kept.")
    budget = locked.budget_usd if budget is None else budget
    if budget is not None and budget <= locked.cost_usd:
        sentence = f"The run has cost ${locked.cost_usd:.4f} already; its budget must be more than that."
        raise Problem("run.budget", sentence, faults=[Fault("/budget_usd", "range", sentence)])
    Run.objects.filter(pk=run.pk).update(
        state=RunState.PENDING,
        error="",
        note="",
        not_before=None,
        consecutive_failures=0,
        finished_at=None,
        summary=None,
        budget_usd=budget,
    )
    audit.record(actor, "run.resumed", run, after={"budget_usd": str(budget) if budget is not None else None})
    return get_run(run.project, run.pk)


@transaction.atomic
def annotate_result(actor: Actor, result: Result, *, is_correct: bool) -> ResultAnnotation:
    """Save a user's annotation of a result; each user has one, and the last counts."""
    actor.require(Right.EDIT)
    if actor.user is None:
        raise Problem("access.denied", "Only users can annotate results: judges are compared with their annotations.")
    annotation, _ = ResultAnnotation.objects.update_or_create(
        result=result, by=actor.user, defaults={"is_correct": is_correct, "by_name": actor.name}
    )
    return annotation


def agreement(run: Run) -> list[dict[str, Any]]:
    """Measure how far each scorer agrees with the users' annotations of the same answers, by Cohen's kappa."""
    annotations = (
        ResultAnnotation.objects.filter(result__run=run)
        .order_by("id")
        .values_list("result", "is_correct", "result__scores")
    )
    newest = {result: (is_correct, scores) for result, is_correct, scores in annotations}
    agreements = []
    for scorer in run.scorers:
        name = scorer["name"]
        pairs = [
            (str(is_correct), str(scores[name]["passed"])) for is_correct, scores in newest.values() if name in scores
        ]
        if pairs:
            agreements.append({"name": name, "agreement": cohen(pairs)})
    return agreements


def get_result(run: Run, number: int) -> Result:
    """Return a run's result with this number, or raise `result.not_found`."""
    result = run.results.select_related("case").filter(pk=number).first()
    if result is None:
        raise Problem("result.not_found", f"Run {run.pk} has no result {number}.")
    return result


def estimate_run(project: Project, settings: RunSettings) -> dict[str, Any]:
    """Estimate a run without creating it: its cases, answers, tokens and cost."""
    plan = planning.plan_run(project, settings)
    return {
        "cases": len(plan.cases),
        "excluded": plan.excluded,
        "answers": len(plan.cases) * settings.repetitions,
        **plan.estimate(),
    }


def claimable_runs() -> QuerySet[Run]:
    """Return open runs of which no worker holds a batch, and that need not wait."""
    now = timezone.now()
    may_go = Q(not_before=None) | Q(not_before__lte=now)
    lapsed = now - RunBatch.LEASE_TIMEOUT
    is_held = RunBatch.objects.filter(run=OuterRef("pk"), state=BatchState.RUNNING, heartbeat_at__gte=lapsed)
    return Run.objects.filter(may_go, ~Exists(is_held), state__in=RUN_OPEN).order_by("id")


def runs_without_summary() -> QuerySet[Run]:
    """Return runs that are over and have no summary yet."""
    return Run.objects.filter(summary__isnull=True).exclude(state__in=RUN_OPEN).order_by("id")


def filter_results(run: Run, *, only: str = "", scorer: str = "", label: str = "", tag: str = "") -> QuerySet[Result]:
    """Filter a run's results, worst first: `only` is failed (no answer), wrong, leaked or annotated; `scorer` selects
    those that it does not pass."""
    rows = run.results.select_related("case")
    match only:
        case "failed":
            rows = rows.exclude(error="")
        case "wrong":
            rows = rows.filter(passed=False)
        case "leaked":
            rows = rows.filter(is_leaked=True)
        case "marked":
            rows = rows.filter(annotations__isnull=False).distinct()
    if scorer:
        rows = rows.filter(scores__contains={scorer: {"passed": False}})
    if label:
        rows = rows.filter(case__label=label)
    if tag:
        rows = rows.filter(case__tags__contains=[tag])
    return rows.order_by("quality", "id")


def result_as_dict(result: Result) -> dict[str, Any]:
    """Return a result as it is exported."""
    case = result.case
    return {
        "case": case.pk,
        "repeat": result.repeat,
        "variables": case.variables,
        "expected": case.expected,
        "label": case.label,
        "tags": case.tags,
        "output": result.output,
        "tool_calls": result.tool_calls,
        "refusal": result.refusal,
        "finish_reason": result.finish_reason,
        "error": result.error,
        "error_detail": result.error_detail,
        "scores": result.scores,
        "quality": result.quality,
        "passed": result.passed,
        "latency_ms": result.latency_ms,
        "tokens_in": result.tokens_in,
        "tokens_out": result.tokens_out,
        "cost_usd": None if result.cost_usd is None else float(result.cost_usd),
        "from_cache": result.is_from_cache,
        "usage_estimated": result.is_usage_estimated,
        "leaked": result.is_leaked,
    }
