"""The output is the expected number, within a tolerance."""

import math
import re

from evaluations.scorers.base import Parameter, Parameters, Sample, Score, Scorer, ScoringContext

NUMBER = re.compile(r"[-+]?(?:\d[\d,]*)?\.?\d+(?:[eE][-+]?\d+)?")
MAX_LENGTH = 10_000


def number_in(value: object) -> float | None:
    """Return a number, or the last one in a text: answers end with their result."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if math.isfinite(value) else None
    numbers = NUMBER.findall(value[-MAX_LENGTH:]) if isinstance(value, str) else []
    number = float(numbers[-1].replace(",", "")) if numbers else None
    return number if number is not None and math.isfinite(number) else None


def score(sample: Sample, parameters: Parameters, _context: ScoringContext) -> Score | None:
    member = str(parameters.get("member") or "")
    expected = number_in(sample.expected.get(member) if isinstance(sample.expected, dict) else sample.expected)
    if expected is None:
        return None
    answered = number_in(sample.parsed.get(member) if isinstance(sample.parsed, dict) else sample.output)
    if answered is None:
        return Score(0.0, "There is no number in the output.")
    reach = max(float(parameters.get("absolute") or 0), abs(expected) * float(parameters.get("relative") or 0))
    if abs(answered - expected) <= reach + 1e-12:
        return Score(1.0)
    return Score(0.0, f"{answered:g} is not within {reach:g} of {expected:g}.")


SCORER = Scorer(
    "Number",
    "The output (or a member of its JSON object) is the expected number, within a tolerance.",
    score,
    (
        Parameter("member", "text", "Member of the JSON object, where it is one"),
        Parameter("absolute", "number", "May differ by", 0),
        Parameter("relative", "number", "May differ by this share of what is expected", 0),
    ),
    place=22,
    needs_expected=True,
)
