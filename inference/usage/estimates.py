"""Estimates of figures from counts, sums and histograms, each with its interval at 95 %. Pure, and light: web processes
read these, so no scipy.

Histograms have eight bins to a doubling, so a quantile is at most 9 % off and mostly far less.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log2, sqrt
from statistics import NormalDist
from typing import Any

BINS_PER_DOUBLING = 8
Z = NormalDist().inv_cdf(0.975)
DAYS_A_MONTH = 365.25 / 12
# Fewer days say too little about how days differ.
MIN_DAYS = 3


@dataclass(frozen=True)
class IntervalEstimate:
    """A figure with its interval at 95 %; `low` and `high` are None where there is too little to give one."""

    value: float
    low: float | None
    high: float | None
    n: int

    def times(self, factor: float) -> "IntervalEstimate":
        """Scale the figure and its interval."""
        low, high = (None if end is None else end * factor for end in (self.low, self.high))
        return IntervalEstimate(self.value * factor, low, high, self.n)

    def as_dict(self) -> dict[str, Any]:
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}


def bin_of(value: float) -> int:
    """Return the bin that a value is in; values up to 1 are in the first."""
    return int(log2(value) * BINS_PER_DOUBLING) if value > 1 else 0


def quantile(bins: Mapping[int, int], share: float) -> IntervalEstimate | None:
    """Return the value below which this share of all is, with the interval that the binomial distribution of the rank
    gives (normal approximation)."""
    total = sum(bins.values())
    if not total:
        return None
    spread = Z * sqrt(total * share * (1 - share))
    value, low, high = (_value_at_rank(bins, share * total + way) for way in (0.0, -spread, spread))
    return IntervalEstimate(value, low, high, total)


def value_at_share(bins: Mapping[int, int], share: float) -> float:
    """Return the value below which this share of all is; there has to be one."""
    return _value_at_rank(bins, share * sum(bins.values()))


def _value_at_rank(bins: Mapping[int, int], rank: float) -> float:
    seen = 0
    for number in sorted(bins):
        if seen + bins[number] >= rank:
            # As if a bin's values lay evenly in it, so that a figure moves when its calls do.
            return float(2 ** ((number + max(0.0, rank - seen) / bins[number]) / BINS_PER_DOUBLING))
        seen += bins[number]
    return float(2 ** ((max(bins) + 1) / BINS_PER_DOUBLING))


def proportion(hits: int, n: int, z: float = Z) -> IntervalEstimate | None:
    """Return a share with Wilson's score interval (Wilson 1927); at 95 % by default."""
    if not n:
        return None
    share = hits / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    # At the ends the formula gives 0 and 1 but for the rounding.
    low, high = centre - reach if hits else 0.0, centre + reach if hits < n else 1.0
    return IntervalEstimate(share, max(0.0, low), min(1.0, high), n)


def squared_error(total: float, squares: float, n: int) -> float:
    """Return the squared standard error of the mean of `n` values, two at least."""
    return max(0.0, squares / n - (total / n) ** 2) / (n - 1)


def mean_with_interval(total: float, squares: float, n: int) -> IntervalEstimate | None:
    """Return the mean of `n` values by their sum and that of their squares, with Student's interval."""
    if not n:
        return None
    mean = total / n
    if n < 2:
        return IntervalEstimate(mean, None, None, n)
    reach = student_t(n - 1) * sqrt(squared_error(total, squares, n))
    return IntervalEstimate(mean, mean - reach, mean + reach, n)


def difference_of_proportions(a: IntervalEstimate | None, b: IntervalEstimate | None) -> IntervalEstimate | None:
    """Return b - a by Newcombe's interval from the two of Wilson, at their level (Newcombe 1998, method 10)."""
    if a is None or b is None or a.low is None or a.high is None or b.low is None or b.high is None:
        return None
    change = b.value - a.value
    low = change - sqrt((b.value - b.low) ** 2 + (a.high - a.value) ** 2)
    high = change + sqrt((b.high - b.value) ** 2 + (a.value - a.low) ** 2)
    return IntervalEstimate(change, low, high, a.n + b.n)


def student_t(freedom: int) -> float:
    """Return Student's t at 97.5 % (Abramowitz and Stegun, 26.7.5); within 1 % from three degrees of freedom on."""
    z, v = Z, freedom
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / v + second / v**2 + third / v**3


def monthly_rate(days: Sequence[float]) -> IntervalEstimate | None:
    """Estimate a month from whole days, idle ones included. The interval is that of the mean day, as if days were
    independent: it does not cover a trend."""
    n = len(days)
    if not n:
        return None
    mean_day = mean_with_interval(sum(days), sum(day**2 for day in days), n)
    if mean_day is None or mean_day.low is None or mean_day.high is None or n < MIN_DAYS:
        return IntervalEstimate(sum(days) / n * DAYS_A_MONTH, None, None, n)
    return IntervalEstimate(
        mean_day.value * DAYS_A_MONTH, max(0.0, mean_day.low) * DAYS_A_MONTH, mean_day.high * DAYS_A_MONTH, n
    )
