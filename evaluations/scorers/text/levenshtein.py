"""Edit distance: the share of letters that need not change to make the output the expected answer."""

from rapidfuzz.distance import Levenshtein

from evaluations.scorers.base import Parameters, Sample, Score, Scorer, ScoringContext

MAX_LENGTH = 20_000


def score(sample: Sample, _parameters: Parameters, _context: ScoringContext) -> Score | None:
    if sample.expected is None:
        return None
    value = Levenshtein.normalized_similarity(sample.output[:MAX_LENGTH], sample.expected_text[:MAX_LENGTH])
    return Score(float(value))


SCORER = Scorer(
    "Edit distance",
    "Levenshtein: the share of letters that need not change to make the output the expected answer.",
    score,
    threshold=0.8,
    place=40,
    needs_expected=True,
)
