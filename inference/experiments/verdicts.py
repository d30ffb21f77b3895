"""What the arms of an experiment showed against the baseline, at any moment. Pure.

The words are those of offline comparisons (evaluations.statistics.verdicts). Intervals are confidence sequences: they
hold at all moments at once, so a verdict that is given at the first moment that allows it is as sure as it says.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import ceil, inf, isinf
from typing import Any

from inference.experiments import sequences
from inference.experiments.record import QUANTILES, Metric
from inference.experiments.sequences import Sums
from inference.usage.estimates import IntervalEstimate, value_at_share

# How sure the metric that decides is, over all arms; and all guardrails together, over arms, metrics and steps.
ALPHA = GUARDRAIL_ALPHA = 0.05
# Of arms that were assigned by their weights, one experiment in so many is called mismatched.
MISMATCH_ALPHA = 0.001
MIN_CALLS = 30


class Verdict(StrEnum):
    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "equivalent"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class ArmFigures:
    """What an arm's calls at one step come to: sums over subjects by metric, failures, and latencies by bin."""

    name: str
    subjects: int = 0
    calls: int = 0
    failed: int = 0
    # Of the subjects: those with a failed call.
    failed_subjects: int = 0
    sums: Mapping[str, Sums] = field(default_factory=dict)
    latencies: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ArmVerdict:
    """An arm against the baseline in one metric; `change` is arm minus baseline with its sequence, None where there is
    too little to say. `more_subjects` is how many further ones would decide, where that can be told."""

    arm: str
    metric: Metric
    baseline_value: float | None
    value: float | None
    change: IntervalEstimate | None
    verdict: Verdict
    more_subjects: int | None = None

    @property
    def is_surely_worse(self) -> bool:
        """Whether it is worse by more than the margin."""
        worst = _oriented(self.change, self.metric)
        return worst is not None and worst[1] < -self.metric.margin

    def as_dict(self) -> dict[str, Any]:
        return {
            "arm": self.arm,
            "role": self.metric.role,
            "title": self.metric.title,
            "unit": self.metric.unit,
            **self.metric.as_dict(),
            "better": self.metric.better,
            "baseline_value": self.baseline_value,
            "value": self.value,
            "change": _as_dict(self.change),
            "verdict": self.verdict.value,
            "more_subjects": self.more_subjects,
            "difference": self.difference,
            "sentence": self.sentence,
        }

    @property
    def difference(self) -> str:
        """Write the change with its sequence; empty where there is none."""
        if self.change is None or self.change.low is None or self.change.high is None:
            return ""
        low, high = (_amount(end, self.metric) for end in (self.change.low, self.change.high))
        ends = f"from {low} to {high}"
        if isinf(self.change.low):
            ends = f"{high} at most, as far as can be told"
        elif isinf(self.change.high):
            ends = f"{low} at least, as far as can be told"
        per = " per 1,000 calls" if self.metric.unit == "USD" else ""
        return f"{_amount(self.change.value, self.metric)}, {ends}{per}"

    @property
    def sentence(self) -> str:
        """Say it for users."""
        name = self.metric.title.lower()
        if not self.difference:
            return f"{self.arm}: too few to tell {name}."
        amounts = self.difference
        match self.verdict:
            case Verdict.BETTER:
                return f"{self.arm}: better on {name} ({amounts})."
            case Verdict.WORSE:
                return f"{self.arm}: worse on {name} ({amounts})."
            case Verdict.EQUIVALENT:
                return f"{self.arm}: no difference on {name} that matters ({amounts})."
        return f"{self.arm}: inconclusive on {name} ({amounts})."


def _as_dict(change: IntervalEstimate | None) -> dict[str, Any] | None:
    """Return a change as JSON; an end that is not known yet is null."""
    if change is None:
        return None
    members = change.as_dict()
    return {name: None if isinstance(end, float) and isinf(end) else end for name, end in members.items()}


def _amount(value: float, metric: Metric) -> str:
    if metric.unit == "ms":
        return f"{value:+,.0f} ms"
    # Of one call it would be millionths.
    return f"{value * 1_000:+.4f} USD" if metric.unit == "USD" else f"{value:+.3f}"


def compare(
    baseline: ArmFigures, arm: ArmFigures, metric: Metric, *, alpha: float, expected: float = 2_000
) -> ArmVerdict:
    """Set an arm against the baseline in one metric, at a level."""
    more = None
    if metric.name == "errors":
        values, change = _errors(baseline, arm, alpha)
    elif metric.name in QUANTILES:
        values, change = _quantiles(baseline, arm, QUANTILES[metric.name], alpha)
    else:
        a, b = baseline.sums.get(metric.name), arm.sums.get(metric.name)
        values = (a.mean if a and a.n else None, b.mean if b and b.n else None)
        change = None
        if a and b:
            change = sequences.difference_of_means(a, b, alpha=alpha, expected=expected)
            distance = max(abs(change.value), metric.margin) if change else 0.0
            more = sequences.units_to_decide(a, b, distance, alpha=alpha, expected=expected)
    verdict = judge(change, metric)
    more = more if verdict == Verdict.INCONCLUSIVE else None
    return ArmVerdict(arm.name, metric, *values, change, verdict, more)


def judge(change: IntervalEstimate | None, metric: Metric) -> Verdict:
    """Better or worse: the sequence excludes zero. Equivalent: all of it is within the margin."""
    ends = _oriented(change, metric)
    if ends is None:
        return Verdict.INCONCLUSIVE
    low, high = ends
    if low > -metric.margin and high < metric.margin:
        return Verdict.EQUIVALENT
    if low > 0:
        return Verdict.BETTER
    return Verdict.WORSE if high < 0 else Verdict.INCONCLUSIVE


def _oriented(change: IntervalEstimate | None, metric: Metric) -> tuple[float, float] | None:
    """Return the ends of a change, so that more is better."""
    if change is None or change.low is None or change.high is None:
        return None
    return (change.low, change.high) if metric.is_higher_better else (-change.high, -change.low)


def _errors(
    baseline: ArmFigures, arm: ArmFigures, alpha: float
) -> tuple[tuple[float | None, float | None], IntervalEstimate | None]:
    """Compare how many subjects have had a failed call, by sequences that hold from the first on: a jump is seen soon,
    and one subject that tries again and again is one."""
    pair = (baseline, arm)
    rates = [each.failed_subjects / each.subjects if each.subjects else None for each in pair]
    if rates[0] is None or rates[1] is None:
        return (rates[0], rates[1]), None
    (a_low, a_high), (b_low, b_high) = (
        sequences.rate(each.failed_subjects, each.subjects, alpha=alpha / 2) for each in pair
    )
    change = IntervalEstimate(rates[1] - rates[0], b_low - a_high, b_high - a_low, baseline.subjects + arm.subjects)
    return (rates[0], rates[1]), change


def _quantiles(
    baseline: ArmFigures, arm: ArmFigures, share: float, alpha: float
) -> tuple[tuple[float | None, float | None], IntervalEstimate | None]:
    """Compare quantiles of latency, each by its own sequence, in milliseconds."""
    counts = [sum(figures.latencies.values()) for figures in (baseline, arm)]
    values = [value_at_share(figures.latencies, share) if figures.latencies else None for figures in (baseline, arm)]
    if values[0] is None or values[1] is None or min(counts) < MIN_CALLS:
        return (values[0], values[1]), None
    ends = []
    for figures, n in zip((baseline, arm), counts, strict=True):
        low, high = sequences.quantile_ranks(n, share, alpha=alpha / 2)
        # Where the sequence reaches beyond all ranks, the quantile may be anything above.
        upper = value_at_share(figures.latencies, high) if high < 1 else inf
        ends.append((value_at_share(figures.latencies, low) if low > 0 else 0.0, upper))
    (a_low, a_high), (b_low, b_high) = ends
    low, high = b_low - a_high, b_high - a_low
    if low == -inf and high == inf:
        return (values[0], values[1]), None
    return (values[0], values[1]), IntervalEstimate(values[1] - values[0], low, high, sum(counts))


def mismatch(subjects: Mapping[str, int], weights: Mapping[str, int]) -> float:
    """Return the evidence against the arms having the subjects that their weights give them, as an e-value."""
    names = sorted(weights)
    return sequences.mismatch_e_value([subjects.get(name, 0) for name in names], [weights[name] for name in names])


def days_left(more_subjects: int | None, subjects: int, days: float) -> int | None:
    """Return in how many days so many more subjects come at the present rate; None where that cannot be told."""
    if more_subjects is None or not subjects or days <= 0:
        return None
    return max(1, ceil(more_subjects / (subjects / days)))
