"""Length of the answer in characters."""

from evaluations.scorers.base import Kind, Parameters, Sample, Score, Scorer, ScoringContext


def score(sample: Sample, _parameters: Parameters, _context: ScoringContext) -> Score | None:
    return Score(float(len(sample.output)))


SCORER = Scorer(
    "Length",
    "How many characters the answer has.",
    score,
    threshold=2_000,
    kind=Kind.MEASURE,
    unit="characters",
    place=73,
)
