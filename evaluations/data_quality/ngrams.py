"""Hashes of all pieces of many texts at once. Pure, in numpy.

Texts are in the form of `evaluations.datasets.cases.comparison_form` (words with one space between). Every piece of a
text, by words or by letters, has the hash sum(letter[j] * B**(j - start)) modulo 2**64; with the running sums of one
chunk of texts each piece costs one subtraction and one product, so nothing is done letter by letter in Python.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Indexes = NDArray[np.int64]
# Odd, so that it has an inverse modulo 2**64; otherwise arbitrary (the 64-bit golden ratio).
BASE = np.uint64(0x9E3779B97F4A7C15)
INVERSE = np.uint64(pow(int(BASE), -1, 2**64))
SPACE = 32


@dataclass(frozen=True)
class Grams:
    """Pieces of several texts: `hashes[i]` belongs to text `texts[i]`; sorted by text, each piece of a text once."""

    hashes: Hashes
    texts: Indexes

    def __len__(self) -> int:
        return len(self.hashes)


class Chunk:
    """Some texts, hashed together."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.count = len(texts)
        joined = "".join(f"{text} " for text in texts)
        letters = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
        # +1: a text of letters zero would have the hash of none.
        self._letters = letters + np.uint64(1)
        powers = np.ones(len(letters) + 1, np.uint64)
        np.cumprod(np.full(len(letters), BASE), out=powers[1:])
        self._sums = np.zeros(len(letters) + 1, np.uint64)
        np.cumsum(self._letters * powers[:-1], out=self._sums[1:])
        self._inverse = np.ones(len(letters) + 1, np.uint64)
        np.cumprod(np.full(len(letters), INVERSE), out=self._inverse[1:])
        lengths = np.fromiter((len(text) + 1 for text in texts), np.int64, self.count)
        self._ends = np.cumsum(lengths)
        self._starts = self._ends - lengths
        self._spaces = np.flatnonzero(letters == SPACE)

    def words(self, size: int) -> Grams:
        """Return every run of `size` words; a text with fewer has none."""
        if not len(self._spaces):
            return _none()
        # A word ends at each space; it starts after the space before.
        word_ends = self._spaces
        word_starts = np.concatenate(([0], self._spaces[:-1] + 1))
        is_word = word_ends > word_starts
        word_ends, word_starts = word_ends[is_word], word_starts[is_word]
        if len(word_ends) < size:
            return _none()
        starts, ends = word_starts[: len(word_starts) - size + 1], word_ends[size - 1 :]
        return self._pieces(starts, ends)

    def letters(self, size: int) -> Grams:
        """Return every run of `size` letters, spaces included; a shorter text is one piece of its own."""
        starts = np.arange(max(0, len(self._letters) - size + 1), dtype=np.int64)
        whole = np.flatnonzero(self._ends - 1 - self._starts < size)
        pieces = self._pieces(starts, starts + size)
        if not len(whole):
            return pieces
        short = self._pieces(self._starts[whole], self._ends[whole] - 1)
        return _unique(np.concatenate((pieces.hashes, short.hashes)), np.concatenate((pieces.texts, short.texts)))

    def _pieces(self, starts: Indexes, ends: Indexes) -> Grams:
        """Return the pieces from `starts` to before `ends` that lie within one text."""
        texts = np.searchsorted(self._ends, starts, side="right")
        # The last letter of a text's range is the space that was appended to it.
        inside = (texts < self.count) & (ends > starts)
        inside &= ends <= self._ends[np.minimum(texts, self.count - 1)] - 1
        starts, ends, texts = starts[inside], ends[inside], texts[inside]
        return _unique((self._sums[ends] - self._sums[starts]) * self._inverse[starts], texts)


def _unique(hashes: Hashes, texts: Indexes) -> Grams:
    order = np.lexsort((hashes, texts))
    hashes, texts = hashes[order], texts[order]
    if len(hashes):
        new = np.ones(len(hashes), bool)
        new[1:] = (hashes[1:] != hashes[:-1]) | (texts[1:] != texts[:-1])
        hashes, texts = hashes[new], texts[new]
    return Grams(hashes, texts)


def _none() -> Grams:
    return Grams(np.empty(0, np.uint64), np.empty(0, np.int64))
