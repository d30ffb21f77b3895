"""Tokens of the answer, by the provider's count."""

from evaluations.scorers.base import Kind, Parameters, Sample, Score, Scorer, ScoringContext


def score(sample: Sample, _parameters: Parameters, _context: ScoringContext) -> Score | None:
    return Score(float(sample.tokens_out))


SCORER = Scorer(
    "Tokens",
    "How many tokens the answer has, by the provider's count.",
    score,
    threshold=500,
    kind=Kind.MEASURE,
    unit="tokens",
    place=72,
)
