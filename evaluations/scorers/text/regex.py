"""The output matches a regular expression somewhere."""

import regex

from evaluations.scorers.base import Parameter, Parameters, Sample, Score, Scorer, ScoringContext, clipped

# Some expressions run for ever; no honest one needs this long.
TIMEOUT_SECONDS = 0.2


def score(sample: Sample, parameters: Parameters, _context: ScoringContext) -> Score | None:
    pattern = str(parameters["pattern"])
    try:
        match = regex.search(pattern, sample.output, timeout=TIMEOUT_SECONDS)
    except TimeoutError:
        return Score(0.0, f"The expression took longer than {TIMEOUT_SECONDS} s on this output.")
    return Score(1.0) if match else Score(0.0, f"Does not match {clipped(pattern)}.")


SCORER = Scorer(
    "Regular expression",
    "The output matches a regular expression somewhere.",
    score,
    (Parameter("pattern", "text", "Expression", required=True),),
    place=21,
)
