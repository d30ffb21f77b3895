"""How sure one can be of a figure: intervals of proportions, means and quantiles. Pure: usable without Django.

All are two-sided at 95 %. Where cases belong together (several questions on one document), whole groups are drawn, not
cases: cases of one group say less than as many independent ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Values = NDArray[np.float64]
CONFIDENCE = 0.95
# How an estimate says that all values were the same.
NO_SPREAD = "no spread"
RESAMPLES = 9_999
# Beyond as many, the mean of a resample is normal for all that one can see, and drawing ten thousand of them is slow.
MOST_RESAMPLED = 3_000
# Fewer groups than this say too little of how groups differ; the interval is wider than the bootstrap's then.
FEW_GROUPS = 20


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval; `low` and `high` are None where there is too little to give one."""

    value: float
    low: float | None
    high: float | None
    n: int
    method: str

    def as_dict(self) -> dict[str, float | int | str | None]:
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n, "method": self.method}


def proportion(hits: int, n: int) -> Estimate | None:
    """A share with Wilson's score interval, which holds near 0 and 1 too; None of nothing."""
    if n == 0:
        return None
    found = stats.binomtest(hits, n).proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(hits / n, float(found.low), float(found.high), n, "Wilson")


def mean(values: Sequence[float] | Values, groups: Sequence[int] | None = None, *, seed: int = 0) -> Estimate | None:
    """The mean with its interval: Wilson's for passes and fails, else by bootstrap (BCa), or by Student's t where there
    are very many. Values that are all the same show no spread: no interval, unless they are passes or fails."""
    found = np.asarray(values, float)
    n = len(found)
    if n == 0:
        return None
    if has_groups(groups):
        return _grouped_mean(found, np.asarray(groups), seed)
    if np.isin(found, (0.0, 1.0)).all():
        return proportion(int(found.sum()), n)
    value = float(found.mean())
    if n < 2 or np.ptp(found) == 0:
        return Estimate(value, None, None, n, NO_SPREAD)
    if n > MOST_RESAMPLED:
        low, high = student(value, float(found.std(ddof=1)) / n**0.5, n - 1)
        return Estimate(value, low, high, n, "t")
    interval = stats.bootstrap(
        (found,), np.mean, n_resamples=RESAMPLES, method="BCa", batch=500, rng=np.random.default_rng(seed)
    ).confidence_interval
    if not (np.isfinite(interval.low) and np.isfinite(interval.high)):
        # Values that are nearly all the same: the acceleration divides by their spread.
        low, high = student(value, float(found.std(ddof=1)) / n**0.5, n - 1)
        return Estimate(value, low, high, n, "t")
    return Estimate(value, float(interval.low), float(interval.high), n, "bootstrap (BCa)")


def has_groups(groups: Sequence[int] | None) -> bool:
    """Whether some cases belong together."""
    return groups is not None and len(set(groups)) < len(groups)


def student(value: float, error: float, freedom: int) -> tuple[float, float]:
    """Student's interval round a mean with this standard error."""
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * error
    return value - reach, value + reach


def group_sums(values: Values, groups: NDArray[np.int64]) -> tuple[Values, Values]:
    """Per group: the sum of its values and how many there are."""
    _, index = np.unique(groups, return_inverse=True)
    sums: Values = np.bincount(index, weights=values).astype(float)
    sizes: Values = np.bincount(index).astype(float)
    return sums, sizes


def _grouped_mean(values: Values, groups: NDArray[np.int64], seed: int) -> Estimate:
    sums, sizes = group_sums(values, groups)
    value = float(values.mean())
    count = len(sums)
    if count < 2:
        return Estimate(value, None, None, len(values), "one group")
    if count < FEW_GROUPS or count > MOST_RESAMPLED:
        # The standard error of a ratio of sums, by groups (Cochran, Sampling Techniques, section 9A): the residuals of
        # each group's sum, against Student's t with as many degrees as there are groups less one.
        residuals = sums - value * sizes
        error = float(np.sqrt(count / (count - 1) * (residuals**2).sum())) / len(values)
        low, high = student(value, error, count - 1)
        return Estimate(value, low, high, len(values), f"t over {count} groups")
    low, high = resampled_groups(sums, sizes, seed)
    return Estimate(value, low, high, len(values), f"bootstrap over {count} groups")


def resampled_groups(sums: Values, sizes: Values, seed: int) -> tuple[float, float]:
    """The percentile interval of the mean where whole groups are drawn."""
    draws = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for start in range(0, RESAMPLES, 500):
        picked = draws.integers(0, len(sums), (min(500, RESAMPLES - start), len(sums)))
        means[start : start + len(picked)] = sums[picked].sum(axis=1) / sizes[picked].sum(axis=1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def quantile(values: Sequence[float] | Values, share: float) -> Estimate | None:
    """A quantile and the interval between two of the values themselves, whatever their distribution (Conover, Practical
    Nonparametric Statistics, section 3.2). There is none where the sample is too small to have one: a p99 needs 368
    values before even the largest bounds it."""
    found = np.sort(np.asarray(values, float))
    n = len(found)
    if n == 0:
        return None
    value = float(np.quantile(found, share))
    tail = (1 - CONFIDENCE) / 2
    low = int(stats.binom.ppf(tail, n, share))
    high = int(stats.binom.ppf(1 - tail, n, share)) + 1
    # Ranks from 1; rank 0 and rank n + 1 would be values that were not seen.
    return Estimate(
        value,
        float(found[low - 1]) if low >= 1 else None,
        float(found[high - 1]) if high <= n else None,
        n,
        "order statistics",
    )
