"""Containment: texts that share runs of words with held-out ones. Pure, in numpy.

A held-out text is contained in another where the two share a run of 13 words (as GPT-3's and EleutherAI's evaluations
define contamination), or where half of its runs of 5 words are in the other. A text of 3 to 7 words has to occur as a
whole; a text that is written without spaces is compared by runs of 10 letters. Runs that many held-out texts share are
boilerplate, not a leak, and are ignored.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluations.data_quality.ngrams import Chunk, Grams, Hashes, Indexes

LONG, SHORT = 13, 5
# Texts of so few words are searched for as a whole.
BRIEF = (3, 4, 5, 6, 7)
# Where a word has more letters than this on average, the text has no spaces between its words.
MAX_AVERAGE_WORD_LENGTH = 12
UNSPACED_RUN = 10
# Below this many runs of 5 words, half of them is an everyday phrase.
MIN_RUNS = 4
MIN_SHARE = 0.5
# A run in more held-out texts than this is boilerplate.
MAX_TEXTS_OF_RUN = 25


@dataclass(frozen=True)
class Containment:
    """A held-out text and another by their keys, the share of it that the other has (0 to 1), and the runs' length."""

    held_out: int
    other: int
    share: float
    words: int


@dataclass(frozen=True)
class _Run:
    """Runs of `size` words (or letters), for brief texts or others, and whether a single shared run is enough."""

    size: int
    is_enough_alone: bool
    brief: bool = False
    letters: bool = False

    def grams(self, chunk: Chunk) -> Grams:
        return chunk.letters(self.size) if self.letters else chunk.words(self.size)

    def is_for(self, kinds: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Select texts by their `_kind`: the words of a brief text, 0 for a longer one, -1 for one without spaces."""
        expected_kind = -1 if self.letters else self.size if self.brief else 0
        is_match: NDArray[np.bool_] = kinds == expected_kind
        return is_match


RUNS = (
    _Run(SHORT, is_enough_alone=False),
    _Run(LONG, is_enough_alone=True),
    *(_Run(size, is_enough_alone=True, brief=True) for size in BRIEF),
    _Run(UNSPACED_RUN, is_enough_alone=False, letters=True),
)


def _kind(text: str) -> int:
    words = text.count(" ") + 1
    if len(text) > MAX_AVERAGE_WORD_LENGTH * words:
        return -1
    return words if words <= BRIEF[-1] else 0


class HeldOut:
    """Index of the runs of held-out texts, to compare others with: some 60 bytes a word of the held-out ones.

    Both are added chunk by chunk, all of the held-out ones first.
    """

    def __init__(self) -> None:
        self._keys: list[int] = []
        self._grams: dict[_Run, list[Grams]] = {run: [] for run in RUNS}
        self._indexes: dict[_Run, _Index] = {}

    def add(self, keys: Sequence[int], texts: Sequence[str]) -> None:
        chunk = Chunk(texts)
        kinds = np.array([_kind(text) for text in texts], np.int64)
        for run, grams in self._grams.items():
            chunk_grams = run.grams(chunk)
            is_included = run.is_for(kinds[chunk_grams.texts])
            grams.append(Grams(chunk_grams.hashes[is_included], chunk_grams.texts[is_included] + len(self._keys)))
        self._keys.extend(keys)

    def contained_in(self, keys: Sequence[int], texts: Sequence[str]) -> Iterator[Containment]:
        """Find the held-out texts that these texts contain."""
        if not keys or not self._keys:
            return
        if not self._indexes:
            self._indexes = {run: _Index(grams, len(self._keys)) for run, grams in self._grams.items()}
            self._grams = {}
        chunk = Chunk(texts)
        matches: dict[tuple[int, int], Containment] = {}
        for run, index in self._indexes.items():
            for held_out, other, share in index.shared(run.grams(chunk), chunk.count) if len(index) else ():
                enough = run.is_enough_alone or (share >= MIN_SHARE and index.runs[held_out] >= MIN_RUNS)
                if enough and (held_out, other) not in matches:
                    matches[(held_out, other)] = Containment(self._keys[held_out], keys[other], share, run.size)
        yield from matches.values()


class _Index:
    """Runs of one length in the held-out texts, sorted by hash."""

    def __init__(self, grams: Sequence[Grams], count: int) -> None:
        hashes = np.concatenate([part.hashes for part in grams])
        texts = np.concatenate([part.texts for part in grams])
        order = np.argsort(hashes, kind="stable")
        hashes, texts = hashes[order], texts[order]
        values, starts, counts = np.unique(hashes, return_index=True, return_counts=True)
        rare = counts <= MAX_TEXTS_OF_RUN
        self._values: Hashes = values[rare]
        self._starts: Indexes = starts[rare]
        self._counts: Indexes = counts[rare]
        self._texts: Indexes = texts
        is_rare = np.repeat(rare, counts)
        self.runs: NDArray[np.int64] = np.bincount(texts[is_rare], minlength=count)

    def __len__(self) -> int:
        return len(self._values)

    def shared(self, grams: Grams, count: int) -> Iterator[tuple[int, int, float]]:
        """Yield (held-out text, other text of `count`, share of the held-out one's runs that the other has)."""
        if not len(grams) or not len(self._values):
            return
        places = np.minimum(np.searchsorted(self._values, grams.hashes), len(self._values) - 1)
        hit = self._values[places] == grams.hashes
        places, others = places[hit], grams.texts[hit]
        counts = self._counts[places]
        # Every held-out text of every run that was hit, beside the text that hit it.
        offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        held_out = self._texts[np.repeat(self._starts[places], counts) + offsets]
        pairs, often = np.unique(held_out * count + np.repeat(others, counts), return_counts=True)
        for pair, times in zip(pairs.tolist(), often.tolist(), strict=True):
            text = pair // count
            yield text, pair % count, times / int(self.runs[text])
