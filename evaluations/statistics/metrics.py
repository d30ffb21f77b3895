"""Figures of a run over all cases, by label and by tag. Pure: usable without Django."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from evaluations.scorers.base import Kind
from evaluations.scorers.specs import Spec, quality_specs
from evaluations.statistics import intervals
from evaluations.statistics.intervals import Estimate
from evaluations.statistics.paired import mean_by_case

MAX_SLICES = 40
MAX_LABELS = 30
OTHER = "(other)"


@dataclass(frozen=True)
class Answer:
    """One result of a case, as figures need it."""

    case: int
    group: int
    label: str
    tags: Sequence[str]
    scores: Mapping[str, Mapping[str, Any]]
    quality: float | None
    passed: bool | None
    failed: bool
    # The provider's time. None where there is no answer, or where it came from the cache.
    latency_ms: float | None
    tokens_in: int
    tokens_out: int
    cost_usd: float | None
    # With how many calls in flight its latency was measured, and the provider's own time, where they are known.
    calls_in_flight: int | None = None
    server_ms: float | None = None


@dataclass
class Figures:
    """Collector of a run's results, which sums them up at the end."""

    specs: Sequence[Spec]
    answers: list[Answer] = field(default_factory=list)

    def add(self, answer: Answer) -> None:
        self.answers.append(answer)

    def summary(self) -> dict[str, Any]:
        """Return everything that a run's page shows, as JSON."""
        answers = self.answers
        answered = [answer for answer in answers if not answer.failed]
        # A failed call is not charged for, or its cost is unknown; it says nothing about the cost of an answer.
        costs = [answer.cost_usd for answer in answered if answer.cost_usd is not None]
        latencies = [answer.latency_ms for answer in answered if answer.latency_ms is not None]
        server_times = [answer.server_ms for answer in answered if answer.server_ms is not None]
        return {
            "answers": len(answers),
            "failed": len(answers) - len(answered),
            "cases": len({answer.case for answer in answers}),
            "quality": estimate_as_dict(mean_over_cases(answers, lambda answer: answer.quality)),
            "quality_of": [spec.name for spec in quality_specs(self.specs)],
            "passed": estimate_as_dict(
                mean_over_cases(answers, lambda answer: None if answer.passed is None else float(answer.passed))
            ),
            "scorers": [self._scorer_figures(spec) for spec in self.specs],
            "latency_ms": _quantiles(latencies),
            # With more of them than the provider has slots, a latency is mostly queueing.
            "calls_in_flight": typical_calls_in_flight(answered),
            "server_ms": _quantiles(server_times) if server_times else None,
            "tokens_in": estimate_as_dict(intervals.mean([float(answer.tokens_in) for answer in answered])),
            "tokens_out": estimate_as_dict(intervals.mean([float(answer.tokens_out) for answer in answered])),
            # One call without a known price would make the sum a lower bound, so there is none then.
            "cost_usd": sum(costs) if len(costs) == len(answered) else None,
            "cost_per_call_usd": estimate_as_dict(_cost_per_call(answered)) if len(costs) == len(answered) else None,
            "by_label": _slices(answers, lambda answer: [answer.label] if answer.label else []),
            "by_tag": _slices(answers, lambda answer: answer.tags),
        }

    def _scorer_figures(self, spec: Spec) -> dict[str, Any]:
        scored = [answer for answer in self.answers if spec.name in answer.scores]
        values = mean_over_cases(scored, lambda answer: float(answer.scores[spec.name]["value"]))
        passed = mean_over_cases(scored, lambda answer: float(answer.scores[spec.name]["passed"]))
        figures: dict[str, Any] = {
            "name": spec.name,
            "scorer": spec.scorer,
            "kind": str(spec.kind),
            "unit": spec.definition.unit,
            "threshold": spec.threshold,
            "value": estimate_as_dict(values),
            "passed": estimate_as_dict(passed),
        }
        if spec.kind == Kind.MEASURE and scored:
            measured = [float(answer.scores[spec.name]["value"]) for answer in scored]
            figures["quantiles"] = _quantiles(measured)
        if spec.scorer == "label":
            pairs = [_label_pair(answer.scores[spec.name], answer.label) for answer in scored]
            figures["labels"] = label_figures(pairs)
        if spec.scorer == "fields":
            figures["fields"] = field_figures([answer.scores[spec.name].get("found", {}) for answer in scored])
        return figures


def typical_calls_in_flight(answers: Sequence[Answer]) -> int | None:
    """Return the most calls that were in flight during 19 of 20 answers (the moment when a run begins or another one
    ends says nothing of the others); None where any is not known."""
    counts = sorted(answer.calls_in_flight or 0 for answer in answers if answer.latency_ms is not None)
    return counts[ceil(0.95 * len(counts)) - 1] if counts and counts[0] else None


def _quantiles(values: Sequence[float]) -> dict[str, Any]:
    return {
        name: estimate_as_dict(intervals.quantile(values, share))
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    }


def _cost_per_call(answered: Sequence[Answer]) -> Estimate | None:
    return mean_over_cases(answered, lambda answer: answer.cost_usd)


def _label_pair(score: Mapping[str, Any], label: str) -> tuple[str, str]:
    details = score.get("found", {})
    return str(details.get("expected", label)), str(details.get("predicted", "(no answer)"))


def mean_over_cases(answers: Iterable[Answer], value: Any) -> Estimate | None:
    """Estimate the mean over cases, averaging the repetitions of each case first; the interval respects groups."""
    rows = [(answer.case, answer.group, value(answer)) for answer in answers]
    values = [(case, figure) for case, _, figure in rows if figure is not None]
    group_of = {case: group for case, group, figure in rows if figure is not None}
    means = mean_by_case(values)
    return intervals.mean(list(means.values()), [group_of[case] for case in means])


def estimate_as_dict(estimate: Estimate | None) -> dict[str, Any] | None:
    return estimate.as_dict() if estimate else None


def label_figures(pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Compute precision, recall and F1 by label from (expected, predicted), their unweighted mean (macro F1) over the
    labels that are expected anywhere, and the confusion matrix.

    precision = right / predicted, recall = right / expected, F1 their harmonic mean; 0 where nothing was right.
    `chance` is what guessing evenly would get right, `largest_class` what always answering the most frequent label
    would: an accuracy says something only beside them.
    """
    expected, predicted = Counter(pair[0] for pair in pairs), Counter(pair[1] for pair in pairs)
    right = Counter(pair[0] for pair in pairs if pair[0] == pair[1])
    rows: list[dict[str, Any]] = []
    for label in sorted(expected, key=lambda label: (-expected[label], label)):
        precision = right[label] / predicted[label] if predicted[label] else 0.0
        recall = right[label] / expected[label]
        f1 = 2 * right[label] / (predicted[label] + expected[label])
        rows.append({"label": label, "n": expected[label], "precision": precision, "recall": recall, "f1": f1})
    macro = sum(row["f1"] for row in rows) / len(rows) if rows else None
    rows_shown: list[str] = [row["label"] for row in rows[:MAX_LABELS]]
    columns = [*rows_shown, *sorted(predicted.keys() - expected.keys())[: MAX_LABELS - len(rows_shown)]]
    counted = Counter(pairs)
    matrix = [[counted[row, column] for column in columns] for row in rows_shown]
    largest = {"label": rows[0]["label"], "share": rows[0]["n"] / len(pairs)} if rows else None
    chance = 1 / len(rows) if rows else None
    baselines = {"chance": chance, "largest_class": largest}
    return {"macro_f1": macro, **baselines, "labels": rows, "rows": rows_shown, "columns": columns, "matrix": matrix}


def field_figures(details: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Micro-average over all members of all cases: precision = right / given, recall = right / expected."""
    right, answered, expected = (
        sum(int(counts.get(name, 0)) for counts in details) for name in ("right", "given", "expected")
    )
    return {
        "precision": right / answered if answered else None,
        "recall": right / expected if expected else None,
        "f1": 2 * right / (answered + expected) if answered + expected else None,
    }


def _slices(answers: Sequence[Answer], names_of: Any) -> list[dict[str, Any]]:
    """Compute the same figures for slices of the cases, the largest first."""
    parts: dict[str, list[Answer]] = {}
    for answer in answers:
        for name in names_of(answer):
            parts.setdefault(name, []).append(answer)
    largest = sorted(parts, key=lambda name: (-len(parts[name]), name))[:MAX_SLICES]
    return [
        {
            "name": name,
            "n": len({answer.case for answer in parts[name]}),
            "quality": estimate_as_dict(mean_over_cases(parts[name], lambda answer: answer.quality)),
            "passed": estimate_as_dict(
                mean_over_cases(parts[name], lambda answer: None if answer.passed is None else float(answer.passed))
            ),
        }
        for name in largest
    ]
