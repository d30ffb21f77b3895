"""The output keeps to a JSON Schema: the prompt's own, or another."""

from evaluations.scorers.base import MISSING, Parameter, Parameters, Sample, Score, Scorer, ScoringContext, clipped
from registry.content.schema_check import UnusableSchemaError, violations


def score(sample: Sample, parameters: Parameters, _context: ScoringContext) -> Score | None:
    schema = parameters.get("schema") or sample.schema
    if schema is None:
        return None
    if sample.parsed is MISSING:
        return Score(0.0, "The output is not JSON.")
    try:
        first = next(iter(violations(schema, sample.parsed)), None)
    except UnusableSchemaError as error:
        return Score(0.0, f"The schema cannot be used: {clipped(str(error))}", is_unjudged=True)
    return Score(1.0) if first is None else Score(0.0, first)


SCORER = Scorer(
    "Keeps to the schema",
    "The output is JSON that keeps to the prompt's own schema, or to the one given here.",
    score,
    (Parameter("schema", "schema", "JSON Schema; the prompt's own where empty"),),
    place=31,
    is_limited=True,
    is_format=True,
)
