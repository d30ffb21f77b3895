"""The output matches a regular expression somewhere."""

import regex

from evaluations.scorers.base import Outside, Parameter, Parameters, Sample, Score, Scorer, clipped

# An expression can be written that takes for ever; so much is more than any honest one needs.
SECONDS = 0.2


def score(sample: Sample, parameters: Parameters, _outside: Outside) -> Score | None:
    pattern = str(parameters["pattern"])
    try:
        found = regex.search(pattern, sample.output, timeout=SECONDS)
    except TimeoutError:
        return Score(0.0, f"The expression took longer than {SECONDS} s on this output.")
    return Score(1.0) if found else Score(0.0, f"Does not match {clipped(pattern)}.")


SCORER = Scorer(
    "Regular expression",
    "The output matches a regular expression somewhere.",
    score,
    (Parameter("pattern", "text", "Expression", required=True),),
    place=21,
)
