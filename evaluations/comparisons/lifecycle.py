"""Comparisons: two or more runs on the same cases, compared once, by a worker, and saved.

Each run is compared with the first, case by case, and with the SLAs. The cheapest that keeps them is named: the one
that does so by its whole intervals, and the one whose figures do. Two runs are compared in detail.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Prefetch, Q, QuerySet

from core.errors import Fault, Problem
from evaluations.comparisons import slas
from evaluations.models import RUN_OPEN, Comparison, ComparisonRun, ComparisonState, Run, RunState
from evaluations.statistics import slas as sla_statistics
from evaluations.statistics.slas import Candidate
from infra import work
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.models import Project

DEFAULT_MARGIN = 0.02
MIN_RUNS, MAX_RUNS = 2, 24
PAIR = 2


@transaction.atomic
def create(
    actor: Actor,
    runs: Sequence[Run],
    *,
    margin: object = DEFAULT_MARGIN,
    targets: Mapping[str, Any] | None = None,
) -> Comparison:
    """Compare runs that are done with the first of them. The margin, how much worse one would accept, is set before
    anything is computed, and stays. `targets` are SLAs in place of the project's own."""
    actor.require(Right.EDIT)
    distinct = list({run.pk: run for run in runs}.values())
    if len(distinct) < len(runs) == PAIR:
        raise Problem("comparison.not_comparable", "A run is not compared with itself.")
    require_count(len(distinct))
    for run in distinct:
        _require_comparable(distinct[0], run, is_pair=len(distinct) == PAIR)
    comparison = insert(actor, distinct, margin=margin, targets=targets)
    after = {"runs": [run.pk for run in distinct], "margin": comparison.margin}
    audit.record(actor, "comparison.created", comparison, after=after)
    return comparison


def insert(
    actor: Actor, runs: Sequence[Run], *, margin: object, targets: Mapping[str, Any] | None, **members: Any
) -> Comparison:
    """Insert a comparison of these runs, with the SLAs of the day."""
    if not isinstance(margin, int | float) or isinstance(margin, bool) or not 0 <= margin <= 1:
        sentence = "The margin is a number from 0 to 1."
        raise Problem("request.invalid", sentence, faults=[Fault("/margin", "range", sentence)])
    if targets is None:
        checked: Mapping[str, Any] = slas.slas_as_dict(slas.get_slas(actor.project))
    else:
        checked = slas.read_slas(targets, "/slas")
    is_judged = bool(sla_statistics.set_targets(checked))
    comparison = Comparison.objects.create(
        project=actor.project,
        margin=float(margin),
        # Without a target it says nothing how a latency is measured.
        slas={name: target for name, target in checked.items() if target is not None} if is_judged else {},
        by_name=actor.name,
        **members,
    )
    add_runs(comparison, runs)
    return comparison


def add_runs(comparison: Comparison, runs: Sequence[Run]) -> None:
    """Put runs into a comparison that has none yet, in this order."""
    ComparisonRun.objects.bulk_create(
        ComparisonRun(comparison=comparison, run=run, position=position) for position, run in enumerate(runs)
    )


def require_count(count: int) -> None:
    """`request.invalid` where so many runs cannot be compared."""
    if not MIN_RUNS <= count <= MAX_RUNS:
        sentence = f"A comparison has {MIN_RUNS} to {MAX_RUNS} runs; this is {count}."
        raise Problem("request.invalid", sentence, faults=[Fault("/models", "count", sentence)])


def _require_comparable(first: Run, run: Run, *, is_pair: bool) -> None:
    if run.state != RunState.DONE:
        state = RunState(run.state).label.lower()
        raise Problem("comparison.not_comparable", f"Run {run.pk} is {state}; only runs that are done are compared.")
    if first.cases_hash != run.cases_hash:
        sentence = f"Runs {first.pk} and {run.pk} are not on the same cases: nothing could be paired."
        raise Problem("comparison.not_comparable", sentence)
    if is_pair and not {scorer["name"] for scorer in first.scorers} & {scorer["name"] for scorer in run.scorers}:
        raise Problem("comparison.not_comparable", "These runs have no scorer in common.")
    if not is_pair and first.scorers != run.scorers:
        sentence = f"Runs {first.pk} and {run.pk} were not judged by the same scorers."
        raise Problem("comparison.not_comparable", sentence)


def get_comparison(project: Project, number: int) -> Comparison:
    """Return the project's comparison with this number, or raise `comparison.not_found`."""
    comparison = comparisons_with_runs().filter(project=project, pk=number).first()
    if comparison is None:
        raise Problem("comparison.not_found", f"There is no comparison {number}.")
    return comparison


def comparisons_with_runs() -> QuerySet[Comparison]:
    """Return comparisons with their runs, in order."""
    entries = ComparisonRun.objects.select_related(
        "run__version__prompt", "run__dataset_version__dataset", "run__project", "run__model__provider"
    )
    return Comparison.objects.select_related("project", "swept__prompt").prefetch_related(
        Prefetch("entries", entries.order_by("position"))
    )


def claimable_comparisons() -> QuerySet[Comparison]:
    """Return comparisons whose runs are all over and summed up, and that no worker holds."""
    unready = ComparisonRun.objects.filter(
        Q(run__state__in=RUN_OPEN) | Q(run__summary__isnull=True), comparison=OuterRef("pk")
    )
    return Comparison.objects.filter(Comparison.claimable()).filter(~Exists(unready)).order_by("id")


def run_comparison(comparison: Comparison) -> None:
    """Compare; does nothing where the runs are not over, or another worker holds it."""
    lease = work.claim_next(claimable_comparisons().filter(pk=comparison.pk))
    if lease:
        work.run(lease, lambda: lease.finish(ComparisonState.DONE, result=compute_result(comparison)))


def compute_result(comparison: Comparison) -> dict[str, Any]:
    """Return everything that a comparison's page shows, as JSON: `rows` has each run against the first and the SLAs,
    `shown` and `met` the runs to choose; of two runs also the members of `Pair.report`."""
    # Imported here: scipy is for who compares.
    from evaluations.runs.summaries import read_answers  # noqa: PLC0415
    from evaluations.scorers.specs import shared_specs, shared_weights, specs_from_json  # noqa: PLC0415
    from evaluations.statistics import contrasts  # noqa: PLC0415

    runs = comparison.runs
    done = [run for run in runs if run.state == RunState.DONE]
    differences: dict[int, dict[str, Any]] = {}
    detail: dict[str, Any] = {}
    if len(done) > 1 and done[0].pk == runs[0].pk:
        first = list(read_answers(done[0]))
        specs_by_run = {run.pk: specs_from_json(run.scorers) for run in done}
        weights = {run.pk: shared_weights(specs_by_run[done[0].pk], specs_by_run[run.pk]) for run in done[1:]}
        if len(runs) == PAIR:
            first_specs, second_specs = (specs_by_run[run.pk] for run in runs)
            shared = shared_specs(first_specs, second_specs)
            pair = contrasts.Pair(
                first,
                list(read_answers(runs[1])),
                weights=weights[runs[1].pk],
                margin=comparison.margin,
                seed=comparison.seed,
            )
            own = {spec.name for spec in (*first_specs, *second_specs)} - {spec.name for spec in shared}
            detail = {**pair.report(shared), "scorers_not_shared": sorted(own)}
            # One difference alone needs no adjustment.
            differences = (
                {runs[1].pk: {**quality, "p_adjusted": quality["p"]}} if (quality := detail["quality"]) else {}
            )
        else:
            others = ((run.pk, list(read_answers(run)), weights[run.pk]) for run in done[1:])
            differences = contrasts.differences_from_baseline(first, others, margin=comparison.margin)
    candidates = [_candidate(run, comparison.slas) for run in done]
    choice = sla_statistics.choose_cheapest(candidates)
    rows = [
        {
            "run": candidate.key,
            "cost": candidate.cost,
            "latency": candidate.latency,
            "slas": [result.as_dict() for result in candidate.results],
            "against": differences.get(candidate.key),
        }
        for candidate in candidates
    ]
    return {"rows": rows, "shown": choice.confident, "met": choice.met, **detail}


def _candidate(run: Run, targets: sla_statistics.Targets) -> Candidate:
    summary = run.summary or {}
    cost = summary.get("cost_per_call_usd") or {}
    latency = (summary.get("latency_ms") or {}).get("p50") or {}
    quality = summary.get("quality") or {}
    results = sla_statistics.sla_results(summary, targets)
    return Candidate(run.pk, cost.get("value"), latency.get("value"), quality.get("value"), results)
