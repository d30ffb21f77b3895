"""Aggregate of a cross-validation: all folds' answers compared as one test. For workers: it imports scipy."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from evaluations.comparisons.lifecycle import DEFAULT_MARGIN
from evaluations.models import Run
from evaluations.runs.summaries import read_answers
from evaluations.scorers.specs import Spec, shared_weights
from evaluations.statistics import contrasts
from evaluations.statistics.metrics import Answer


def aggregate_folds(
    folds: Sequence[tuple[Run | None, Run | None]], specs: Sequence[Spec], *, seed: int
) -> dict[str, Any]:
    """Compare the (baseline, candidate) runs of all folds together, as a comparison does.

    Each fold's model is another one, so this is of the way of tuning and not of one model. With few folds the interval
    is somewhat too narrow: models that learned from mostly the same cases err alike (Bengio and Grandvalet 2004).
    """
    baseline, candidate = (
        [answer for place, pair in enumerate(folds) for answer in _answers(pair[index], place, len(folds))]
        for index in (0, 1)
    )
    weights = shared_weights(specs, specs)
    return contrasts.Pair(baseline, candidate, weights=weights, margin=DEFAULT_MARGIN, seed=seed).report(specs)


def _answers(run: Run | None, place: int, folds: int) -> Iterator[Answer]:
    """Yield a run's answers. Groups are numbered in each run from -1 down, and no group is in two folds."""
    for answer in read_answers(run) if run else ():
        yield answer if answer.group >= 0 else replace(answer, group=answer.group * folds - place)
