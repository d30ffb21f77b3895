"""Whether one of the expected sources was retrieved: hit@k."""

from evaluations.scorers.base import Parameters, Sample, Score, Scorer, ScoringContext
from evaluations.scorers.retrieval.ranking import CUTOFF, missing_note, relevance_by_rank


def score(sample: Sample, parameters: Parameters, _context: ScoringContext) -> Score | None:
    relevant = relevance_by_rank(sample, parameters)
    if relevant is None:
        return None
    return Score(1.0) if any(relevant) else Score(0.0, f"Not retrieved: {missing_note(sample, parameters)}.")


SCORER = Scorer(
    "Source hit",
    "Whether one of the documents that the case names as its sources was retrieved (hit@k). For prompts that search.",
    score,
    parameters=(CUTOFF,),
    place=60,
    needs_expected=True,
    needs_retrieval=True,
)
