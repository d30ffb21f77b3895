"""The model calls the tools that it should, with the arguments that it should."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from evaluations.scorers.base import MISSING, Parameter, Parameters, Sample, Score, Scorer, ScoringContext, clipped


def score(sample: Sample, parameters: Parameters, _context: ScoringContext) -> Score | None:
    expected = _calls_of(sample.expected)
    if expected is None:
        return None
    names_only = bool(parameters.get("names_only", False))
    actual = [_comparable(call, names_only=names_only) for call in sample.tool_calls or ()]
    missing = [_comparable(call, names_only=names_only) for call in expected]
    extra = []
    for call in actual:
        if call in missing:
            missing.remove(call)
        else:
            extra.append(call)
    total = len(actual) + len(expected)
    # The Dice coefficient of both lists: calls that are missing and calls that are too many count alike.
    value = 1.0 if not total else (total - len(missing) - len(extra)) / total
    notes = [
        *(f"{_written(call)} was not called." for call in missing),
        *(f"{_written(call)} was called and not expected." for call in extra),
    ]
    return Score(value, clipped(" ".join(notes)))


def _calls_of(expected: Any) -> Sequence[Mapping[str, Any]] | None:
    """Return the calls of an expected output, `{"tool_calls": [...]}`; None where it has none."""
    calls = expected.get("tool_calls") if isinstance(expected, Mapping) else None
    if not isinstance(calls, list) or not all(isinstance(call, Mapping) for call in calls):
        return None
    return calls


def _comparable(call: Mapping[str, Any], *, names_only: bool) -> tuple[str, Any]:
    """Return the name and the arguments of a call as values: neither spacing nor the order of members counts."""
    function = call["function"] if isinstance(call.get("function"), Mapping) else call
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except (ValueError, RecursionError):
            arguments = (MISSING, arguments)
    return str(function.get("name")), None if names_only else arguments


def _written(call: tuple[str, Any]) -> str:
    name, arguments = call
    return name if arguments is None else f"{name}({json.dumps(arguments, ensure_ascii=False, default=str)[:80]})"


SCORER = Scorer(
    "Calls of tools",
    'The calls of the answer are those of the expected output, {"tool_calls": [{"name": ..., "arguments": {...}}]}, in '
    "any order.",
    score,
    (Parameter("names_only", "boolean", "Compare the tools’ names only", False),),
    place=25,
    needs_expected=True,
)
