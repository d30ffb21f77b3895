"""Latency of the answer, as this server measured it."""

from evaluations.scorers.base import Kind, Parameters, Sample, Score, Scorer, ScoringContext


def score(sample: Sample, _parameters: Parameters, _context: ScoringContext) -> Score | None:
    return Score(sample.latency_ms)


SCORER = Scorer(
    "Latency",
    "How long the answer took, as this server measured it.",
    score,
    threshold=2_000,
    kind=Kind.MEASURE,
    unit="ms",
    place=70,
)
