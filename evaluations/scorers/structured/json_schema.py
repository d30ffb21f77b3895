"""The output keeps to a JSON Schema: the prompt's own, or another."""

import functools
import json
from typing import Any

import jsonschema_rs

from evaluations.scorers.base import MISSING, Parameter, Parameters, Sample, Score, Scorer, ScoringContext, clipped


@functools.lru_cache(maxsize=64)
def validator(schema: str) -> Any:
    """Return a validator for a schema (JSON text); it fetches nothing, and no expression runs for ever."""
    return jsonschema_rs.validator_for(
        json.loads(schema), retriever=_refuse, pattern_options=jsonschema_rs.RegexOptions()
    )


def _refuse(address: str) -> Any:
    raise ValueError(f"{address} is not fetched")


def score(sample: Sample, parameters: Parameters, _context: ScoringContext) -> Score | None:
    schema = parameters.get("schema") or sample.schema
    if schema is None:
        return None
    if sample.parsed is MISSING:
        return Score(0.0, "The output is not JSON.")
    try:
        checks = validator(json.dumps(schema, sort_keys=True))
    except (ValueError, jsonschema_rs.ValidationError) as error:
        return Score(0.0, f"The schema cannot be used: {clipped(str(error))}")
    first = next(checks.iter_errors(sample.parsed), None)
    if first is None:
        return Score(1.0)
    return Score(0.0, clipped(describe_error(first)))


def describe_error(error: Any) -> str:
    """Describe a schema's error: where, and what."""
    where = "/".join(str(step) for step in error.instance_path) or "the whole"
    return f"{where}: {error.message}"


SCORER = Scorer(
    "Keeps to the schema",
    "The output is JSON that keeps to the prompt's own schema, or to the one given here.",
    score,
    (Parameter("schema", "schema", "JSON Schema; the prompt's own where empty"),),
    place=31,
)
