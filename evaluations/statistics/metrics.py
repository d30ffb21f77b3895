"""What a run came to: its figures over all cases, by label and by tag. Pure: usable without Django."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evaluations.scorers.base import Kind
from evaluations.scorers.specs import Spec
from evaluations.statistics import intervals
from evaluations.statistics.intervals import Estimate
from evaluations.statistics.paired import averaged

MOST_SLICES = 40
MOST_LABELS = 30
OTHER = "(other)"


@dataclass(frozen=True)
class Answer:
    """One result as figures need it: of a case, once."""

    case: int
    group: int
    label: str
    tags: Sequence[str]
    scores: Mapping[str, Mapping[str, Any]]
    quality: float | None
    passed: bool | None
    failed: bool
    # What the provider took. None of an answer that did not come, or that came from the cache.
    latency_ms: float | None
    tokens_in: int
    tokens_out: int
    cost_usd: float | None


@dataclass
class Figures:
    """Collects a run's results one after the other, and sums them up at the end."""

    specs: Sequence[Spec]
    answers: list[Answer] = field(default_factory=list)

    def add(self, answer: Answer) -> None:
        self.answers.append(answer)

    def summary(self) -> dict[str, Any]:
        """Everything that a run's page shows, as JSON."""
        answers = self.answers
        answered = [one for one in answers if not one.failed]
        # What did not come is not charged for, or nobody knows what it cost; it says nothing of what an answer costs.
        costs = [one.cost_usd for one in answered if one.cost_usd is not None]
        latencies = [one.latency_ms for one in answered if one.latency_ms is not None]
        return {
            "answers": len(answers),
            "failed": len(answers) - len(answered),
            "cases": len({one.case for one in answers}),
            "quality": told(of_cases(answers, lambda one: one.quality)),
            "passed": told(of_cases(answers, lambda one: None if one.passed is None else float(one.passed))),
            "scorers": [self._of(spec) for spec in self.specs],
            "latency_ms": {
                name: told(intervals.quantile(latencies, share))
                for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
            },
            "tokens_in": told(intervals.mean([float(one.tokens_in) for one in answered])),
            "tokens_out": told(intervals.mean([float(one.tokens_out) for one in answered])),
            # One call without a known price makes the sum a lower bound; then there is none.
            "cost_usd": sum(costs) if len(costs) == len(answered) else None,
            "cost_per_call_usd": told(_cost_per_call(answered)) if len(costs) == len(answered) else None,
            "by_label": _slices(answers, lambda one: [one.label] if one.label else []),
            "by_tag": _slices(answers, lambda one: one.tags),
        }

    def _of(self, spec: Spec) -> dict[str, Any]:
        there = [one for one in self.answers if spec.name in one.scores]
        values = of_cases(there, lambda one: float(one.scores[spec.name]["value"]))
        said: dict[str, Any] = {
            "name": spec.name,
            "scorer": spec.scorer,
            "kind": str(spec.kind),
            "unit": spec.definition.unit,
            "threshold": spec.threshold,
            "value": told(values),
            "passed": told(of_cases(there, lambda one: float(one.scores[spec.name]["passed"]))),
        }
        if spec.kind == Kind.MEASURE and there:
            measured = [float(one.scores[spec.name]["value"]) for one in there]
            said["quantiles"] = {
                name: told(intervals.quantile(measured, share))
                for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
            }
        if spec.scorer == "label":
            pairs = [_pair(one.scores[spec.name], one.label) for one in there]
            said["labels"] = of_labels(pairs)
        if spec.scorer == "fields":
            said["fields"] = of_fields([one.scores[spec.name].get("found", {}) for one in there])
        return said


def _cost_per_call(answered: Sequence[Answer]) -> Estimate | None:
    return of_cases(answered, lambda one: one.cost_usd)


def _pair(score: Mapping[str, Any], label: str) -> tuple[str, str]:
    found = score.get("found", {})
    return str(found.get("expected", label)), str(found.get("predicted", "(no answer)"))


def of_cases(answers: Iterable[Answer], value: Any) -> Estimate | None:
    """The mean over cases, each case's repeats averaged first, with an interval that knows which belong together."""
    rows = [(one.case, one.group, value(one)) for one in answers]
    known = [(case, found) for case, _, found in rows if found is not None]
    group_of = {case: group for case, group, found in rows if found is not None}
    means = averaged(known)
    return intervals.mean(list(means.values()), [group_of[case] for case in means])


def told(estimate: Estimate | None) -> dict[str, Any] | None:
    return estimate.as_dict() if estimate else None


def of_labels(pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Precision, recall and F1 by label from (expected, predicted), their unweighted mean (macro F1) over the labels
    that are expected anywhere, and the confusion matrix.

    precision = right / predicted, recall = right / expected, F1 their harmonic mean; 0 where nothing was right.
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
    shown: list[str] = [row["label"] for row in rows[:MOST_LABELS]]
    columns = [*shown, *sorted(predicted.keys() - expected.keys())[: MOST_LABELS - len(shown)]]
    counted = Counter(pairs)
    matrix = [[counted[row, column] for column in columns] for row in shown]
    return {"macro_f1": macro, "labels": rows, "rows": shown, "columns": columns, "matrix": matrix}


def of_fields(found: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Micro-averaged over all members of all cases: precision = right / given, recall = right / expected."""
    right, given, expected = (sum(int(one.get(name, 0)) for one in found) for name in ("right", "given", "expected"))
    return {
        "precision": right / given if given else None,
        "recall": right / expected if expected else None,
        "f1": 2 * right / (given + expected) if given + expected else None,
    }


def _slices(answers: Sequence[Answer], names_of: Any) -> list[dict[str, Any]]:
    """The same figures for parts of the cases, the largest first."""
    parts: dict[str, list[Answer]] = {}
    for one in answers:
        for name in names_of(one):
            parts.setdefault(name, []).append(one)
    largest = sorted(parts, key=lambda name: (-len(parts[name]), name))[:MOST_SLICES]
    return [
        {
            "name": name,
            "n": len({one.case for one in parts[name]}),
            "quality": told(of_cases(parts[name], lambda one: one.quality)),
            "passed": told(of_cases(parts[name], lambda one: None if one.passed is None else float(one.passed))),
        }
        for name in largest
    ]
