"""Nearness of wording where no embedder is: TF-IDF over words and parts of words. Pure: usable without Django.

A text is the vector of its terms, each weighted (1 + ln tf) * (1 + ln((1 + n) / (1 + df))) and the whole scaled to unit
length (Salton and Buckley 1988; the smoothed idf as scikit-learn has it); nearness is the cosine. Terms are words
without case and accents, and their runs of four letters, so that plurals and typos still meet.
"""

import math
import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

NAME = "tf-idf@1"
WORD = re.compile(r"\w+")
PART = 4


class Lexicon:
    """Texts that can be asked which of them are worded most like a query."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._size = len(texts)
        self._numbers: dict[str, int] = {}
        terms_of, text_of, often = array("i"), array("i"), array("i")
        for index, text in enumerate(texts):
            for term, count in Counter(terms(text)).items():
                terms_of.append(self._numbers.setdefault(term, len(self._numbers)))
                text_of.append(index)
                often.append(count)
        found = np.array(terms_of, np.int32)
        where = np.array(text_of, np.int32)
        frequency = np.bincount(found, minlength=len(self._numbers))
        self._idf = 1 + np.log((1 + self._size) / (1 + frequency))
        weights = (1 + np.log(np.array(often, np.float64))) * self._idf[found]
        lengths = np.sqrt(np.bincount(where, weights**2, minlength=self._size))
        # Sorted by term: a term's texts and their weights are one stretch of two arrays.
        order = np.argsort(found, kind="stable")
        self._where = where[order]
        self._weight = (weights / np.maximum(lengths[where], 1e-12))[order].astype(np.float32)
        self._ends = np.cumsum(frequency)

    def scores(self, query: str) -> NDArray[np.float32]:
        """The cosine of the query with each text, 0 to 1."""
        found = np.zeros(self._size, np.float32)
        for number, weight in self._weights(Counter(terms(query))).items():
            stretch = slice(int(self._ends[number - 1]) if number else 0, int(self._ends[number]))
            found[self._where[stretch]] += np.float32(weight) * self._weight[stretch]
        return found

    def _weights(self, counts: Counter[str]) -> dict[int, float]:
        """The weights of a query's known terms, by number, of unit length."""
        known = {self._numbers[term]: often for term, often in counts.items() if term in self._numbers}
        raw = {number: (1 + math.log(often)) * float(self._idf[number]) for number, often in known.items()}
        length = math.sqrt(sum(weight * weight for weight in raw.values())) or 1.0
        return {number: weight / length for number, weight in raw.items()}


def terms(text: str) -> list[str]:
    """The words of a text without case and accents, and the parts of the longer ones."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    words = WORD.findall("".join(letter for letter in plain if not unicodedata.combining(letter)))
    parts = [word[start : start + PART] for word in words if len(word) > PART for start in range(len(word) - PART + 1)]
    # A mark keeps a part apart from the word that is spelled like it.
    return [*words, *(f"~{part}" for part in parts)]
