"""How early the first expected source was retrieved: the reciprocal rank, whose mean over cases is MRR (Voorhees, "The
TREC-8 Question Answering Track Report", 1999)."""

from evaluations.scorers.base import Parameters, Sample, Score, Scorer, ScoringContext
from evaluations.scorers.retrieval.ranking import CUTOFF, missing_note, relevance_by_rank


def score(sample: Sample, parameters: Parameters, _context: ScoringContext) -> Score | None:
    relevant = relevance_by_rank(sample, parameters)
    if relevant is None:
        return None
    if True not in relevant:
        return Score(0.0, f"Not retrieved: {missing_note(sample, parameters)}.")
    rank = relevant.index(True) + 1
    return Score(1 / rank, "" if rank == 1 else f"First at rank {rank}.")


SCORER = Scorer(
    "Source rank",
    "1 divided by the rank of the first document that the case names; the mean over cases is the mean reciprocal rank.",
    score,
    parameters=(CUTOFF,),
    threshold=0.5,
    place=61,
    needs_expected=True,
    needs_retrieval=True,
)
