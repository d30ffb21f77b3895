"""How many letters would have to change to make the output the expected answer, as a share kept."""

from rapidfuzz.distance import Levenshtein

from evaluations.scorers.base import Outside, Parameters, Sample, Score, Scorer

LONGEST = 20_000


def score(sample: Sample, _parameters: Parameters, _outside: Outside) -> Score | None:
    if sample.expected is None:
        return None
    value = Levenshtein.normalized_similarity(sample.output[:LONGEST], sample.expected_text[:LONGEST])
    return Score(float(value))


SCORER = Scorer(
    "Edit distance",
    "Levenshtein: the share of letters that need not change to make the output the expected answer.",
    score,
    threshold=0.8,
    place=40,
    needs_expected=True,
)
