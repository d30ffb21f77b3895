"""Cost of the call by the model's price on that day."""

from evaluations.scorers.base import Kind, Parameters, Sample, Score, Scorer, ScoringContext


def score(sample: Sample, _parameters: Parameters, _context: ScoringContext) -> Score | None:
    # A call without a known price is not free.
    return None if sample.cost_usd is None else Score(sample.cost_usd)


SCORER = Scorer(
    "Cost",
    "The cost of the call by the model's price on that day.",
    score,
    threshold=0.01,
    kind=Kind.MEASURE,
    unit="USD",
    place=71,
)
