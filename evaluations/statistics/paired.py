"""Paired comparison of two runs on the same cases. Pure: usable without Django.

Every figure is of differences case by case: what is hard for both cancels out. Repetitions of a case are averaged
before anything else, and cases that belong together are drawn together.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from evaluations.statistics.intervals import (
    MAX_RESAMPLED,
    MIN_BOOTSTRAP_GROUPS,
    RESAMPLES,
    Values,
    group_sums,
    has_groups,
    student_interval,
)

POWER = 0.8
ALPHA = 0.05


@dataclass(frozen=True)
class Difference:
    """Difference of the second run from the first. `low` and `high` bound the mean difference at 95 %; None where every
    case differs alike or there is only one, so that nothing is known about the spread."""

    n: int
    groups: int
    mean: float
    low: float | None
    high: float | None
    p: float
    wins: int
    losses: int
    ties: int
    # The standard deviation of the differences; of grouped ones, of as many independent ones with the same error.
    spread: float
    method: str

    @property
    def detectable(self) -> float | None:
        """Return the smallest true difference that as many cases detect four times in five (two-sided, 5 %); None where
        they differ alike, which says nothing of the spread."""
        return detectable(self.spread, self.n) if self.low is not None else None


def mean_by_case(rows: Sequence[tuple[int, float]]) -> dict[int, float]:
    """Average the values of each case over its repetitions, from (case, value) rows."""
    sums: dict[int, list[float]] = {}
    for case, value in rows:
        sums.setdefault(case, []).append(value)
    return {case: sum(values) / len(values) for case, values in sums.items()}


def compare(
    first: Sequence[float], second: Sequence[float], groups: Sequence[int] | None = None, *, seed: int = 0
) -> Difference:
    """Compare two runs' values of the same cases, in the same order.

    Passes and fails: McNemar's exact test on the discordant pairs. Scores: a sign-flipping permutation test, or
    Student's t for very many cases. Groups: signs are flipped and cases are drawn group by group.
    """
    a, b = np.asarray(first, float), np.asarray(second, float)
    if len(a) != len(b) or len(a) == 0:
        raise ValueError("Two runs are compared on the same cases, and on at least one.")
    differences = b - a
    is_grouped = has_groups(groups)
    sums, sizes = (
        group_sums(differences, np.asarray(groups)) if is_grouped else (differences, np.ones(len(differences)))
    )
    low, high, how = _interval(differences, sums, sizes, is_grouped=is_grouped, seed=seed)
    p, test = _test(a, b, sums, is_grouped=is_grouped, seed=seed)
    return Difference(
        n=len(differences),
        groups=len(sums),
        mean=float(differences.mean()),
        low=low,
        high=high,
        p=p,
        wins=int((differences > 0).sum()),
        losses=int((differences < 0).sum()),
        ties=int((differences == 0).sum()),
        spread=_spread(differences, sums, sizes, is_grouped=is_grouped),
        method=f"{test}; {how}",
    )


def mcnemar(won: int, lost: int) -> float:
    """Compute the exact two-sided probability of discordant pairs at least as lopsided as these, if neither run is
    better (McNemar 1947, by the binomial distribution). Without discordant pairs it is 1."""
    return float(stats.binomtest(won, won + lost, 0.5).pvalue) if won + lost else 1.0


def permutation(differences: Values, *, seed: int = 0) -> float:
    """Compute the two-sided probability of a mean difference at least as large if each sign were a coin toss. Exact
    where there are few enough differences to try every combination of signs."""
    # For a single one, either sign is as far from zero as the other.
    if not differences.any() or len(differences) < 2:
        return 1.0
    result = stats.permutation_test(
        (differences,),
        lambda values, axis: values.mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=500,
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def holm(probabilities: Sequence[float]) -> list[float]:
    """Adjust probabilities by Holm's method, which bounds the chance that any of several equal pairs looks different.
    The smallest is multiplied by their number, the next by one less; none falls below the one before."""
    adjusted = [0.0] * len(probabilities)
    largest = 0.0
    for place, index in enumerate(sorted(range(len(probabilities)), key=lambda index: probabilities[index])):
        largest = max(largest, min(1.0, probabilities[index] * (len(probabilities) - place)))
        adjusted[index] = largest
    return adjusted


def _detectable_errors() -> float:
    return float(stats.norm.ppf(1 - ALPHA / 2) + stats.norm.ppf(POWER))


def detectable(spread: float, n: int) -> float:
    """Compute the smallest true mean difference that `n` cases detect with a power of 80 % (normal approximation: 2.80
    standard errors)."""
    return float(_detectable_errors() * spread / float(n) ** 0.5)


def cases_needed(spread: float, effect: float) -> int | None:
    """Compute how many cases detect a true mean difference of `effect` with a power of 80 %; None for no effect."""
    if effect <= 0 or spread <= 0:
        return None
    return int(np.ceil((_detectable_errors() * spread / effect) ** 2))


def _interval(
    differences: Values, sums: Values, sizes: Values, *, is_grouped: bool, seed: int
) -> tuple[float | None, float | None, str]:
    value, count = float(differences.mean()), len(sums)
    if count < 2 or np.ptp(differences) == 0:
        return None, None, "all differ alike, no interval"
    if is_grouped and count < MIN_BOOTSTRAP_GROUPS:
        return *student_interval(
            value, _spread(differences, sums, sizes, is_grouped=True) / len(differences) ** 0.5, count - 1
        ), (f"t over {count} groups")
    if count > MAX_RESAMPLED:
        return *student_interval(
            value, _spread(differences, sums, sizes, is_grouped=is_grouped) / len(differences) ** 0.5, count - 1
        ), "t"

    def mean_of(sums: Values, sizes: Values, axis: int = -1) -> Values:
        total: Values = sums.sum(axis=axis) / sizes.sum(axis=axis)
        return total

    # Nearly constant differences leave the acceleration undefined; that is handled below.
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        interval = stats.bootstrap(
            (sums, sizes),
            mean_of,
            paired=True,
            vectorized=True,
            n_resamples=RESAMPLES,
            method="BCa",
            batch=500,
            rng=np.random.default_rng(seed),
        ).confidence_interval
    low, high = float(interval.low), float(interval.high)
    how = f"bootstrap (BCa) over {count} groups" if is_grouped else "bootstrap (BCa)"
    if not (np.isfinite(low) and np.isfinite(high)):
        return *student_interval(
            value, _spread(differences, sums, sizes, is_grouped=is_grouped) / len(differences) ** 0.5, count - 1
        ), "t"
    return low, high, how


def _test(a: Values, b: Values, sums: Values, *, is_grouped: bool, seed: int) -> tuple[float, str]:
    differences = b - a
    both: NDArray[np.float64] = np.concatenate([a, b])
    if not is_grouped and np.isin(both, (0.0, 1.0)).all():
        return mcnemar(int((differences > 0).sum()), int((differences < 0).sum())), "McNemar, exact"
    if len(sums) > MAX_RESAMPLED:
        if np.ptp(sums) == 0:
            return (0.0 if sums[0] else 1.0), "all alike"
        return float(stats.ttest_1samp(sums, 0).pvalue), "paired t"
    return permutation(sums, seed=seed), "permutation"


def _spread(differences: Values, sums: Values, sizes: Values, *, is_grouped: bool) -> float:
    """Compute the standard deviation of differences; for groups, that of independent cases with the same error."""
    if len(sums) < 2:
        return 0.0
    if not is_grouped:
        return float(differences.std(ddof=1))
    residuals = sums - differences.mean() * sizes
    error = float(np.sqrt(len(sums) / (len(sums) - 1) * (residuals**2).sum())) / len(differences)
    return float(error * float(len(differences)) ** 0.5)
