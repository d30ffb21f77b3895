"""The longest run of words, gaps allowed, that output and expected answer share: ROUGE-L (Lin 2004), as F1."""

import re

from rapidfuzz.distance import LCSseq

from evaluations.scorers.base import Parameters, Sample, Score, Scorer, ScoringContext

MAX_WORDS = 4_000
WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    return WORD.findall(text.casefold())[:MAX_WORDS]


def score(sample: Sample, _parameters: Parameters, _context: ScoringContext) -> Score | None:
    if sample.expected is None:
        return None
    output, expected = words(sample.output), words(sample.expected_text)
    if not output or not expected:
        return Score(1.0 if output == expected else 0.0)
    return Score(2 * LCSseq.similarity(output, expected) / (len(output) + len(expected)))


SCORER = Scorer(
    "ROUGE-L",
    "The longest run of words, gaps allowed, that output and expected answer share, as F1.",
    score,
    threshold=0.75,
    place=41,
    needs_expected=True,
)
