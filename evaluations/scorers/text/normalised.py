"""The output is the expected answer, whatever its case, spacing and closing punctuation."""

from evaluations.datasets.cases import comparison_form
from evaluations.scorers.base import Parameters, Sample, Score, Scorer, ScoringContext, clipped


def score(sample: Sample, _parameters: Parameters, _context: ScoringContext) -> Score | None:
    if sample.expected is None:
        return None
    is_same = comparison_form(sample.output) == comparison_form(sample.expected_text)
    return Score(1.0) if is_same else Score(0.0, f"Expected {clipped(sample.expected_text)}.")


SCORER = Scorer(
    "Normalised",
    "The output is the expected answer, whatever its case, spacing and closing punctuation.",
    score,
    place=11,
    needs_expected=True,
)
