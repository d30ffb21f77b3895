"""The output is JSON and nothing else."""

from evaluations.scorers.base import MISSING, Parameter, Parameters, Sample, Score, Scorer, ScoringContext


def score(sample: Sample, parameters: Parameters, _context: ScoringContext) -> Score:
    if sample.parsed is MISSING:
        return Score(0.0, "The output is not JSON.")
    if parameters.get("object", False) and not isinstance(sample.parsed, dict):
        return Score(0.0, "The output is JSON, but not an object.")
    return Score(1.0)


SCORER = Scorer(
    "Valid JSON",
    "The output is JSON and nothing else.",
    score,
    (Parameter("object", "boolean", "It must be an object", False),),
    place=30,
    is_format=True,
)
