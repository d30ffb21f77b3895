"""What live calls came to: sums and histograms that add up, and figures read from them. Pure, and light: web processes
read these, so no scipy.

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
# Fewer days say too little of how days differ.
FEWEST_DAYS = 3


@dataclass(frozen=True)
class Measured:
    """A figure with its interval at 95 %; `low` and `high` are None where there is too little to give one."""

    value: float
    low: float | None
    high: float | None
    n: int

    def times(self, factor: float) -> "Measured":
        """The same, so many times as large."""
        low, high = (None if end is None else end * factor for end in (self.low, self.high))
        return Measured(self.value * factor, low, high, self.n)

    def as_dict(self) -> dict[str, Any]:
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}


@dataclass(frozen=True)
class Traffic:
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
    tokens_out: int = 0
    priced: int = 0
    cost_usd: float = 0.0
    latencies: Mapping[int, int] = field(default_factory=dict)
    questions: Mapping[int, int] = field(default_factory=dict)
    answers: Mapping[int, int] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: "Traffic") -> "Traffic":
        added: dict[str, Any] = {}
        for one in fields(self):
            mine, its = getattr(self, one.name), getattr(other, one.name)
            added[one.name] = dict(Counter(mine) + Counter(its)) if isinstance(mine, Mapping) else mine + its
        return Traffic(**added)

    def format_rate(self) -> Measured | None:
        """The share of answers whose format was as it has to be, of those that somebody looked at."""
        return proportion(self.format_ok, self.formatted)

    def failure_rate(self) -> Measured | None:
        return proportion(self.failed, self.calls)

    def score(self) -> Measured | None:
        """The mean score."""
        return _mean(self.score_sum, self.score_squares, self.scored)

    def latency(self, share: float) -> Measured | None:
        """The latency in milliseconds that this share of the calls stays within."""
        return quantile(self.latencies, share)

    def mean_latency(self) -> float | None:
        return self.latency_sum / self.timed if self.timed else None

    def tokens_per_call(self) -> tuple[float, float] | None:
        """Tokens of a question and of an answer, on average."""
        return (self.tokens_in / self.counted, self.tokens_out / self.counted) if self.counted else None

    def cost_per_call(self) -> float | None:
        """US dollars, of the calls whose cost is known."""
        return self.cost_usd / self.priced if self.priced else None


def added(every: Iterable[Traffic]) -> Traffic:
    """All of them together."""
    return sum(every, Traffic())


def bin_of(value: float) -> int:
    """The bin that a value is in; values up to 1 are in the first."""
    return int(log2(value) * BINS_PER_DOUBLING) if value > 1 else 0


def quantile(bins: Mapping[int, int], share: float) -> Measured | None:
    """The value below which this share of all is, with the interval that the binomial distribution of the rank gives
    (normal approximation)."""
    total = sum(bins.values())
    if not total:
        return None
    spread = Z * sqrt(total * share * (1 - share))
    value, low, high = (_at(bins, share * total + way) for way in (0.0, -spread, spread))
    return Measured(value, low, high, total)


def _at(bins: Mapping[int, int], rank: float) -> float:
    seen = 0
    for number in sorted(bins):
        if seen + bins[number] >= rank:
            # As if a bin's values lay evenly in it, so that a figure moves when its calls do.
            return float(2 ** ((number + max(0.0, rank - seen) / bins[number]) / BINS_PER_DOUBLING))
        seen += bins[number]
    return float(2 ** ((max(bins) + 1) / BINS_PER_DOUBLING))


def proportion(hits: int, n: int, z: float = Z) -> Measured | None:
    """A share with Wilson's score interval (Wilson 1927); at 95 % where `z` says nothing else."""
    if not n:
        return None
    share = hits / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return Measured(share, max(0.0, centre - reach), min(1.0, centre + reach), n)


def _mean(total: float, squares: float, n: int) -> Measured | None:
    if not n:
        return None
    mean = total / n
    if n < 2:
        return Measured(mean, None, None, n)
    error = sqrt(max(0.0, squares / n - mean**2) * n / (n - 1) / n)
    reach = student(n - 1) * error
    return Measured(mean, mean - reach, mean + reach, n)


def student(freedom: int) -> float:
    """Student's t at 97.5 % (Abramowitz and Stegun, 26.7.5); within 1 % from three degrees of freedom on."""
    z, v = Z, freedom
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / v + second / v**2 + third / v**3


def whole_days(days: Mapping[date, Traffic], since: date, until: date, *, is_older: bool) -> list[Traffic]:
    """The days from `since` to the day before `until`, which is not over; idle ones are among them. Where nothing is
    older than `since`, they begin after the first day that has calls, which need not have been a whole one."""
    if not days:
        return []
    first = since if is_older else min(days) + timedelta(days=1)
    first = first if is_older or first < until else min(days)
    return [days.get(first + timedelta(days=place), Traffic()) for place in range((until - first).days)]


def per_month(days: Sequence[float]) -> Measured | None:
    """What a month comes to, from what whole days came to, idle ones included. Its interval is of the mean day, as if
    days were independent: a trend is not in it."""
    n = len(days)
    if not n:
        return None
    found = _mean(sum(days), sum(day**2 for day in days), n)
    if found is None or found.low is None or found.high is None or n < FEWEST_DAYS:
        return Measured(sum(days) / n * DAYS_A_MONTH, None, None, n)
    return Measured(found.value * DAYS_A_MONTH, max(0.0, found.low) * DAYS_A_MONTH, found.high * DAYS_A_MONTH, n)
