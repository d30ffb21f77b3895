"""The output is the expected number, within a tolerance."""

import math
import re

from evaluations.scorers.base import Outside, Parameter, Parameters, Sample, Score, Scorer

NUMBER = re.compile(r"[-+]?(?:\d[\d,]*)?\.?\d+(?:[eE][-+]?\d+)?")
LONGEST = 10_000


def number_in(value: object) -> float | None:
    """A number, or the last one in a text: answers end with their result."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if math.isfinite(value) else None
    found = NUMBER.findall(value[-LONGEST:]) if isinstance(value, str) else []
    number = float(found[-1].replace(",", "")) if found else None
    return number if number is not None and math.isfinite(number) else None


def score(sample: Sample, parameters: Parameters, _outside: Outside) -> Score | None:
    member = str(parameters.get("member") or "")
    expected = number_in(sample.expected.get(member) if isinstance(sample.expected, dict) else sample.expected)
    if expected is None:
        return None
    found = number_in(sample.parsed.get(member) if isinstance(sample.parsed, dict) else sample.output)
    if found is None:
        return Score(0.0, "There is no number in the output.")
    reach = max(float(parameters.get("absolute") or 0), abs(expected) * float(parameters.get("relative") or 0))
    if abs(found - expected) <= reach + 1e-12:
        return Score(1.0)
    return Score(0.0, f"{found:g} is not within {reach:g} of {expected:g}.")


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
