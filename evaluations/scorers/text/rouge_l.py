"""The longest run of words, gaps allowed, that output and expected answer share: ROUGE-L (Lin 2004), as F1."""

import re

from rapidfuzz.distance import LCSseq

from evaluations.scorers.base import Outside, Parameters, Sample, Score, Scorer

MOST_WORDS = 4_000
WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    return WORD.findall(text.casefold())[:MOST_WORDS]


def score(sample: Sample, _parameters: Parameters, _outside: Outside) -> Score | None:
    if sample.expected is None:
        return None
    given, wanted = words(sample.output), words(sample.expected_text)
    if not given or not wanted:
        return Score(1.0 if given == wanted else 0.0)
    return Score(2 * LCSseq.similarity(given, wanted) / (len(given) + len(wanted)))


SCORER = Scorer(
    "ROUGE-L",
    "The longest run of words, gaps allowed, that output and expected answer share, as F1.",
    score,
    threshold=0.75,
    place=41,
    needs_expected=True,
)
