"""SLAs: whether figures meet their targets, with what confidence, and the cheapest candidate that does. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

# As in evaluations.statistics.intervals, which needs scipy.
NO_SPREAD = "no spread"
NAMES = ("quality", "format_adherence", "p99_latency_ms", "cost_per_call_usd")
TITLES = {
    "quality": "Quality",
    "format_adherence": "Format adherence",
    "p99_latency_ms": "p99 latency",
    "cost_per_call_usd": "Cost of a call",
}
UNITS = {"p99_latency_ms": "ms", "cost_per_call_usd": "USD"}
# Shares from 0 to 1, with a minimum as the target; the others have a maximum.
PROPORTIONS = frozenset({"quality", "format_adherence"})
# The scorers of format adherence, the stricter one first.
FORMAT_SCORERS = ("json_schema", "json_valid")
MIN_EQUAL_COSTS = 20
# The member beside the targets that says with how many calls in flight a latency counts.
CONCURRENCY = "concurrency"
MAX_CONCURRENCY = 256
Targets = Mapping[str, float | None]


def set_targets(targets: Targets) -> dict[str, float]:
    """Return the targets that are set. How a latency is measured is none of them."""
    return {name: target for name in NAMES if (target := targets.get(name)) is not None}


@dataclass(frozen=True)
class SLAResult:
    """A target and its figure; `low` and `high` are the 95 % interval where there is one."""

    name: str
    target: float
    value: float | None
    low: float | None = None
    high: float | None = None
    # Why there is no figure, where that is known.
    reason: str = ""

    @property
    def is_met(self) -> bool:
        """Return whether the figure itself meets the target."""
        return self.value is not None and self._meets(self.value)

    @property
    def is_met_confidently(self) -> bool:
        """Return whether the bad end of its interval meets it as well."""
        bound = self.low if self.name in PROPORTIONS else self.high
        return self.is_met and bound is not None and self._meets(bound)

    def _meets(self, value: float) -> bool:
        return value >= self.target if self.name in PROPORTIONS else value <= self.target

    def as_dict(self) -> dict[str, Any]:
        members = {"name": self.name, "level": self.target, "value": self.value, "low": self.low, "high": self.high}
        return {**members, "met": self.is_met, "shown": self.is_met_confidently, "reason": self.reason}


def sla_results(summary: Mapping[str, Any], targets: Targets) -> list[SLAResult]:
    """Compare a run's summary with each target that is set. A latency counts where it was measured with at most as many
    calls in flight as the targets say (`concurrency`); one of before that was counted is not known to be."""
    measured = {
        "quality": summary.get("quality"),
        "format_adherence": format_adherence(summary),
        "p99_latency_ms": (summary.get("latency_ms") or {}).get("p99"),
        "cost_per_call_usd": summary.get("cost_per_call_usd"),
    }
    reasons: dict[str, str] = {}
    if measured["p99_latency_ms"] and (reason := too_many_calls(summary, targets)):
        reasons["p99_latency_ms"] = reason
        measured["p99_latency_ms"] = None
    return [
        replace(_sla_result(name, float(target), measured[name]), reason=reasons.get(name, ""))
        for name in NAMES
        if (target := targets.get(name)) is not None
    ]


def too_many_calls(summary: Mapping[str, Any], targets: Targets) -> str:
    """Return why a run's latency says nothing of calls as the targets mean them: it had more calls in flight than their
    `concurrency`, or nobody counted; empty where it does."""
    concurrency, calls = targets.get(CONCURRENCY), summary.get("calls_in_flight")
    if concurrency is None or (calls is not None and calls <= concurrency):
        return ""
    how = "an unknown number of" if calls is None else f"up to {calls}"
    return f"measured with {how} calls in flight, and not with {concurrency:g}"


def _sla_result(name: str, target: float, estimate: Mapping[str, Any] | None) -> SLAResult:
    if not estimate:
        return SLAResult(name, target, None)
    value = float(estimate["value"])
    low, high = estimate.get("low"), estimate.get("high")
    if estimate.get("method") == NO_SPREAD and name == "cost_per_call_usd" and estimate.get("n", 0) >= MIN_EQUAL_COSTS:
        # Where so many calls cost the same, the next one does as well.
        return SLAResult(name, target, value, value, value)
    if low is not None and low == high:
        # Equal cases, in groups, say little about others: an interval without width gives no confidence.
        low = high = None
    return SLAResult(name, target, value, low, high)


def format_adherence(summary: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the share of answers that follow their format, by the strictest scorer of the run; None without one."""
    by_scorer = {scorer["scorer"]: scorer["passed"] for scorer in summary.get("scorers", ()) if scorer["passed"]}
    return next((by_scorer[name] for name in FORMAT_SCORERS if name in by_scorer), None)


def quality_by(summary: Mapping[str, Any], scorer: str = "") -> Mapping[str, Any] | None:
    """Return a run's quality with its interval: the mean of its scorers of quality, or one of them by its name; None
    where that has judged nothing."""
    if not scorer:
        return summary.get("quality")
    return next((row["value"] for row in summary.get("scorers", ()) if row["name"] == scorer), None)


@dataclass(frozen=True)
class Candidate:
    """A candidate to choose from. `cost` is US dollars a call, `latency` the median in ms; None where unknown."""

    key: int
    cost: float | None
    latency: float | None
    quality: float | None
    results: Sequence[SLAResult]


@dataclass(frozen=True)
class Choice:
    """Keys of candidates: the cheapest that meets every target with confidence, and the cheapest whose figures do."""

    confident: int | None
    met: int | None


def choose_cheapest(candidates: Sequence[Candidate]) -> Choice:
    """Choose the cheapest candidate that meets the targets; where costs are equal the faster, then the better one. A
    candidate without a known cost comes last."""
    candidates_by_cost = sorted(candidates, key=_order)
    confident = (
        candidate.key
        for candidate in candidates_by_cost
        if candidate.results and all(result.is_met_confidently for result in candidate.results)
    )
    met = (
        candidate.key
        for candidate in candidates_by_cost
        if candidate.results and all(result.is_met for result in candidate.results)
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
