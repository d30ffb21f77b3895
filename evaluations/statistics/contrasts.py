"""Two runs' answers to the same cases: each figure compared, and what changed most. Pure: usable without Django."""

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evaluations.scorers.base import Kind
from evaluations.scorers.specs import Spec
from evaluations.statistics import verdicts
from evaluations.statistics.metrics import Answer
from evaluations.statistics.paired import Difference, averaged, compare, holm

MOST_SLICES = 40
# A part of the cases that is smaller says nothing.
LEAST_IN_SLICE = 5
MOST_CHANGED = 50
# What one would put up with in milliseconds and dollars: a share of what they are now.
MEASURE_MARGIN = 0.05
Value = Callable[[Answer], float | None]
Among = Callable[[Answer], bool]


@dataclass(frozen=True)
class Figure:
    """Something that both runs have a value of for each case, among some of the cases."""

    name: str
    value: Value
    is_measure: bool = False
    unit: str = ""
    among: Among = lambda _answer: True


@dataclass(frozen=True)
class _Found:
    figure: Figure
    baseline: float
    candidate: float
    difference: Difference
    margin: float

    def told(self, p: float | None = None) -> dict[str, Any]:
        """As JSON, with the verdict; `p` is the adjusted probability, where several figures are looked at together."""
        found, is_score = self.difference, not self.figure.is_measure
        judged = verdicts.judge(found, margin=self.margin, higher_is_better=is_score, p=p)
        wins, losses = (found.wins, found.losses) if is_score else (found.losses, found.wins)
        return {
            "name": self.figure.name,
            "unit": self.figure.unit,
            "higher_is_better": is_score,
            "baseline": self.baseline,
            "candidate": self.candidate,
            "difference": found.mean,
            "low": found.low,
            "high": found.high,
            "p": found.p,
            "p_adjusted": p,
            "n": found.n,
            "groups": found.groups,
            "wins": wins,
            "losses": losses,
            "ties": found.ties,
            "detectable": found.detectable,
            "margin": self.margin,
            "method": found.method,
            "verdict": str(judged.verdict),
            "not_worse": judged.is_not_worse,
            "more_cases": judged.more_cases,
            "sentence": verdicts.sentence(judged, self.figure.name, wins, losses, f"{self.margin:.3g}"),
        }


def against(
    baseline: Sequence[Answer], others: Iterable[tuple[int, Sequence[Answer]]], *, margin: float, seed: int = 0
) -> dict[int, dict[str, Any]]:
    """How the quality of each of several runs differs from one's, by key; their probabilities are adjusted together
    (Holm): of twenty that are no better, one would look it by chance alone."""
    pairs = ((key, Pair(baseline, answers, margin=margin, seed=seed).quality()) for key, answers in others)
    found = {key: one for key, one in pairs if one}
    adjusted = holm([one.difference.p for one in found.values()])
    return {key: one.told(p) for (key, one), p in zip(found.items(), adjusted, strict=True)}


class Pair:
    """Both runs' answers. `margin` is how much worse in quality one would put up with."""

    def __init__(self, baseline: Sequence[Answer], candidate: Sequence[Answer], *, margin: float, seed: int) -> None:
        self._baseline, self._candidate = baseline, candidate
        self._margin, self._seed = margin, seed
        self._groups = {answer.case: answer.group for answer in baseline}

    def report(self, specs: Sequence[Spec]) -> dict[str, Any]:
        """The quality, on which the verdict rests; each scorer, latency and cost; the parts of the cases; and the cases
        that changed most. Probabilities of figures that are looked at together are adjusted together (Holm): among
        twenty of them one would be called different by chance alone."""
        quality = self.quality()
        figures = [Figure(spec.name, _of(spec.name), spec.kind == Kind.MEASURE, spec.definition.unit) for spec in specs]
        figures += [Figure("latency", _latency, True, "ms"), Figure("cost", _cost, True, "USD")]
        labels = sorted({answer.label for answer in self._baseline if answer.label})[:MOST_SLICES]
        tags = sorted({tag for answer in self._baseline for tag in answer.tags})[:MOST_SLICES]
        return {
            "quality": quality.told() if quality else None,
            "figures": self._family(figures),
            "by_label": self._family([Figure(one, _quality, among=_has_label(one)) for one in labels]),
            "by_tag": self._family([Figure(one, _quality, among=_has_tag(one)) for one in tags]),
            "better": self._changed(1),
            "worse": self._changed(-1),
        }

    def quality(self) -> _Found | None:
        """How the candidate's quality differs; None where no case was judged in both."""
        return self._found(Figure("quality", _quality))

    def _family(self, figures: Sequence[Figure]) -> list[dict[str, Any]]:
        found = [one for one in map(self._found, figures) if one and one.difference.n >= LEAST_IN_SLICE]
        adjusted = holm([one.difference.p for one in found])
        return [one.told(p) for one, p in zip(found, adjusted, strict=True)]

    def _found(self, figure: Figure) -> _Found | None:
        a, b = self._means(figure, self._baseline), self._means(figure, self._candidate)
        cases = sorted(a.keys() & b.keys())
        if not cases:
            return None
        first, second = [a[case] for case in cases], [b[case] for case in cases]
        # One seed for all figures would make their resamples alike.
        seed = self._seed ^ zlib.crc32(figure.name.encode())
        difference = compare(first, second, [self._groups[case] for case in cases], seed=seed)
        baseline, candidate = sum(first) / len(first), sum(second) / len(second)
        margin = MEASURE_MARGIN * abs(baseline) if figure.is_measure else self._margin
        return _Found(figure, baseline, candidate, difference, margin)

    def _means(self, figure: Figure, answers: Sequence[Answer]) -> Mapping[int, float]:
        known = [(one.case, figure.value(one)) for one in answers if figure.among(one)]
        return averaged([(case, value) for case, value in known if value is not None])

    def _changed(self, sign: int) -> list[dict[str, Any]]:
        figure = Figure("quality", _quality)
        a, b = self._means(figure, self._baseline), self._means(figure, self._candidate)
        moved = [(b[case] - a[case], case) for case in a.keys() & b.keys() if (b[case] - a[case]) * sign > 0]
        moved.sort(key=lambda one: (-abs(one[0]), one[1]))
        return [{"case": case, "baseline": a[case], "candidate": b[case]} for _, case in moved[:MOST_CHANGED]]


def _quality(answer: Answer) -> float | None:
    return answer.quality


def _latency(answer: Answer) -> float | None:
    return None if answer.failed else answer.latency_ms


def _cost(answer: Answer) -> float | None:
    return answer.cost_usd


def _of(name: str) -> Value:
    def value(answer: Answer) -> float | None:
        score = answer.scores.get(name)
        return None if score is None else float(score["value"])

    return value


def _has_label(label: str) -> Among:
    return lambda answer: answer.label == label


def _has_tag(tag: str) -> Among:
    return lambda answer: tag in answer.tags
