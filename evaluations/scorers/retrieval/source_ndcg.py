"""How well all expected sources are ranked: normalised discounted cumulative gain with gains of 0 and 1 (Järvelin and
Kekäläinen, "Cumulated gain-based evaluation of IR techniques", ACM TOIS 20(4), 2002)."""

from math import log2

from evaluations.scorers.base import Parameters, Sample, Score, Scorer, ScoringContext
from evaluations.scorers.retrieval.ranking import CUTOFF, expected_sources, missing_note, relevance_by_rank


def score(sample: Sample, parameters: Parameters, _context: ScoringContext) -> Score | None:
    relevant = relevance_by_rank(sample, parameters)
    if relevant is None:
        return None
    gain = sum(1 / log2(rank + 1) for rank, is_relevant in enumerate(relevant, 1) if is_relevant)
    count = len(expected_sources(sample))
    possible = min(count, int(parameters["k"])) if parameters.get("k") else count
    best = sum(1 / log2(rank + 1) for rank in range(1, possible + 1))
    missing = missing_note(sample, parameters)
    return Score(gain / best, f"Not retrieved: {missing}." if missing else "")


SCORER = Scorer(
    "Source ranking",
    "How well the documents that the case names are ranked among those retrieved (nDCG@k), from 0 to 1.",
    score,
    parameters=(CUTOFF,),
    threshold=0.5,
    place=62,
    needs_expected=True,
    needs_retrieval=True,
)
