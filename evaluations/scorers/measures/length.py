"""How many characters the answer has."""

from evaluations.scorers.base import Kind, Outside, Parameters, Sample, Score, Scorer


def score(sample: Sample, _parameters: Parameters, _outside: Outside) -> Score | None:
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
