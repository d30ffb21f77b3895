"""Texts that contain much of another: shared runs of words. Pure, in numpy.

A held-out text is contained in another where the two share a run of 13 words (as GPT-3's and EleutherAI's evaluations
define contamination), or where half of its runs of 5 words are in the other. Runs that many held-out texts share are a
form, not a leak, and count for nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluations.ngrams import Chunk, Grams, Hashes, Indexes

LONG, SHORT = 13, 5
# Below this many runs of 5 words, half of them is an everyday phrase.
FEWEST_RUNS = 4
SHARE = 0.5
# A run in more held-out texts than this is boilerplate.
COMMONEST = 25


@dataclass(frozen=True)
class Contained:
    """A held-out text and another by their keys, how much of it the other has (0 to 1), and by runs of which length."""

    held: int
    other: int
    share: float
    words: int


class HeldOut:
    """The runs of the held-out texts, which others are then held against: some 60 bytes a word of the held-out ones.

    Both are given chunk by chunk, all of the held-out ones first.
    """

    def __init__(self) -> None:
        self._keys: list[int] = []
        self._grams: dict[int, list[Grams]] = {SHORT: [], LONG: []}
        self._indexes: dict[int, _Index] = {}

    def add(self, keys: Sequence[int], texts: Sequence[str]) -> None:
        chunk = Chunk(texts)
        for words, grams in self._grams.items():
            found = chunk.words(words)
            grams.append(Grams(found.hashes, found.texts + len(self._keys)))
        self._keys.extend(keys)

    def against(self, keys: Sequence[int], texts: Sequence[str]) -> Iterator[Contained]:
        """What these texts have of the held-out ones."""
        if not keys or not self._keys:
            return
        if not self._indexes:
            self._indexes = {words: _Index(grams, len(self._keys)) for words, grams in self._grams.items()}
            self._grams = {}
        chunk = Chunk(texts)
        found: dict[tuple[int, int], Contained] = {}
        for words, index in self._indexes.items():
            for held, other, share in index.shared(chunk.words(words), chunk.count):
                enough = words == LONG or (share >= SHARE and index.runs[held] >= FEWEST_RUNS)
                if enough and (held, other) not in found:
                    found[(held, other)] = Contained(self._keys[held], keys[other], share, words)
        yield from found.values()


class _Index:
    """Runs of one length in the held-out texts, sorted by hash."""

    def __init__(self, grams: Sequence[Grams], count: int) -> None:
        hashes = np.concatenate([one.hashes for one in grams])
        texts = np.concatenate([one.texts for one in grams])
        order = np.argsort(hashes, kind="stable")
        hashes, texts = hashes[order], texts[order]
        values, starts, counts = np.unique(hashes, return_index=True, return_counts=True)
        rare = counts <= COMMONEST
        self._values: Hashes = values[rare]
        self._starts: Indexes = starts[rare]
        self._counts: Indexes = counts[rare]
        self._texts: Indexes = texts
        kept = np.repeat(rare, counts)
        self.runs: NDArray[np.int64] = np.bincount(texts[kept], minlength=count)

    def shared(self, grams: Grams, count: int) -> Iterator[tuple[int, int, float]]:
        """(held-out text, other text of `count`, share of the held-out one's runs that the other has)."""
        if not len(grams) or not len(self._values):
            return
        places = np.minimum(np.searchsorted(self._values, grams.hashes), len(self._values) - 1)
        hit = self._values[places] == grams.hashes
        places, others = places[hit], grams.texts[hit]
        counts = self._counts[places]
        # Every held-out text of every run that was hit, beside the text that hit it.
        offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        held = self._texts[np.repeat(self._starts[places], counts) + offsets]
        pairs, often = np.unique(held * count + np.repeat(others, counts), return_counts=True)
        for pair, times in zip(pairs.tolist(), often.tolist(), strict=True):
            text = pair // count
            yield text, pair % count, times / int(self.runs[text])
