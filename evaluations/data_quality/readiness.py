"""Readiness of data for tuning or measuring. Pure: usable without Django.

Cases are read once, and only some numbers of each are kept. The score starts at 100 and each trouble takes points off
by how many cases it affects; the first one to fix takes the most.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.image_data import UPLOADED
from evaluations.datasets.cases import input_text

# 50 to 100 good examples show a gain (OpenAI's guide to fine-tuning; the seed document says the same).
MIN_CASES, ENOUGH_CASES = 50, 200
# A label with less than a tenth of the commonest one's cases is hard to learn and hard to measure.
RARE = 0.1
# Median absolute deviations of ln(length): beyond 5 is one text in millions, were lengths log-normal.
OUTLYING = 5.0
EXAMPLES = 5
MAX_SHOWN_LENGTH = 160
MIN_CASES_FOR_OUTLIERS = 30
MIN_PHONE_DIGITS = 9

# What UTF-8 read as Latin-1 or Windows-1252 leaves behind, the replacement character, and control characters.
BROKEN = re.compile("\ufffd|\u00c3[\u0080-\u00bf]|\u00e2\u20ac[\u0080-\u2122]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
PII: Mapping[str, re.Pattern[str]] = {
    "e-mail": re.compile(r"\b[\w.+-]{1,64}@(?!example\.)[\w-]{1,63}(?:\.[\w-]{2,63})+\b"),
    # International or with a leading zero, or as it is written in North America.
    "phone": re.compile(
        r"(?<![\w.])(?:\+|00?)\d[\d ()/.-]{6,17}\d(?!\w)|(?<![\w.-])\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?![\w-])"
    ),
    "card": re.compile(r"(?<!\d)(?:\d[ -]?){13,19}(?!\d)"),
    "key": re.compile(r"\b(?:sk|pk|rk|ghp|gho|xox[abp]|cbk|AKIA|eyJ)[-_A-Za-z0-9]{16,}\b"),
    "IBAN": re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}\b"),
}


@dataclass(frozen=True)
class Trouble:
    """A trouble with the data: `count` cases have it, `points` come off the score, `advice` says how to fix it."""

    key: str
    title: str
    count: int
    points: int
    advice: str
    examples: tuple[dict[str, Any], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "title": self.title,
            "count": self.count,
            "points": self.points,
            "advice": self.advice,
            "examples": list(self.examples),
        }


@dataclass
class Survey:
    """Counts over the cases, added one by one."""

    size: int = 0
    unanswered: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    lengths: list[int] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    broken: list[dict[str, Any]] = field(default_factory=list)
    broken_count: int = 0
    pii: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    pii_counts: Counter[str] = field(default_factory=Counter)
    pii_cases: int = 0
    tested: Counter[str] = field(default_factory=Counter)

    def add(self, key: int, variables: Mapping[str, Any], expected: Any, label: str, split: str = "train") -> None:
        # The address of an image is no text; its hash may have the digits of a card.
        text = UPLOADED.sub("", input_text(variables))
        self.size += 1
        self.tested[label] += split == "test"
        self.unanswered += expected is None
        self.labels[label] += 1
        self.lengths.append(len(text))
        self.keys.append(key)
        if BROKEN.search(text):
            self.broken_count += 1
            _add_example(self.broken, key, text)
        self._find_personal_data(key, text)

    def _find_personal_data(self, key: int, text: str) -> None:
        # All of them have a digit or an at sign; most texts have neither.
        if "@" not in text and not any(character.isdigit() for character in text):
            return
        has_personal_data = False
        for name, pattern in PII.items():
            match = next(
                (candidate for candidate in pattern.finditer(text) if _is_likely_personal(name, candidate[0])), None
            )
            if match:
                has_personal_data = True
                self.pii_counts[name] += 1
                _add_example(
                    self.pii.setdefault(name, []), key, f"…{text[max(0, match.start() - 30) : match.end() + 10]}…"
                )
        self.pii_cases += has_personal_data


def report(survey: Survey, *, repeated: int, contradictory: int) -> dict[str, Any]:
    """Write the report: `score` 0 to 100, `troubles` with the worst first, and the data of the charts.

    `repeated` counts the cases whose input another one has too, `contradictory` those of them with different answers.
    """
    troubles = sorted(_troubles(survey, repeated, contradictory), key=lambda trouble: -trouble.points)
    labels = [{"label": label, "count": count} for label, count in survey.labels.most_common(50)]
    return {
        "score": max(0, 100 - sum(trouble.points for trouble in troubles)),
        "size": survey.size,
        "unanswered": survey.unanswered,
        "labels": labels,
        "label_count": len(survey.labels),
        "lengths": histogram(survey.lengths),
        "pii": dict(survey.pii_counts),
        "troubles": [trouble.as_dict() for trouble in troubles],
    }


def _troubles(survey: Survey, repeated: int, contradictory: int) -> Iterable[Trouble]:
    size = survey.size or 1
    if survey.size < ENOUGH_CASES:
        points = 40 if survey.size < MIN_CASES else 15
        lacking = (MIN_CASES if survey.size < MIN_CASES else ENOUGH_CASES) - survey.size
        advice = f"Collect {lacking:,} more. Until then compare by folds, so that every case is tested."
        yield Trouble("volume", f"Only {survey.size:,} cases", survey.size, points, advice)
    if survey.unanswered:
        advice = "Annotate them, or leave them out of training."
        yield _trouble_by_share("unanswered", "Without an expected output", survey.unanswered, size, 40, advice)
    if contradictory:
        advice = "Decide which answer is right: a model cannot learn both, and no version can get both right."
        yield _trouble_by_share(
            "contradictions", "The same input with different answers", contradictory, size, 60, advice
        )
    if repeated:
        advice = "Remove copies: they weigh one situation more than others, and hide how few there are."
        yield _trouble_by_share("duplicates", "The same input more than once", repeated, size, 25, advice)
    yield from _imbalance(survey)
    outliers = _outliers(survey)
    if outliers:
        advice = "Read them: a whole thread or a log pasted into one case teaches little and costs much."
        count, examples = outliers
        yield _trouble_by_share("lengths", "Far longer or shorter than the others", count, size, 10, advice, examples)
    if survey.broken_count:
        advice = "Decode the source as UTF-8 and import again; as it is, the model learns the damage."
        yield _trouble_by_share("encoding", "Broken characters", survey.broken_count, size, 30, advice, survey.broken)
    if survey.pii_cases:
        kinds = ", ".join(f"{name} {count:,}" for name, count in survey.pii_counts.most_common())
        advice = f"Mask them before training: {kinds}. Providers keep training files, and tuned models can repeat them."
        examples = [example for matches in survey.pii.values() for example in matches[:2]]
        yield _trouble_by_share(
            "pii", "What looks like personal data or keys", survey.pii_cases, size, 25, advice, examples
        )


def _imbalance(survey: Survey) -> Iterable[Trouble]:
    counts = {label: count for label, count in survey.labels.items() if label}
    if len(counts) < 2 or len(counts) > survey.size / 2:
        return
    untested = sorted((label for label in counts if not survey.tested[label]), key=lambda label: -counts[label])
    if untested:
        names = ", ".join(untested[:5])
        advice = f"Collect more of them, or give test a larger share: nothing is measured on {names}."
        count = sum(counts[label] for label in untested)
        yield _trouble_by_share("untested", f"{len(untested)} labels have no test case", count, survey.size, 40, advice)
    most = max(counts.values())
    rare = sorted((label for label, count in counts.items() if count < RARE * most), key=lambda label: counts[label])
    if rare:
        names = ", ".join(f"{label} ({counts[label]})" for label in rare[:5])
        advice = f"Collect more of: {names}. With so few, neither learning nor measuring them means much."
        yield Trouble("balance", f"{len(rare)} rare labels", sum(counts[label] for label in rare), 15, advice)


def _outliers(survey: Survey) -> tuple[int, list[dict[str, Any]]] | None:
    if survey.size < MIN_CASES_FOR_OUTLIERS:
        return None
    logs = np.log1p(np.array(survey.lengths, np.float64))
    median = float(np.median(logs))
    spread = float(np.median(np.abs(logs - median))) * 1.4826
    # Lengths that hardly differ would make every other one an outlier.
    far = np.abs(logs - median) > OUTLYING * max(spread, 0.1)
    indexes = np.flatnonzero(far)
    if not len(indexes):
        return None
    farthest = sorted(indexes.tolist(), key=lambda index: -abs(float(logs[index]) - median))[:EXAMPLES]
    examples = [{"case": survey.keys[index], "text": f"{survey.lengths[index]:,} characters"} for index in farthest]
    return len(indexes), examples


def _trouble_by_share(
    key: str, title: str, count: int, size: int, most: int, advice: str, examples: Iterable[dict[str, Any]] = ()
) -> Trouble:
    """Create a trouble whose points grow with the square root of its share: the first few cases matter most."""
    points = max(1, round(most * math.sqrt(min(1.0, count / size))))
    return Trouble(key, title, count, points, advice, tuple(examples))


def histogram(lengths: Iterable[int], bars: int = 16) -> list[dict[str, int]]:
    """Count texts by length: bars of equal width in ln(length), as [{"from", "to", "count"}]."""
    values = np.array(list(lengths), np.float64)
    if not len(values):
        return []
    low, high = max(1.0, float(values.min())), max(2.0, float(values.max()) + 1)
    edges = np.unique(np.round(np.geomspace(low, high, bars + 1)))
    counts, _ = np.histogram(np.maximum(values, 1), edges)
    return [
        {"from": int(start), "to": int(end) - 1, "count": int(count)}
        for start, end, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]


def passes_luhn(text: str) -> bool:
    """Return whether digits could be a card's number (Luhn's check digit); nine of ten random ones fail."""
    digits = [int(character) for character in text if character.isdigit()]
    doubled = (digit * 2 - 9 * (digit > 4) if index % 2 else digit for index, digit in enumerate(reversed(digits)))
    return 13 <= len(digits) <= 19 and sum(doubled) % 10 == 0


def _is_likely_personal(kind: str, text: str) -> bool:
    """Return whether a match is likely to be personal data: numbers of invoices look like telephone numbers too."""
    if kind == "card":
        return passes_luhn(text)
    return kind != "phone" or sum(character.isdigit() for character in text) >= MIN_PHONE_DIGITS


def _add_example(examples: list[dict[str, Any]], key: int, text: str) -> None:
    if len(examples) < EXAMPLES:
        examples.append({"case": key, "text": text[:MAX_SHOWN_LENGTH]})
