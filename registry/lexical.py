"""Nearness of wording where no embedder is: TF-IDF over words and parts of words. Pure: usable without Django.

A text is the vector of its terms, each weighted (1 + ln tf) * (1 + ln((1 + n) / (1 + df))) and the whole scaled to unit
length (Salton and Buckley 1988; the smoothed idf as scikit-learn has it); nearness is the cosine. Terms are words
without case and accents, and their runs of four letters, so that plurals and typos still meet.
"""

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

NAME = "tf-idf@1"
WORD = re.compile(r"\w+")
PART = 4


class Lexicon:
    """Texts that can be asked which of them are worded most like a query."""

    def __init__(self, texts: Sequence[str]) -> None:
        counted = [Counter(terms(text)) for text in texts]
        frequency = Counter(term for counts in counted for term in counts)
        total = len(counted)
        self._size = total
        self._idf = {term: 1 + math.log((1 + total) / (1 + often)) for term, often in frequency.items()}
        postings: dict[str, tuple[list[int], list[float]]] = defaultdict(lambda: ([], []))
        for index, counts in enumerate(counted):
            for term, weight in self._weights(counts).items():
                postings[term][0].append(index)
                postings[term][1].append(weight)
        self._postings = {
            term: (np.array(where, np.int32), np.array(weights, np.float32))
            for term, (where, weights) in postings.items()
        }

    def scores(self, query: str) -> NDArray[np.float32]:
        """The cosine of the query with each text, 0 to 1."""
        found = np.zeros(self._size, np.float32)
        for term, weight in self._weights(Counter(terms(query))).items():
            where, weights = self._postings[term]
            found[where] += np.float32(weight) * weights
        return found

    def _weights(self, counts: Counter[str]) -> dict[str, float]:
        """The weights of a text's known terms, of unit length."""
        raw = {term: (1 + math.log(often)) * self._idf[term] for term, often in counts.items() if term in self._idf}
        length = math.sqrt(sum(weight * weight for weight in raw.values())) or 1.0
        return {term: weight / length for term, weight in raw.items()}


def terms(text: str) -> list[str]:
    """The words of a text without case and accents, and the parts of the longer ones."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    words = WORD.findall("".join(letter for letter in plain if not unicodedata.combining(letter)))
    parts = [word[start : start + PART] for word in words if len(word) > PART for start in range(len(word) - PART + 1)]
    # A mark keeps a part apart from the word that is spelled like it.
    return [*words, *(f"~{part}" for part in parts)]
