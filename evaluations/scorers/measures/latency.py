"""How long the answer took, as this server saw it."""

from evaluations.scorers.base import Kind, Outside, Parameters, Sample, Score, Scorer


def score(sample: Sample, _parameters: Parameters, _outside: Outside) -> Score | None:
    return Score(sample.latency_ms)


SCORER = Scorer(
    "Latency",
    "How long the answer took, as this server saw it.",
    score,
    threshold=2_000,
    kind=Kind.MEASURE,
    unit="ms",
    place=70,
)
