"""Texts that contain much of another: shared runs of words. Pure, in numpy.

A held-out text is contained in another where the two share a run of 13 words (as GPT-3's and EleutherAI's evaluations
define contamination), or where half of its runs of 5 words are in the other. Of a text of 3 to 7 words all of them have
to be there in a row; a text that is written without spaces is compared by runs of 10 letters. Runs that many held-out
texts share are a form, not a leak, and count for nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluations.data_quality.ngrams import Chunk, Grams, Hashes, Indexes

LONG, SHORT = 13, 5
# Texts of so few words are looked for as a whole.
BRIEF = (3, 4, 5, 6, 7)
# Where a word has more letters than this on average, the text has no spaces between its words.
LONGEST_WORD = 12
UNSPACED_RUN = 10
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


@dataclass(frozen=True)
class _Run:
    """Runs of so many words (or letters), which held-out texts they are taken of, and whether one is enough."""

    size: int
    is_enough_alone: bool
    brief: bool = False
    letters: bool = False

    def of(self, chunk: Chunk) -> Grams:
        return chunk.letters(self.size) if self.letters else chunk.words(self.size)

    def is_for(self, kinds: NDArray[np.int64]) -> NDArray[np.bool_]:
        """`kinds` as `_kind` gives them: the words of a brief text, 0 for a longer one, -1 for one without spaces."""
        wanted = -1 if self.letters else self.size if self.brief else 0
        found: NDArray[np.bool_] = kinds == wanted
        return found


RUNS = (
    _Run(SHORT, is_enough_alone=False),
    _Run(LONG, is_enough_alone=True),
    *(_Run(size, is_enough_alone=True, brief=True) for size in BRIEF),
    _Run(UNSPACED_RUN, is_enough_alone=False, letters=True),
)


def _kind(text: str) -> int:
    words = text.count(" ") + 1
    if len(text) > LONGEST_WORD * words:
        return -1
    return words if words <= BRIEF[-1] else 0


class HeldOut:
    """The runs of the held-out texts, which others are then held against: some 60 bytes a word of the held-out ones.

    Both are given chunk by chunk, all of the held-out ones first.
    """

    def __init__(self) -> None:
        self._keys: list[int] = []
        self._grams: dict[_Run, list[Grams]] = {run: [] for run in RUNS}
        self._indexes: dict[_Run, _Index] = {}

    def add(self, keys: Sequence[int], texts: Sequence[str]) -> None:
        chunk = Chunk(texts)
        kinds = np.array([_kind(text) for text in texts], np.int64)
        for run, grams in self._grams.items():
            found = run.of(chunk)
            kept = run.is_for(kinds[found.texts])
            grams.append(Grams(found.hashes[kept], found.texts[kept] + len(self._keys)))
        self._keys.extend(keys)

    def against(self, keys: Sequence[int], texts: Sequence[str]) -> Iterator[Contained]:
        """What these texts have of the held-out ones."""
        if not keys or not self._keys:
            return
        if not self._indexes:
            self._indexes = {run: _Index(grams, len(self._keys)) for run, grams in self._grams.items()}
            self._grams = {}
        chunk = Chunk(texts)
        found: dict[tuple[int, int], Contained] = {}
        for run, index in self._indexes.items():
            for held, other, share in index.shared(run.of(chunk), chunk.count) if len(index) else ():
                enough = run.is_enough_alone or (share >= SHARE and index.runs[held] >= FEWEST_RUNS)
                if enough and (held, other) not in found:
                    found[(held, other)] = Contained(self._keys[held], keys[other], share, run.size)
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

    def __len__(self) -> int:
        return len(self._values)

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
