"""Lexical similarity where no embedder is installed: TF-IDF over words and their parts. Pure: usable without Django.

A text is the vector of its terms, each weighted (1 + ln tf) * (1 + ln((1 + n) / (1 + df))) and the whole scaled to unit
length (Salton and Buckley 1988; the smoothed idf as scikit-learn has it); similarity is the cosine. Terms are words
without case and accents, and their runs of four letters, so that plurals and typos still match.
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
    """An index of texts, which scores them by lexical similarity to a query."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._size = len(texts)
        self._numbers: dict[str, int] = {}
        terms_of, text_of, counts = array("i"), array("i"), array("i")
        for index, text in enumerate(texts):
            for term, count in Counter(terms(text)).items():
                terms_of.append(self._numbers.setdefault(term, len(self._numbers)))
                text_of.append(index)
                counts.append(count)
        term_numbers = np.array(terms_of, np.int32)
        text_numbers = np.array(text_of, np.int32)
        frequency = np.bincount(term_numbers, minlength=len(self._numbers))
        self._idf = 1 + np.log((1 + self._size) / (1 + frequency))
        weights = (1 + np.log(np.array(counts, np.float64))) * self._idf[term_numbers]
        lengths = np.sqrt(np.bincount(text_numbers, weights**2, minlength=self._size))
        # Sorted by term: a term's texts and their weights are one stretch of two arrays.
        order = np.argsort(term_numbers, kind="stable")
        self._text_numbers = text_numbers[order]
        self._weight = (weights / np.maximum(lengths[text_numbers], 1e-12))[order].astype(np.float32)
        self._ends = np.cumsum(frequency)

    def scores(self, query: str) -> NDArray[np.float32]:
        """Return the cosine of the query with each text, 0 to 1."""
        scores = np.zeros(self._size, np.float32)
        for number, weight in self._weights(Counter(terms(query))).items():
            stretch = slice(int(self._ends[number - 1]) if number else 0, int(self._ends[number]))
            scores[self._text_numbers[stretch]] += np.float32(weight) * self._weight[stretch]
        return scores

    def _weights(self, counts: Counter[str]) -> dict[int, float]:
        """Return the weights of a query's known terms, by number, scaled to unit length."""
        counts_by_number = {self._numbers[term]: count for term, count in counts.items() if term in self._numbers}
        raw = {number: (1 + math.log(count)) * float(self._idf[number]) for number, count in counts_by_number.items()}
        length = math.sqrt(sum(weight * weight for weight in raw.values())) or 1.0
        return {number: weight / length for number, weight in raw.items()}


def terms(text: str) -> list[str]:
    """Return the words of a text without case and accents, and the parts of longer words."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    words = WORD.findall("".join(letter for letter in plain if not unicodedata.combining(letter)))
    parts = [word[start : start + PART] for word in words if len(word) > PART for start in range(len(word) - PART + 1)]
    # A prefix distinguishes a part from a whole word with the same spelling.
    return [*words, *(f"~{part}" for part in parts)]
