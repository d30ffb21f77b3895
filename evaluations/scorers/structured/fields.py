"""Members of the output's JSON object against the expected ones: precision, recall and F1."""

from typing import Any

from evaluations.datasets.cases import comparison_form
from evaluations.scorers.base import Parameter, Parameters, Sample, Score, Scorer, ScoringContext, clipped


def flatten(value: Any, path: str = "") -> dict[str, Any]:
    """Map the values of a document by their paths: {"a": {"b": 1}} is {"/a/b": 1}."""
    if isinstance(value, dict) and value:
        return {k: v for name in value for k, v in flatten(value[name], f"{path}/{name}").items()}
    if isinstance(value, list) and value:
        return {k: v for place, member in enumerate(value) for k, v in flatten(member, f"{path}/{place}").items()}
    return {path: value}


def score(sample: Sample, parameters: Parameters, _context: ScoringContext) -> Score | None:
    if not isinstance(sample.expected, dict):
        return None
    if not isinstance(sample.parsed, dict):
        return Score(
            0.0, "The output is not a JSON object.", {"right": 0, "given": 0, "expected": len(sample.expected)}
        )
    expected, answered = flatten(sample.expected), flatten(sample.parsed)
    if parameters.get("only_expected", False):
        answered = {path: value for path, value in answered.items() if path in expected}
    loose = bool(parameters.get("loose", False))
    wrong = [
        path
        for path in expected
        if path not in answered or not _is_same_value(expected[path], answered[path], loose=loose)
    ]
    right = len(expected) - len(wrong)
    # F1 = 2 x right / (given + expected), the harmonic mean of precision and recall.
    value = 2 * right / (len(answered) + len(expected)) if answered or expected else 1.0
    note = f"Not as expected: {clipped(', '.join(wrong))}." if wrong else ""
    if not note and value < 1:
        note = f"Not expected: {clipped(', '.join(sorted(answered.keys() - expected.keys())))}."
    return Score(value, note, {"right": right, "given": len(answered), "expected": len(expected)})


def _is_same_value(expected: Any, answered: Any, *, loose: bool) -> bool:
    if loose and isinstance(expected, str) and isinstance(answered, str):
        return comparison_form(expected) == comparison_form(answered)
    return bool(expected == answered) and isinstance(expected, bool) == isinstance(answered, bool)


SCORER = Scorer(
    "Fields",
    "The members of the output's JSON object against the expected ones, as F1.",
    score,
    (
        Parameter("loose", "boolean", "Texts may differ in case, spacing and punctuation", False),
        Parameter("only_expected", "boolean", "Members that nobody expects do no harm", False),
    ),
    place=32,
    needs_expected=True,
)
