"""Comparisons: two runs on the same cases, held against each other once, by a worker, and kept."""

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from core.errors import Fault, Problem
from evaluations.models import Comparison, ComparisonState, Run, RunState
from infra import work
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.models import Project

SILENCE = timedelta(minutes=10)
DEFAULT_MARGIN = 0.02


@transaction.atomic
def create(actor: Actor, baseline: Run, candidate: Run, *, margin: object = DEFAULT_MARGIN) -> Comparison:
    """Ask whether the candidate does better. The margin, how much worse one would put up with, is said before anything
    is computed, and stays."""
    actor.require(Right.EDIT)
    wanted = margin if isinstance(margin, int | float) and not isinstance(margin, bool) else -1.0
    if not 0 <= wanted <= 1:
        sentence = "The margin is a number from 0 to 1."
        raise Problem("request.invalid", sentence, faults=[Fault("/margin", "range", sentence)])
    _require_comparable(baseline, candidate)
    made = Comparison.objects.create(
        project=actor.project, baseline=baseline, candidate=candidate, margin=float(wanted), by_name=actor.name
    )
    audit.record(actor, "comparison.created", made, after={"margin": float(wanted)})
    return made


def _require_comparable(baseline: Run, candidate: Run) -> None:
    if baseline.pk == candidate.pk:
        raise Problem("comparison.not_comparable", "A run is not compared with itself.")
    for run in (baseline, candidate):
        if run.state != RunState.DONE:
            said = RunState(run.state).label.lower()
            raise Problem("comparison.not_comparable", f"Run {run.pk} is {said}; only runs that are done are compared.")
    if baseline.cases_hash != candidate.cases_hash:
        sentence = f"Runs {baseline.pk} and {candidate.pk} are not on the same cases: nothing could be paired."
        raise Problem("comparison.not_comparable", sentence)
    if not {one["name"] for one in baseline.scorers} & {one["name"] for one in candidate.scorers}:
        raise Problem("comparison.not_comparable", "These runs have no scorer in common.")


def numbered(project: Project, number: int) -> Comparison:
    """The project's comparison with this number, or `comparison.not_found`."""
    found = loaded().filter(project=project, pk=number).first()
    if found is None:
        raise Problem("comparison.not_found", f"There is no comparison {number}.")
    return found


def loaded() -> QuerySet[Comparison]:
    """Comparisons with what they are about."""
    runs = ("baseline", "candidate")
    return Comparison.objects.select_related(
        "project", *(f"{run}__{what}" for run in runs for what in ("version__prompt", "dataset_version__dataset"))
    )


def open_work() -> QuerySet[Comparison]:
    """What waits for a worker, or was left by one that died."""
    dead = timezone.now() - SILENCE
    return Comparison.objects.filter(Q(beat_at=None) | Q(beat_at__lt=dead), state=ComparisonState.PENDING).order_by(
        "id"
    )


def perform(comparison: Comparison) -> None:
    """Compare; does nothing where another worker does it already."""
    mine = open_work().filter(pk=comparison.pk)
    if mine.update(beat_at=timezone.now(), attempts=F("attempts") + 1) != 1:
        return
    comparison.refresh_from_db(fields=["attempts"])
    work.carry_out(
        comparison,
        lambda: _finish(comparison, ComparisonState.DONE, result=compared(comparison)),
        lambda sentence: _finish(comparison, ComparisonState.FAILED, error=sentence),
    )


def _finish(comparison: Comparison, state: ComparisonState, **members: Any) -> None:
    mine = Comparison.objects.filter(pk=comparison.pk, state=ComparisonState.PENDING, attempts=comparison.attempts)
    mine.update(state=state, **members)


def compared(comparison: Comparison) -> dict[str, Any]:
    """Everything that a comparison's page shows, as JSON (evaluations.statistics.contrasts)."""
    # Imported here: scipy is for who compares.
    from evaluations.runs.summaries import answers_of  # noqa: PLC0415
    from evaluations.scorers import specs as scoring  # noqa: PLC0415
    from evaluations.statistics import contrasts  # noqa: PLC0415

    shared = {one["name"] for one in comparison.baseline.scorers}
    specs = [spec for spec in scoring.stored(comparison.candidate.scorers) if spec.name in shared]
    pair = contrasts.Pair(
        list(answers_of(comparison.baseline)),
        list(answers_of(comparison.candidate)),
        margin=comparison.margin,
        seed=comparison.seed,
    )
    return pair.report(specs)
