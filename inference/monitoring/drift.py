"""Drift of what comes in, or goes out, against a reference. Pure, and light: no scipy.

Distributions are compared by the population stability index over tenths of the reference. What its sizes mean is a
convention (below 0.1 none, above 0.25 much), and it is noisy for small samples; so nothing is called drift unless it is
more than chance makes of two samples of one distribution as well: n m / (n + m) times the index is then distributed as
chi-square with one degree of freedom less than there are groups (Yurdakul 2018).
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import erfc, log, sqrt
from statistics import NormalDist
from typing import Any

from inference.usage.estimates import IntervalEstimate, difference_of_proportions, proportion
from inference.usage.stats import OTHER, UsageStats

GROUPS = 10
SOME_DRIFT, MUCH_DRIFT = 0.1, 0.25
# Two samples with less say nothing.
MIN_CALLS = 200
SIGNIFICANCE = 1e-4
SIGNIFICANCE_Z = NormalDist().inv_cdf(1 - SIGNIFICANCE / 2)
# A smaller change of a share is not reported, however sure it is.
MIN_CHANGE = 0.02


class DriftSize(StrEnum):
    TOO_FEW = "too few"
    NONE = "none"
    SOME = "some"
    MUCH = "much"


@dataclass(frozen=True)
class Drift:
    """Drift of a figure: `index` is the stability index of a distribution, `change` the difference of a share; `p` the
    chance of as much without any drift."""

    name: str
    size: DriftSize
    before: int
    now: int
    index: float | None = None
    change: IntervalEstimate | None = None
    p: float | None = None

    @property
    def sentence(self) -> str:
        if self.size == DriftSize.TOO_FEW:
            return f"{self.name}: {self.before:,} calls before and {self.now:,} now are too few to tell."
        if self.change is not None:
            low, high = self.change.low or 0.0, self.change.high or 0.0
            amount = f"{self.change.value:+.1%} ({low:+.1%} to {high:+.1%})"
        else:
            amount = f"stability index {self.index:.2f}"
        movement = {
            DriftSize.NONE: "has not moved",
            DriftSize.SOME: "has moved somewhat",
            DriftSize.MUCH: "has moved much",
        }[self.size]
        return f"{self.name} {movement}: {amount}."

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "size": str(self.size),
            "before": self.before,
            "now": self.now,
            "index": self.index,
            "change": self.change.as_dict() if self.change else None,
            "p": self.p,
            "sentence": self.sentence,
        }


def find_drifts(before: UsageStats, now: UsageStats) -> list[Drift]:
    """Compare two periods of calls in all figures that both have."""
    rows = [
        drift_of_histogram("Length of questions", before.questions, now.questions),
        drift_of_histogram("Length of answers", before.answers, now.answers),
        drift_of_histogram("Latency", before.latencies, now.latencies),
        drift_of_labels("The mix of labels", before.labels, now.labels),
        drift_of_proportions("Format adherence", (before.format_ok, before.formatted), (now.format_ok, now.formatted)),
        drift_of_proportions("Failure rate", (before.failed, before.calls), (now.failed, now.calls)),
    ]
    return [change for change in rows if change is not None]


def drift_of_histogram(name: str, before: Mapping[int, int], now: Mapping[int, int]) -> Drift | None:
    """Compute the drift of a histogram: its bins are merged to about ten groups that are equally full in `before`."""
    if not before or not now:
        return None
    total, seen, group = sum(before.values()), 0, 0
    # Values outside the range of before are in groups of their own.
    groups = {number: -1 if number < min(before) else GROUPS for number in now}
    for number in sorted(number for number in before.keys() | now.keys() if min(before) <= number <= max(before)):
        groups[number] = group
        seen += before.get(number, 0)
        if seen >= (group + 1) * total / GROUPS and group < GROUPS - 1:
            group = min(GROUPS - 1, int(seen * GROUPS / total))
    return _drift_of_counts(name, _sum_by_group(before, groups), _sum_by_group(now, groups))


def drift_of_labels(name: str, before: Mapping[str, int], now: Mapping[str, int]) -> Drift | None:
    """Compute the drift of counts by name; None where names were too many to be counted apart: which of them were is
    another one in each period."""
    if OTHER in before or OTHER in now:
        return None
    return _drift_of_counts(name, before, now) if before and now else None


def drift_of_proportions(name: str, before: tuple[int, int], now: tuple[int, int]) -> Drift | None:
    """Compute the drift of a share, (hits, all): the difference with Newcombe's interval (Newcombe 1998, method 10), so
    wide that chance exceeds it once in 10,000."""
    a, b = proportion(*before, z=SIGNIFICANCE_Z), proportion(*now, z=SIGNIFICANCE_Z)
    if a is None or b is None:
        return None
    if min(a.n, b.n) < MIN_CALLS:
        return Drift(name, DriftSize.TOO_FEW, a.n, b.n)
    change = difference_of_proportions(a, b)
    if change is None or change.low is None or change.high is None:
        return None
    is_sure = (change.low > 0 or change.high < 0) and abs(change.value) >= MIN_CHANGE
    is_much = abs(change.value) >= 2.5 * MIN_CHANGE
    size = DriftSize.NONE if not is_sure else DriftSize.MUCH if is_much else DriftSize.SOME
    return Drift(name, size, a.n, b.n, change=change)


def _sum_by_group(counts: Mapping[int, int], groups: Mapping[int, int]) -> dict[int, int]:
    sums: dict[int, int] = {}
    for number, count in counts.items():
        sums[groups[number]] = sums.get(groups[number], 0) + count
    return sums


def _drift_of_counts(name: str, before: Mapping[Any, int], now: Mapping[Any, int]) -> Drift:
    n, m = sum(before.values()), sum(now.values())
    if min(n, m) < MIN_CALLS:
        return Drift(name, DriftSize.TOO_FEW, n, m)
    index = stability_index(before, now)
    freedom = max(1, len(before.keys() | now.keys()) - 1)
    p = chi_square_tail(index * n * m / (n + m), freedom)
    is_sure = p < SIGNIFICANCE
    size = (
        DriftSize.MUCH
        if is_sure and index >= MUCH_DRIFT
        else DriftSize.SOME
        if is_sure and index >= SOME_DRIFT
        else DriftSize.NONE
    )
    return Drift(name, size, n, m, index=index, p=p)


def stability_index(before: Mapping[Hashable, int], now: Mapping[Hashable, int]) -> float:
    """Return the sum of (q - p) ln(q / p) over groups; half a call is added to each, so that an empty one is finite."""
    groups = before.keys() | now.keys()
    n, m = (sum(counts.values()) + 0.5 * len(groups) for counts in (before, now))
    pairs = [((before.get(group, 0) + 0.5) / n, (now.get(group, 0) + 0.5) / m) for group in groups]
    return sum((q - p) * log(q / p) for p, q in pairs)


def chi_square_tail(value: float, freedom: int) -> float:
    """Return the chance that chi-square exceeds a value (Wilson and Hilferty 1931)."""
    if value <= 0:
        return 1.0
    spread = 2 / (9 * freedom)
    z = ((value / freedom) ** (1 / 3) - (1 - spread)) / sqrt(spread)
    return erfc(z / sqrt(2)) / 2
