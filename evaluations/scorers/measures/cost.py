"""What the call cost by the model's price on that day."""

from evaluations.scorers.base import Kind, Outside, Parameters, Sample, Score, Scorer


def score(sample: Sample, _parameters: Parameters, _outside: Outside) -> Score | None:
    # What nobody knows the price of is not free.
    return None if sample.cost_usd is None else Score(sample.cost_usd)


SCORER = Scorer(
    "Cost",
    "What the call cost by the model's price on that day.",
    score,
    threshold=0.01,
    kind=Kind.MEASURE,
    unit="USD",
    place=71,
)
