"""Whether what comes in, or what goes out, is still what it was. Pure, and light: no scipy.

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

from inference.calls.usage_stats import Measured, Traffic, proportion

GROUPS = 10
LITTLE, MUCH = 0.1, 0.25
# Two samples with less say nothing.
FEWEST = 200
CHANCE = 0.01
SURE = NormalDist().inv_cdf(1 - CHANCE / 2)
# A smaller change of a share is nobody's concern, however sure it is.
LEAST_CHANGE = 0.02


class Size(StrEnum):
    TOO_FEW = "too few"
    NONE = "none"
    SOME = "some"
    MUCH = "much"


@dataclass(frozen=True)
class Drift:
    """How far something has moved: `index` is the stability index of a distribution, `change` the difference of a
    share; `p` the chance of as much without any drift."""

    name: str
    size: Size
    before: int
    now: int
    index: float | None = None
    change: Measured | None = None
    p: float | None = None

    @property
    def sentence(self) -> str:
        if self.size == Size.TOO_FEW:
            return f"{self.name}: {self.before:,} calls before and {self.now:,} now are too few to tell."
        if self.change is not None:
            low, high = self.change.low or 0.0, self.change.high or 0.0
            told = f"{self.change.value:+.1%} ({low:+.1%} to {high:+.1%})"
        else:
            told = f"stability index {self.index:.2f}"
        said = {Size.NONE: "has not moved", Size.SOME: "has moved somewhat", Size.MUCH: "has moved much"}[self.size]
        return f"{self.name} {said}: {told}."

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


def found(before: Traffic, now: Traffic) -> list[Drift]:
    """What can be compared of two stretches of calls."""
    rows = [
        of_bins("Length of questions", before.questions, now.questions),
        of_bins("Length of answers", before.answers, now.answers),
        of_bins("Latency", before.latencies, now.latencies),
        of_labels("Labels", before.labels, now.labels),
        of_shares("Format adherence", (before.format_ok, before.formatted), (now.format_ok, now.formatted)),
        of_shares("Failure rate", (before.failed, before.calls), (now.failed, now.calls)),
    ]
    return [one for one in rows if one is not None]


def of_bins(name: str, before: Mapping[int, int], now: Mapping[int, int]) -> Drift | None:
    """Of a histogram: its bins are put together to about ten groups that are equally full in `before`."""
    if not before or not now:
        return None
    total, seen, group = sum(before.values()), 0, 0
    # What lies outside all that was before is in groups of its own.
    groups = {number: -1 if number < min(before) else GROUPS for number in now}
    for number in sorted(one for one in before.keys() | now.keys() if min(before) <= one <= max(before)):
        groups[number] = group
        seen += before.get(number, 0)
        if seen >= (group + 1) * total / GROUPS and group < GROUPS - 1:
            group = min(GROUPS - 1, int(seen * GROUPS / total))
    return _of_counts(name, _grouped(before, groups), _grouped(now, groups))


def of_labels(name: str, before: Mapping[str, int], now: Mapping[str, int]) -> Drift | None:
    """Of what was chosen among names."""
    return _of_counts(name, before, now) if before and now else None


def of_shares(name: str, before: tuple[int, int], now: tuple[int, int]) -> Drift | None:
    """Of a share, (hits, all): the difference with Newcombe's interval (Newcombe 1998, method 10), at 99 %."""
    a, b = proportion(*before, z=SURE), proportion(*now, z=SURE)
    if a is None or b is None:
        return None
    if min(a.n, b.n) < FEWEST:
        return Drift(name, Size.TOO_FEW, a.n, b.n)
    change = b.value - a.value
    low = change - sqrt((b.value - (b.low or 0)) ** 2 + ((a.high or 0) - a.value) ** 2)
    high = change + sqrt(((b.high or 0) - b.value) ** 2 + (a.value - (a.low or 0)) ** 2)
    is_sure = (low > 0 or high < 0) and abs(change) >= LEAST_CHANGE
    size = Size.NONE if not is_sure else Size.MUCH if abs(change) >= 2.5 * LEAST_CHANGE else Size.SOME
    return Drift(name, size, a.n, b.n, change=Measured(change, low, high, b.n))


def _grouped(counts: Mapping[int, int], groups: Mapping[int, int]) -> dict[int, int]:
    gathered: dict[int, int] = {}
    for number, count in counts.items():
        gathered[groups[number]] = gathered.get(groups[number], 0) + count
    return gathered


def _of_counts(name: str, before: Mapping[Any, int], now: Mapping[Any, int]) -> Drift:
    n, m = sum(before.values()), sum(now.values())
    if min(n, m) < FEWEST:
        return Drift(name, Size.TOO_FEW, n, m)
    index = stability_index(before, now)
    freedom = max(1, len(before.keys() | now.keys()) - 1)
    p = chi_square_tail(index * n * m / (n + m), freedom)
    is_sure = p < CHANCE
    size = Size.MUCH if is_sure and index >= MUCH else Size.SOME if is_sure and index >= LITTLE else Size.NONE
    return Drift(name, size, n, m, index=index, p=p)


def stability_index(before: Mapping[Hashable, int], now: Mapping[Hashable, int]) -> float:
    """The sum of (q - p) ln(q / p) over groups; half a call is added to each, so that an empty one is not infinite."""
    groups = before.keys() | now.keys()
    n, m = (sum(counts.values()) + 0.5 * len(groups) for counts in (before, now))
    pairs = [((before.get(one, 0) + 0.5) / n, (now.get(one, 0) + 0.5) / m) for one in groups]
    return sum((q - p) * log(q / p) for p, q in pairs)


def chi_square_tail(value: float, freedom: int) -> float:
    """The chance that chi-square exceeds a value (Wilson and Hilferty 1931)."""
    if value <= 0:
        return 1.0
    spread = 2 / (9 * freedom)
    z = ((value / freedom) ** (1 / 3) - (1 - spread)) / sqrt(spread)
    return erfc(z / sqrt(2)) / 2
