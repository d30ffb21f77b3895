"""Faults of an answer's format: cut off, not JSON, not by the schema, an unknown tool. Pure."""

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema_rs

from evaluations.providers.chat import Completion, storable
from evaluations.scorers.structured import json_schema

MAX_FAULTS = 10


def find_faults(content: Mapping[str, Any], answer: Completion) -> list[str]:
    """Return the first few faults as sentences; none where the answer follows the response format and the tools."""
    if answer.refusal:
        return []
    return list(itertools.islice(_faults(content, answer), MAX_FAULTS))


def _faults(content: Mapping[str, Any], answer: Completion) -> Iterator[str]:
    if answer.finish_reason == "length":
        yield "Cut off: it reached the maximum length."
    if answer.tool_calls:
        yield from _tool_faults(content, answer)
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
        yield from _schema_faults(response["schema"], document)


def _tool_faults(content: Mapping[str, Any], answer: Completion) -> Iterator[str]:
    functions = [tool.get("function") or {} for tool in content.get("tools") or ()]
    schemas = {str(function.get("name")): function.get("parameters") for function in functions}
    for call in answer.tool_calls or ():
        name = call["name"]
        if name not in schemas:
            yield f"It calls {name or 'a function without a name'}, which the prompt does not offer."
            continue
        try:
            arguments = json.loads(call["arguments"] or "{}")
        except (ValueError, RecursionError):
            yield f"The arguments for {name} are not JSON."
            continue
        yield from (f"{name}: {fault}" for fault in _schema_faults(schemas[name] or {}, arguments))


def _schema_faults(schema: Mapping[str, Any], document: Any) -> Iterator[str]:
    try:
        checks = json_schema.validator(json.dumps(schema, sort_keys=True))
    except (ValueError, jsonschema_rs.ValidationError) as error:
        yield f"The schema cannot be used: {error}"[:300]
        return
    try:
        yield from [storable(json_schema.describe_error(error))[:300] for error in checks.iter_errors(document)]
    except ValueError as error:
        # Nested so deeply that the validator gives up.
        yield f"The answer cannot be checked by the schema: {error}"[:300]
