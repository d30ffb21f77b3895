"""Usage stats of live calls: sums and histograms that add up. Pure, and light: web processes read these.

A day is a few hundred numbers however many calls it had; what can be read from them is in inference.usage.estimates.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import date, timedelta
from typing import Any

from inference.usage.estimates import IntervalEstimate, bin_of, mean_with_interval, proportion, quantile

# Labels and the like beyond so many are counted together.
MAX_NAMES = 50
OTHER = "(other)"
# Between the name of feedback and its label.
SEPARATOR = "\x1f"
# Before the name of feedback, as metrics of experiments: the mean of what came, and whether anything did.
FEEDBACK, CONVERSION = "feedback.", "conversion."


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
    cost_squares: float = 0.0
    latencies: Mapping[int, int] = field(default_factory=dict)
    questions: Mapping[int, int] = field(default_factory=dict)
    answers: Mapping[int, int] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)
    errors: Mapping[str, int] = field(default_factory=dict)
    # Why the inference service took the fallback.
    fallbacks: Mapping[str, int] = field(default_factory=dict)
    # What was learned later, by the name of the feedback: how many values, their sum and that of their squares; and
    # how often each label, by "name\x1flabel".
    feedback: Mapping[str, tuple[int, float, float]] = field(default_factory=dict)
    feedback_labels: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: "UsageStats") -> "UsageStats":
        return sum_usage([self, other])

    def as_dict(self) -> dict[str, Any]:
        """Return the members that say something, as rows have them."""
        members = {member.name: getattr(self, member.name) for member in fields(self)}
        return {name: value for name, value in members.items() if value}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> "UsageStats":
        """Read what a row has; its histograms' bins are texts there."""
        members = dict(document)
        for name in HISTOGRAMS:
            members[name] = {int(number): count for number, count in document.get(name, {}).items()}
        members["feedback"] = {name: tuple(sums) for name, sums in document.get("feedback", {}).items()}
        return cls(**members)

    def negated(self) -> "UsageStats":
        """Return what takes this away when it is added."""
        members: dict[str, Any] = {name: -getattr(self, name) for name in SUMS}
        members |= {name: {key: -count for key, count in getattr(self, name).items()} for name in COUNTED}
        members["feedback"] = {name: (-n, -total, -squares) for name, (n, total, squares) in self.feedback.items()}
        return UsageStats(**members)

    def format_rate(self) -> IntervalEstimate | None:
        """Return the share of answers in the right format, of those that were checked."""
        return proportion(self.format_ok, self.formatted)

    def failure_rate(self) -> IntervalEstimate | None:
        return proportion(self.failed, self.calls)

    def score(self) -> IntervalEstimate | None:
        """Return the mean score."""
        return mean_with_interval(self.score_sum, self.score_squares, self.scored)

    def feedback_mean(self, name: str) -> IntervalEstimate | None:
        """Return the mean of the feedback of a name: scores as they are, yes as 1 and no as 0."""
        n, total, squares = self.feedback.get(name, (0, 0.0, 0.0))
        return mean_with_interval(total, squares, n)

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
    total = UsageCounter()
    for stats in every:
        total.add_stats(stats)
    return total.stats()


class UsageCounter:
    """Adds up calls, feedback and usage stats; `stats` is what they come to."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = dict.fromkeys(SUMS, 0)
        self._counts: dict[str, dict[Any, int]] = {name: {} for name in COUNTED}
        self._feedback: dict[str, tuple[int, float, float]] = {}

    def add_stats(self, stats: UsageStats) -> None:
        for name in SUMS:
            self._sums[name] += getattr(stats, name)
        for name, counts in self._counts.items():
            for key, count in getattr(stats, name).items():
                self._count(name, counts, key, count)
        for name, (n, total, squares) in stats.feedback.items():
            self.add_feedback(name, n, total, squares)

    def add_feedback(self, name: str, n: int, total: float, squares: float) -> None:
        """Add values of one name; a negative `n` takes away what was counted before."""
        if name not in self._feedback and len(self._feedback.keys() - {OTHER}) >= MAX_NAMES:
            name = OTHER
        before = self._feedback.get(name, (0, 0.0, 0.0))
        self._feedback[name] = (before[0] + n, before[1] + total, before[2] + squares)

    def add_feedback_label(self, name: str, label: str, count: int = 1) -> None:
        labels = self._counts["feedback_labels"]
        self._count("feedback_labels", labels, f"{name}{SEPARATOR}{label}", count)

    def add_call(self, call: Mapping[str, Any]) -> None:
        """Add a call, by the members of its row."""
        sums, counts = self._sums, self._counts
        sums["calls"] += 1
        if call["failed"]:
            sums["failed"] += 1
            code = call.get("error") or "failed"
            self._count("errors", counts["errors"], code, 1)
        if fallback := call["fallback"]:
            self._count("fallbacks", counts["fallbacks"], fallback, 1)
        if call["format_ok"] is not None:
            sums["formatted"] += 1
            sums["format_ok"] += call["format_ok"]
        if (score := call["score"]) is not None:
            sums["scored"] += 1
            sums["score_sum"] += score
            sums["score_squares"] += score * score
        if (latency := call["latency_ms"]) is not None:
            sums["timed"] += 1
            sums["latency_sum"] += latency
            self._count("latencies", counts["latencies"], bin_of(latency), 1)
        if (tokens_in := call["tokens_in"]) is not None:
            sums["counted"] += 1
            sums["tokens_in"] += tokens_in
            sums["tokens_out"] += call["tokens_out"] or 0
            sums["tokens_cached"] += call["tokens_cached"] or 0
            sums["tokens_reasoning"] += call["tokens_reasoning"] or 0
            self._count("questions", counts["questions"], bin_of(tokens_in), 1)
        if (tokens_out := call["tokens_out"]) is not None:
            self._count("answers", counts["answers"], bin_of(tokens_out), 1)
        if call["cost_usd"] is not None:
            sums["priced"] += 1
            cost = float(call["cost_usd"])
            sums["cost_usd"] += cost
            sums["cost_squares"] += cost * cost
        if call["label"]:
            self._count("labels", counts["labels"], call["label"], 1)

    def _count(self, name: str, counts: dict[Any, int], key: Any, count: int) -> None:
        if name in NAMED and key not in counts and len(counts.keys() - {OTHER}) >= MAX_NAMES:
            key = OTHER
        counts[key] = counts.get(key, 0) + count

    def stats(self) -> UsageStats:
        members: dict[str, Any] = dict(self._sums)
        for name, counts in self._counts.items():
            members[name] = {key: count for key, count in counts.items() if count}
        feedback = {name: sums for name, sums in self._feedback.items() if sums[0]}
        return UsageStats(**members, feedback=feedback)


HISTOGRAMS = ("latencies", "questions", "answers")
# Counts by names that users give, of which a row holds so many.
NAMED = ("labels", "errors", "fallbacks", "feedback_labels")
COUNTED = HISTOGRAMS + NAMED
SUMS = tuple(member.name for member in fields(UsageStats) if member.name not in (*COUNTED, "feedback"))


def usage_of(calls: Iterable[Mapping[str, Any]]) -> UsageStats:
    """Add up calls, by the members of their rows."""
    counter = UsageCounter()
    for call in calls:
        counter.add_call(call)
    return counter.stats()


def whole_days(days: Mapping[date, UsageStats], since: date, until: date, *, is_older: bool) -> list[UsageStats]:
    """Return the days from `since` to the day before `until`, which is not over, idle ones included. Where nothing is
    older than `since`, they begin after the first day with calls, which need not have been a whole one."""
    if not days:
        return []
    first = since if is_older else min(days) + timedelta(days=1)
    first = first if is_older or first < until else min(days)
    return [days.get(first + timedelta(days=place), UsageStats()) for place in range((until - first).days)]
