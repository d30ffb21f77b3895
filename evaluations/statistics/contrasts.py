"""Two runs' answers to the same cases: every figure compared, and the cases that changed most. Pure: usable without
Django."""

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluations.scorers.base import Kind
from evaluations.scorers.specs import Spec
from evaluations.statistics import verdicts
from evaluations.statistics.metrics import Answer, typical_calls_in_flight
from evaluations.statistics.paired import Difference, compare, holm, mean_by_case

MAX_SLICES = 40
# A part of the cases that is smaller says nothing.
MIN_CASES_IN_SLICE = 5
MAX_CHANGED_CASES = 50
# The tolerated change in milliseconds and dollars, as a share of their current value.
MEASURE_MARGIN = 0.05
# Up to this ratio of calls in flight latencies are compared.
MAX_CALLS_RATIO = 1.5
Value = Callable[[Answer], float | None]
AnswerFilter = Callable[[Answer], bool]


@dataclass(frozen=True)
class Figure:
    """A quantity that both runs have for each case; `includes` says which answers count."""

    name: str
    value: Value
    is_measure: bool = False
    unit: str = ""
    includes: AnswerFilter = lambda _answer: True


@dataclass(frozen=True)
class _FigureDifference:
    figure: Figure
    baseline: float
    candidate: float
    difference: Difference
    margin: float

    def as_dict(self, p: float | None = None) -> dict[str, Any]:
        """Return it as JSON with its verdict; `p` is the adjusted probability, where several figures are tested
        together."""
        difference, is_score = self.difference, not self.figure.is_measure
        # A case's score changes by 1 at most; of what is measured, one may take as much again.
        scale = 1.0 if is_score else abs(self.baseline)
        judgement = verdicts.judge(difference, margin=self.margin, higher_is_better=is_score, p=p, scale=scale)
        wins, losses = (difference.wins, difference.losses) if is_score else (difference.losses, difference.wins)
        return {
            "name": self.figure.name,
            "unit": self.figure.unit,
            "higher_is_better": is_score,
            "baseline": self.baseline,
            "candidate": self.candidate,
            "difference": difference.mean,
            "low": difference.low,
            "high": difference.high,
            "p": difference.p,
            "p_adjusted": p,
            "n": difference.n,
            "groups": difference.groups,
            "wins": wins,
            "losses": losses,
            "ties": difference.ties,
            "detectable": difference.detectable,
            "margin": self.margin,
            "method": difference.method,
            "verdict": str(judgement.verdict),
            "not_worse": judgement.is_not_worse,
            "more_cases": judgement.more_cases,
            "sentence": verdicts.sentence(judgement, self.figure.name, wins, losses, f"{self.margin:.3g}"),
        }


def differences_from_baseline(
    baseline: Sequence[Answer],
    others: Iterable[tuple[int, Sequence[Answer], Mapping[str, float]]],
    *,
    margin: float,
    seed: int = 0,
) -> dict[int, dict[str, Any]]:
    """Compare the quality of several runs with the baseline's, by key; each comes with the weights of the scorers that
    it shares with the baseline. Their probabilities are adjusted together (Holm): of twenty that are no better, one
    would look better by chance alone."""
    pairs = (
        (key, Pair(baseline, answers, weights=weights, margin=margin, seed=seed).quality())
        for key, answers, weights in others
    )
    differences = {key: difference for key, difference in pairs if difference}
    adjusted = holm([difference.difference.p for difference in differences.values()])
    return {key: difference.as_dict(p) for (key, difference), p in zip(differences.items(), adjusted, strict=True)}


class Pair:
    """Answers of two runs. `weights` has the scorers that both have (evaluations.scorers.specs.shared_weights), and
    `margin` is the loss of quality that would be tolerated.

    Quality is compared like with like: of each case, by those scorers alone that judged all of its answers in both
    runs. Means of different scorers differ without any answer being better."""

    def __init__(
        self,
        baseline: Sequence[Answer],
        candidate: Sequence[Answer],
        *,
        weights: Mapping[str, float],
        margin: float,
        seed: int,
    ) -> None:
        self._baseline, self._candidate = baseline, candidate
        self._weights, self._margin, self._seed = weights, margin, seed
        self._judged_by = self._shared_scorers()
        self._groups = {answer.case: answer.group for answer in baseline}

    def report(self, specs: Sequence[Spec]) -> dict[str, Any]:
        """Report quality, on which the verdict rests; each scorer, latency and cost; the slices; and the cases that
        changed most. Probabilities of figures tested together are adjusted together (Holm): among twenty of them one
        would be called different by chance alone."""
        quality = self.quality()
        calls = [typical_calls_in_flight(answers) for answers in (self._baseline, self._candidate)]
        is_latency_alike = are_alike(*calls)
        figures = [
            Figure(spec.name, _score_of(spec.name), spec.kind == Kind.MEASURE, spec.definition.unit)
            for spec in specs
            if is_latency_alike or spec.scorer != "latency"
        ]
        figures += [Figure("latency", _latency, True, "ms")] if is_latency_alike else []
        figures.append(Figure("cost", _cost, True, "USD"))
        labels = sorted({answer.label for answer in self._baseline if answer.label})[:MAX_SLICES]
        tags = sorted({tag for answer in self._baseline for tag in answer.tags})[:MAX_SLICES]
        return {
            "quality": quality.as_dict() if quality else None,
            "quality_scorers": sorted({name for names in self._judged_by.values() for name in names}),
            "figures": self._family(figures),
            "calls_in_flight": calls,
            "latency_compared": is_latency_alike,
            "by_label": self._family([Figure(label, self._quality, includes=_has_label(label)) for label in labels]),
            "by_tag": self._family([Figure(tag, self._quality, includes=_has_tag(tag)) for tag in tags]),
            "better": self._changed(1),
            "worse": self._changed(-1),
        }

    def quality(self) -> _FigureDifference | None:
        """Compare the quality; None where no case was judged in both runs."""
        return self._difference_of(Figure("quality", self._quality))

    def _family(self, figures: Sequence[Figure]) -> list[dict[str, Any]]:
        differences = [
            difference
            for difference in map(self._difference_of, figures)
            if difference and difference.difference.n >= MIN_CASES_IN_SLICE
        ]
        adjusted = holm([difference.difference.p for difference in differences])
        return [difference.as_dict(p) for difference, p in zip(differences, adjusted, strict=True)]

    def _difference_of(self, figure: Figure) -> _FigureDifference | None:
        a, b = self._means(figure, self._baseline), self._means(figure, self._candidate)
        cases = sorted(a.keys() & b.keys())
        if not cases:
            return None
        first, second = [a[case] for case in cases], [b[case] for case in cases]
        # The same differences have the same interval, under whatever name and whichever run comes first; with one seed
        # for all figures the resamples of those that differ would be alike.
        seed = self._seed ^ zlib.crc32(np.abs(np.subtract(second, first)).tobytes())
        difference = compare(first, second, [self._groups[case] for case in cases], seed=seed)
        baseline, candidate = sum(first) / len(first), sum(second) / len(second)
        margin = MEASURE_MARGIN * abs(baseline) if figure.is_measure else self._margin
        return _FigureDifference(figure, baseline, candidate, difference, margin)

    def _means(self, figure: Figure, answers: Sequence[Answer]) -> Mapping[int, float]:
        values = [(answer.case, figure.value(answer)) for answer in answers if figure.includes(answer)]
        return mean_by_case([(case, value) for case, value in values if value is not None])

    def _shared_scorers(self) -> dict[int, frozenset[str]]:
        """Return, for each case, the scorers that judged every one of its answers in both runs."""
        names = frozenset(self._weights)
        by_run = []
        for answers in (self._baseline, self._candidate):
            scorers: dict[int, frozenset[str]] = {}
            for answer in answers:
                scorers[answer.case] = scorers.get(answer.case, names) & answer.scores.keys()
            by_run.append(scorers)
        first, second = by_run
        return {case: first[case] & second[case] for case in first.keys() & second.keys()}

    def _quality(self, answer: Answer) -> float | None:
        names = self._judged_by.get(answer.case)
        if not names:
            return None
        total = sum(self._weights[name] for name in names)
        return sum(self._weights[name] * float(answer.scores[name]["value"]) for name in names) / total

    def _changed(self, sign: int) -> list[dict[str, Any]]:
        figure = Figure("quality", self._quality)
        a, b = self._means(figure, self._baseline), self._means(figure, self._candidate)
        moved = [(b[case] - a[case], case) for case in a.keys() & b.keys() if (b[case] - a[case]) * sign > 0]
        moved.sort(key=lambda change: (-abs(change[0]), change[1]))
        return [{"case": case, "baseline": a[case], "candidate": b[case]} for _, case in moved[:MAX_CHANGED_CASES]]


def are_alike(first: int | None, second: int | None) -> bool:
    """Return whether latencies with so many calls in flight can be compared: they differ by queueing otherwise."""
    if first is None or second is None:
        return first is second
    return max(first, second) <= MAX_CALLS_RATIO * min(first, second)


def _latency(answer: Answer) -> float | None:
    return None if answer.failed else answer.latency_ms


def _cost(answer: Answer) -> float | None:
    return answer.cost_usd


def _score_of(name: str) -> Value:
    def value(answer: Answer) -> float | None:
        score = answer.scores.get(name)
        return None if score is None else float(score["value"])

    return value


def _has_label(label: str) -> AnswerFilter:
    return lambda answer: answer.label == label


def _has_tag(tag: str) -> AnswerFilter:
    return lambda answer: tag in answer.tags
