"""The output matches a regular expression somewhere."""

import regex

from evaluations.scorers.base import Parameter, Parameters, Sample, Score, Scorer, ScoringContext, clipped


def score(sample: Sample, parameters: Parameters, _context: ScoringContext) -> Score | None:
    pattern = str(parameters["pattern"])
    match = regex.search(pattern, sample.output)
    return Score(1.0) if match else Score(0.0, f"Does not match {clipped(pattern)}.")


SCORER = Scorer(
    "Regular expression",
    "The output matches a regular expression somewhere.",
    score,
    (Parameter("pattern", "text", "Expression", required=True),),
    place=21,
    # Some expressions run for ever.
    is_limited=True,
)
