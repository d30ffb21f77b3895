"""Whether figures keep service levels, how surely, and which of several candidates is the cheapest that does. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# How evaluations.statistics.intervals says that all values were the same; said here again, because it needs scipy.
NO_SPREAD = "no spread"
NAMES = ("quality", "format_adherence", "p99_latency_ms", "cost_per_call_usd")
TITLES = {
    "quality": "Quality",
    "format_adherence": "Format adherence",
    "p99_latency_ms": "p99 latency",
    "cost_per_call_usd": "Cost of a call",
}
UNITS = {"p99_latency_ms": "ms", "cost_per_call_usd": "USD"}
# Shares from 0 to 1, of which there is to be enough; of the others there is to be little.
SHARES = frozenset({"quality", "format_adherence"})
# The scorers that tell whether an answer keeps to its format, the stricter one first.
FORMAT_SCORERS = ("json_schema", "json_valid")
MIN_EQUAL_COSTS = 20
Levels = Mapping[str, float | None]


@dataclass(frozen=True)
class LevelResult:
    """A level, and what was measured of it; `low` and `high` are the 95 % interval where there is one."""

    name: str
    level: float
    value: float | None
    low: float | None = None
    high: float | None = None

    @property
    def is_met(self) -> bool:
        """Whether the figure itself keeps the level."""
        return self.value is not None and self._keeps(self.value)

    @property
    def is_shown(self) -> bool:
        """Whether the bad end of its interval does as well."""
        bound = self.low if self.name in SHARES else self.high
        return self.is_met and bound is not None and self._keeps(bound)

    def _keeps(self, value: float) -> bool:
        return value >= self.level if self.name in SHARES else value <= self.level

    def as_dict(self) -> dict[str, Any]:
        members = {"name": self.name, "level": self.level, "value": self.value, "low": self.low, "high": self.high}
        return {**members, "met": self.is_met, "shown": self.is_shown}


def level_results(summary: Mapping[str, Any], levels: Levels) -> list[LevelResult]:
    """A run's summary against each level that is set."""
    measured = {
        "quality": summary.get("quality"),
        "format_adherence": format_adherence(summary),
        "p99_latency_ms": (summary.get("latency_ms") or {}).get("p99"),
        "cost_per_call_usd": summary.get("cost_per_call_usd"),
    }
    return [
        _level_result(name, float(level), measured[name]) for name in NAMES if (level := levels.get(name)) is not None
    ]


def _level_result(name: str, level: float, estimate: Mapping[str, Any] | None) -> LevelResult:
    if not estimate:
        return LevelResult(name, level, None)
    value = float(estimate["value"])
    low, high = estimate.get("low"), estimate.get("high")
    if estimate.get("method") == NO_SPREAD and name == "cost_per_call_usd" and estimate.get("n", 0) >= MIN_EQUAL_COSTS:
        # A price is what it is: where so many calls cost the same, the next one does.
        return LevelResult(name, level, value, value, value)
    if low is not None and low == high:
        # Cases that were all alike, in groups, say little of others; an interval without width shows nothing.
        low = high = None
    return LevelResult(name, level, value, low, high)


def format_adherence(summary: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The share of answers that keep to their format, by the strictest scorer that looked; None where none did."""
    by_scorer = {scorer["scorer"]: scorer["passed"] for scorer in summary.get("scorers", ()) if scorer["passed"]}
    return next((by_scorer[name] for name in FORMAT_SCORERS if name in by_scorer), None)


@dataclass(frozen=True)
class Candidate:
    """Something that one may choose. `cost` is US dollars a call, `latency` the median in ms; None where unknown."""

    key: int
    cost: float | None
    latency: float | None
    quality: float | None
    findings: Sequence[LevelResult]


@dataclass(frozen=True)
class Choice:
    """Keys of candidates: the cheapest that is shown to keep every level, and the cheapest whose figures do."""

    shown: int | None
    met: int | None


def choose_cheapest(candidates: Sequence[Candidate]) -> Choice:
    """The cheapest of those that keep the levels; where costs are equal the faster, then the better one. A candidate
    whose cost nobody knows comes after those with one."""
    candidates_by_cost = sorted(candidates, key=_order)
    confident = (
        candidate.key
        for candidate in candidates_by_cost
        if candidate.findings and all(finding.is_shown for finding in candidate.findings)
    )
    met = (
        candidate.key
        for candidate in candidates_by_cost
        if candidate.findings and all(finding.is_met for finding in candidate.findings)
    )
    return Choice(next(confident, None), next(met, None))


def _order(candidate: Candidate) -> tuple[Any, ...]:
    unknown = float("inf")
    return (
        unknown if candidate.cost is None else candidate.cost,
        unknown if candidate.latency is None else candidate.latency,
        -(candidate.quality or 0.0),
        candidate.key,
    )
