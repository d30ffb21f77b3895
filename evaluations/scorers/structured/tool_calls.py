"""The model calls the tools that it should, with the arguments that it should."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from evaluations.scorers.base import Parameter, Parameters, Sample, Score, Scorer, ScoringContext, clipped

# So many differences are named.
MAX_NOTES = 5


def score(sample: Sample, parameters: Parameters, _context: ScoringContext) -> Score | None:
    expected = _calls_of(sample.expected)
    if expected is None:
        return None
    names_only = bool(parameters.get("names_only", False))
    actual = Counter(_comparable(call, names_only=names_only) for call in sample.tool_calls or ())
    expected_calls = Counter(_comparable(call, names_only=names_only) for call in expected)
    missing, extra = expected_calls - actual, actual - expected_calls
    total, wrong = actual.total() + expected_calls.total(), missing.total() + extra.total()
    # The Dice coefficient of both lists: calls that are missing and calls that are too many count alike.
    value = 1.0 if not total else (total - wrong) / total
    notes = [
        *(f"{_written(call)} was not called." for call in missing.elements()),
        *(f"{_written(call)} was called and not expected." for call in extra.elements()),
    ]
    return Score(value, clipped(" ".join(notes[:MAX_NOTES])))


def _calls_of(expected: Any) -> Sequence[Mapping[str, Any]] | None:
    """Return the calls of an expected output, `{"tool_calls": [...]}`; None where it has none."""
    calls = expected.get("tool_calls") if isinstance(expected, Mapping) else None
    if not isinstance(calls, list) or not all(isinstance(call, Mapping) for call in calls):
        return None
    return calls


def _comparable(call: Mapping[str, Any], *, names_only: bool) -> tuple[str, str]:
    """Return the name and the arguments of a call in one form: neither spacing nor the order of members counts, and a
    call without arguments has none."""
    function = call["function"] if isinstance(call.get("function"), Mapping) else call
    name, arguments = str(function.get("name")), function.get("arguments")
    if names_only:
        return name, ""
    if isinstance(arguments, str) and arguments:
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            return name, arguments
    # As texts true is not 1, which it is in Python.
    members = {} if arguments in (None, "") else _whole(arguments)
    return name, json.dumps(members, sort_keys=True, ensure_ascii=False)


def _whole(value: Any) -> Any:
    """Return a JSON value with its whole floats as integers: 1.0 is 1."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {str(name): _whole(member) for name, member in value.items()}
    return [_whole(member) for member in value] if isinstance(value, list) else value


def _written(call: tuple[str, str]) -> str:
    name, arguments = call
    return f"{name}({arguments[:80]})" if arguments else name


SCORER = Scorer(
    "Calls of tools",
    'The calls of the answer are those of the expected output, {"tool_calls": [{"name": ..., "arguments": {...}}]}, in '
    "any order.",
    score,
    (Parameter("names_only", "boolean", "Compare the tools’ names only", False),),
    place=25,
    needs_expected=True,
)
