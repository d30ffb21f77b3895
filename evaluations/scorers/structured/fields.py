"""Members of the output's JSON object against the expected ones: precision, recall and F1."""

from typing import Any

from evaluations.datasets.cases import compared
from evaluations.scorers.base import Outside, Parameter, Parameters, Sample, Score, Scorer, clipped


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """The values in a document by their paths: {"a": {"b": 1}} is {"/a/b": 1}."""
    if isinstance(value, dict) and value:
        return {k: v for name in value for k, v in flat(value[name], f"{path}/{name}").items()}
    if isinstance(value, list) and value:
        return {k: v for place, one in enumerate(value) for k, v in flat(one, f"{path}/{place}").items()}
    return {path: value}


def score(sample: Sample, parameters: Parameters, _outside: Outside) -> Score | None:
    if not isinstance(sample.expected, dict):
        return None
    if not isinstance(sample.parsed, dict):
        return Score(0.0, "The output is no JSON object.", {"right": 0, "given": 0, "expected": len(sample.expected)})
    wanted, given = flat(sample.expected), flat(sample.parsed)
    if parameters.get("only_expected", False):
        given = {path: value for path, value in given.items() if path in wanted}
    loose = bool(parameters.get("loose", False))
    wrong = [path for path in wanted if path not in given or not _same(wanted[path], given[path], loose=loose)]
    right = len(wanted) - len(wrong)
    # F1 = 2 x right / (given + expected), the harmonic mean of precision and recall.
    value = 2 * right / (len(given) + len(wanted)) if given or wanted else 1.0
    note = f"Not as expected: {clipped(', '.join(wrong))}." if wrong else ""
    if not note and value < 1:
        note = f"Not asked for: {clipped(', '.join(sorted(given.keys() - wanted.keys())))}."
    return Score(value, note, {"right": right, "given": len(given), "expected": len(wanted)})


def _same(wanted: Any, given: Any, *, loose: bool) -> bool:
    if loose and isinstance(wanted, str) and isinstance(given, str):
        return compared(wanted) == compared(given)
    return bool(wanted == given) and isinstance(wanted, bool) == isinstance(given, bool)


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
