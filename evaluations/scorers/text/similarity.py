"""Similarity in meaning of output and expected answer, by the installation's embedder."""

from evaluations.scorers.base import Parameters, Sample, Score, Scorer, ScoringContext


def score(sample: Sample, _parameters: Parameters, context: ScoringContext) -> Score | None:
    if sample.expected is None:
        return None
    if not sample.output.strip():
        return Score(0.0, "The output is empty.")
    return Score(max(0.0, min(1.0, context.similarity(sample.output, sample.expected_text))))


SCORER = Scorer(
    "Similar meaning",
    "The cosine of the embeddings of output and expected answer.",
    score,
    threshold=0.75,
    place=42,
    needs_expected=True,
    compares_meaning=True,
)
