"""Usage stats of live calls: sums and histograms that add up, and figures read from them. Pure, and light: web
processes read these, so no scipy.

Histograms have eight bins to a doubling, so a quantile is at most 9 % off and mostly far less, and a day is a few
hundred numbers however many calls it had.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date, timedelta
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


@dataclass(frozen=True)
class UsageStats:
    """Counts, sums (milliseconds, tokens, US dollars, scores from 0 to 1) and histograms by bin of some calls."""

    calls: int = 0
    failed: int = 0
    formatted: int = 0
    format_ok: int = 0
    scored: int = 0
    score_sum: float = 0.0
    score_squares: float = 0.0
    timed: int = 0
    latency_sum: float = 0.0
    counted: int = 0
    tokens_in: int = 0
    # Of tokens_in: read from a cache. Of tokens_out: reasoning.
    tokens_cached: int = 0
    tokens_out: int = 0
    tokens_reasoning: int = 0
    priced: int = 0
    cost_usd: float = 0.0
    latencies: Mapping[int, int] = field(default_factory=dict)
    questions: Mapping[int, int] = field(default_factory=dict)
    answers: Mapping[int, int] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: "UsageStats") -> "UsageStats":
        added: dict[str, Any] = {}
        for member in fields(self):
            mine, theirs = getattr(self, member.name), getattr(other, member.name)
            added[member.name] = dict(Counter(mine) + Counter(theirs)) if isinstance(mine, Mapping) else mine + theirs
        return UsageStats(**added)

    def format_rate(self) -> IntervalEstimate | None:
        """Return the share of answers in the right format, of those that were checked."""
        return proportion(self.format_ok, self.formatted)

    def failure_rate(self) -> IntervalEstimate | None:
        return proportion(self.failed, self.calls)

    def score(self) -> IntervalEstimate | None:
        """Return the mean score."""
        return _mean_with_interval(self.score_sum, self.score_squares, self.scored)

    def latency(self, share: float) -> IntervalEstimate | None:
        """Return the latency in milliseconds that this share of the calls stays within."""
        return quantile(self.latencies, share)

    def mean_latency(self) -> float | None:
        return self.latency_sum / self.timed if self.timed else None

    def tokens_per_call(self) -> tuple[float, float] | None:
        """Return the mean tokens of a question and of an answer."""
        return (self.tokens_in / self.counted, self.tokens_out / self.counted) if self.counted else None

    def cost_per_call(self) -> float | None:
        """Return the mean US dollars of the calls whose cost is known."""
        return self.cost_usd / self.priced if self.priced else None


def sum_usage(every: Iterable[UsageStats]) -> UsageStats:
    """Add up usage stats."""
    return sum(every, UsageStats())


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
    return IntervalEstimate(share, max(0.0, centre - reach), min(1.0, centre + reach), n)


def _mean_with_interval(total: float, squares: float, n: int) -> IntervalEstimate | None:
    if not n:
        return None
    mean = total / n
    if n < 2:
        return IntervalEstimate(mean, None, None, n)
    error = sqrt(max(0.0, squares / n - mean**2) * n / (n - 1) / n)
    reach = student_t(n - 1) * error
    return IntervalEstimate(mean, mean - reach, mean + reach, n)


def student_t(freedom: int) -> float:
    """Return Student's t at 97.5 % (Abramowitz and Stegun, 26.7.5); within 1 % from three degrees of freedom on."""
    z, v = Z, freedom
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / v + second / v**2 + third / v**3


def whole_days(days: Mapping[date, UsageStats], since: date, until: date, *, is_older: bool) -> list[UsageStats]:
    """Return the days from `since` to the day before `until`, which is not over, idle ones included. Where nothing is
    older than `since`, they begin after the first day with calls, which need not have been a whole one."""
    if not days:
        return []
    first = since if is_older else min(days) + timedelta(days=1)
    first = first if is_older or first < until else min(days)
    return [days.get(first + timedelta(days=place), UsageStats()) for place in range((until - first).days)]


def monthly_rate(days: Sequence[float]) -> IntervalEstimate | None:
    """Estimate a month from whole days, idle ones included. The interval is that of the mean day, as if days were
    independent: it does not cover a trend."""
    n = len(days)
    if not n:
        return None
    mean_day = _mean_with_interval(sum(days), sum(day**2 for day in days), n)
    if mean_day is None or mean_day.low is None or mean_day.high is None or n < MIN_DAYS:
        return IntervalEstimate(sum(days) / n * DAYS_A_MONTH, None, None, n)
    return IntervalEstimate(
        mean_day.value * DAYS_A_MONTH, max(0.0, mean_day.low) * DAYS_A_MONTH, mean_day.high * DAYS_A_MONTH, n
    )
