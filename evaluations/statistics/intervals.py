"""Confidence intervals of proportions, means and quantiles. Pure: usable without Django.

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
# The method of an estimate whose values were all the same.
NO_SPREAD = "no spread"
RESAMPLES = 9_999
# With more values than this the mean of a resample is practically normal, and drawing ten thousand of them is slow.
MAX_RESAMPLED = 3_000
# Fewer groups than this say too little about how groups differ: the interval is then wider than the bootstrap's.
MIN_BOOTSTRAP_GROUPS = 20


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
    """Estimate a share with Wilson's score interval, which holds near 0 and 1 too; None without values."""
    if n == 0:
        return None
    interval = stats.binomtest(hits, n).proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(hits / n, float(interval.low), float(interval.high), n, "Wilson")


def mean(values: Sequence[float] | Values, groups: Sequence[int] | None = None, *, seed: int = 0) -> Estimate | None:
    """Estimate a mean with its interval: Wilson's for passes and fails, else by bootstrap (BCa), or by Student's t for
    very many values. Values that are all the same have no spread: no interval, unless they are passes or fails."""
    sample = np.asarray(values, float)
    n = len(sample)
    if n == 0:
        return None
    if has_groups(groups):
        return _grouped_mean(sample, np.asarray(groups), seed)
    if np.isin(sample, (0.0, 1.0)).all():
        return proportion(int(sample.sum()), n)
    value = float(sample.mean())
    if n < 2 or np.ptp(sample) == 0:
        return Estimate(value, None, None, n, NO_SPREAD)
    if n > MAX_RESAMPLED:
        low, high = student_interval(value, float(sample.std(ddof=1)) / n**0.5, n - 1)
        return Estimate(value, low, high, n, "t")
    interval = stats.bootstrap(
        (sample,), np.mean, n_resamples=RESAMPLES, method="BCa", batch=500, rng=np.random.default_rng(seed)
    ).confidence_interval
    if not (np.isfinite(interval.low) and np.isfinite(interval.high)):
        # Values that are nearly all the same: the acceleration divides by their spread.
        low, high = student_interval(value, float(sample.std(ddof=1)) / n**0.5, n - 1)
        return Estimate(value, low, high, n, "t")
    return Estimate(value, float(interval.low), float(interval.high), n, "bootstrap (BCa)")


def has_groups(groups: Sequence[int] | None) -> bool:
    """Return whether some cases belong together."""
    return groups is not None and len(set(groups)) < len(groups)


def student_interval(value: float, error: float, freedom: int) -> tuple[float, float]:
    """Compute Student's interval around a mean with this standard error."""
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * error
    return value - reach, value + reach


def group_sums(values: Values, groups: NDArray[np.int64]) -> tuple[Values, Values]:
    """Return the sum and the number of values of each group."""
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
    if count < MIN_BOOTSTRAP_GROUPS or count > MAX_RESAMPLED:
        # The standard error of a ratio of sums, by groups (Cochran, Sampling Techniques, section 9A): the residuals of
        # each group's sum, against Student's t with as many degrees as there are groups less one.
        residuals = sums - value * sizes
        error = float(np.sqrt(count / (count - 1) * (residuals**2).sum())) / len(values)
        low, high = student_interval(value, error, count - 1)
        return Estimate(value, low, high, len(values), f"t over {count} groups")
    low, high = resampled_groups(sums, sizes, seed)
    return Estimate(value, low, high, len(values), f"bootstrap over {count} groups")


def resampled_groups(sums: Values, sizes: Values, seed: int) -> tuple[float, float]:
    """Compute the percentile interval of the mean, drawing whole groups."""
    draws = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for start in range(0, RESAMPLES, 500):
        picked = draws.integers(0, len(sums), (min(500, RESAMPLES - start), len(sums)))
        means[start : start + len(picked)] = sums[picked].sum(axis=1) / sizes[picked].sum(axis=1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def quantile(values: Sequence[float] | Values, share: float) -> Estimate | None:
    """Estimate a quantile with an interval between two of the values themselves, whatever their distribution (Conover,
    Practical Nonparametric Statistics, section 3.2). A sample can be too small for one: a p99 needs 368 values before
    even the largest bounds it."""
    ordered = np.sort(np.asarray(values, float))
    n = len(ordered)
    if n == 0:
        return None
    value = float(np.quantile(ordered, share))
    tail = (1 - CONFIDENCE) / 2
    low = int(stats.binom.ppf(tail, n, share))
    high = int(stats.binom.ppf(1 - tail, n, share)) + 1
    # Ranks start at 1; ranks 0 and n + 1 would be values that were not observed.
    return Estimate(
        value,
        float(ordered[low - 1]) if low >= 1 else None,
        float(ordered[high - 1]) if high <= n else None,
        n,
        "order statistics",
    )
