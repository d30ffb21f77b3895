"""Faults of an answer's format: cut off, not JSON, not by the schema, an unknown tool. Pure."""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from evaluations.providers.chat import Completion, storable

MAX_FAULTS = 10
MAX_FAULT_LENGTH = 300
# How JSON texts break a schema, for each the first few; under limits, because the schema is the user's.
Violations = Callable[[Mapping[str, Any], Sequence[str]], Sequence[Sequence[str]]]


def find_faults(content: Mapping[str, Any], answer: Completion, violations: Violations) -> list[str]:
    """Return the first few faults as sentences; none where the answer follows the response format and the tools."""
    if answer.refusal:
        return []
    faults = itertools.islice(_faults(content, answer, violations), MAX_FAULTS)
    return [storable(fault)[:MAX_FAULT_LENGTH] for fault in faults]


def _faults(content: Mapping[str, Any], answer: Completion, violations: Violations) -> Iterator[str]:
    if answer.finish_reason == "length":
        yield "Cut off: it reached the maximum length."
    if answer.tool_calls:
        yield from _tool_faults(content, answer, violations)
        return
    response = content.get("response") or {}
    form = response.get("format", "text")
    if form == "text":
        return
    try:
        document = json.loads(answer.text)
    except (ValueError, RecursionError):
        yield "The answer is not JSON."
        return
    if form == "json_object" and not isinstance(document, dict):
        yield "The answer is JSON, but not an object."
    if form == "json_schema" and response.get("schema"):
        yield from violations(response["schema"], [answer.text])[0]


def _tool_faults(content: Mapping[str, Any], answer: Completion, violations: Violations) -> Iterator[str]:
    functions = [tool.get("function") or {} for tool in content.get("tools") or ()]
    schemas = {str(function.get("name")): function.get("parameters") for function in functions}
    for call in answer.tool_calls or ():
        name = call["name"]
        if name not in schemas:
            yield f"It calls {name or 'a function without a name'}, which the prompt does not offer."
            continue
        arguments = call["arguments"] or "{}"
        try:
            json.loads(arguments)
        except (ValueError, RecursionError):
            yield f"The arguments for {name} are not JSON."
            continue
        if schema := schemas[name]:
            yield from (f"{name}: {fault}" for fault in violations(schema, [arguments])[0])
