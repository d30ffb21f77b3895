"""Near duplicates among very many texts, by MinHash and banding. Pure, in numpy.

The share of equal minima of two texts under random orders of all letter 5-grams estimates their Jaccard similarity
(Broder 1997). 96 minima in 16 bands of 6: a pair of similarity s shares a band with probability 1 - (1 - s**6)**16,
which is 0.99 at s = 0.8 and 0.12 at s = 0.45. Candidates are then compared exactly, so there are no false reports; one
pair in a hundred at the threshold is missed.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluations.data_quality.ngrams import Chunk, Hashes, Indexes

LETTERS = 5
BANDS, ROWS = 16, 6
THRESHOLD = 0.8
# A very long text is represented by a sample, its smallest hashes, which is the same for equal texts.
MAX_PIECES = 2_000
# A band that very many texts share is a form letter: each is compared with the first of them.
MAX_BUCKET_SIZE = 50
PAIRS_AT_ONCE = 2_000
RANDOM = np.random.default_rng(0x5EED)
FACTORS = RANDOM.integers(1, 2**63, BANDS * ROWS, np.uint64) * np.uint64(2) + np.uint64(1)
ADDENDS = RANDOM.integers(0, 2**63, BANDS * ROWS, np.uint64)


@dataclass(frozen=True)
class SimilarPair:
    """Two texts by their keys, and the Jaccard similarity of their letter 5-grams."""

    first: int
    second: int
    similarity: float


class Signatures:
    """The bands of texts that are added chunk by chunk: 128 bytes a text, whatever its length."""

    def __init__(self) -> None:
        self._keys: list[Indexes] = []
        self._splits: list[NDArray[np.int16]] = []
        self._bands: list[Hashes] = []

    def add(self, keys: Sequence[int], split: int, texts: Sequence[str]) -> None:
        """Add texts in their comparison form, all of one split (a small number)."""
        # Two texts of nothing but punctuation have nothing in common.
        non_empty = [(key, text) for key, text in zip(keys, texts, strict=True) if text]
        if not non_empty:
            return
        self._keys.append(np.array([key for key, _ in non_empty], np.int64))
        self._splits.append(np.full(len(non_empty), split, np.int16))
        self._bands.append(_bands(Chunk([text for _, text in non_empty]), len(non_empty)))

    def candidates(self) -> Iterator[tuple[int, int]]:
        """Yield pairs of keys from different splits that share a band, each once."""
        if not self._keys:
            return
        keys, splits = np.concatenate(self._keys), np.concatenate(self._splits)
        bands = np.concatenate(self._bands)
        seen: set[tuple[int, int]] = set()
        for band in range(BANDS):
            for first, second in _sharing(bands[:, band], splits):
                pair = (int(min(first, second)), int(max(first, second)))
                if pair not in seen:
                    seen.add(pair)
                    yield int(keys[pair[0]]), int(keys[pair[1]])


def confirm_pairs(
    candidates: Iterable[tuple[int, int]],
    texts_of: Callable[[Sequence[int]], dict[int, str]],
    threshold: float = THRESHOLD,
) -> Iterator[SimilarPair]:
    """Yield the candidates that are near indeed; `texts_of` returns comparison forms by key."""
    batch: list[tuple[int, int]] = []
    for pair in candidates:
        batch.append(pair)
        if len(batch) == PAIRS_AT_ONCE:
            yield from _confirm(batch, texts_of, threshold)
            batch = []
    yield from _confirm(batch, texts_of, threshold)


def jaccard(first: str, second: str) -> float:
    """Compute the share of letter 5-grams that two texts have in common, of all that either has."""
    pieces, others = _pieces(first), _pieces(second)
    either = len(pieces | others)
    return len(pieces & others) / either if either else 0.0


def _pieces(text: str) -> set[str]:
    if len(text) < LETTERS:
        return {text} - {""}
    return {text[start : start + LETTERS] for start in range(len(text) - LETTERS + 1)}


def _confirm(
    batch: list[tuple[int, int]], texts_of: Callable[[Sequence[int]], dict[int, str]], threshold: float
) -> Iterator[SimilarPair]:
    texts = texts_of(sorted({key for pair in batch for key in pair})) if batch else {}
    for first, second in batch:
        first_text, second_text = texts[first], texts[second]
        # The shorter text needs enough letters to cover the longer one.
        if min(len(first_text), len(second_text)) < threshold * max(len(first_text), len(second_text)) * 0.9:
            continue
        similarity = jaccard(first_text, second_text)
        if similarity >= threshold:
            yield SimilarPair(first, second, similarity)


def _bands(chunk: Chunk, count: int) -> Hashes:
    """Compute (texts, BANDS): a hash of each band's minima."""
    grams = chunk.letters(LETTERS)
    hashes, texts = grams.hashes, grams.texts
    starts = np.searchsorted(texts, np.arange(count))
    # Sorted within each text, so the smallest come first: a sample that equal texts share.
    places = np.arange(len(texts)) - starts[texts]
    if len(places) and int(places.max()) >= MAX_PIECES:
        is_sampled = places < MAX_PIECES
        hashes, texts = hashes[is_sampled], texts[is_sampled]
        starts = np.searchsorted(texts, np.arange(count))
    mixed = hashes ^ (hashes >> np.uint64(32))
    bands = np.empty((count, BANDS), np.uint64)
    for band in range(BANDS):
        combined = np.zeros(count, np.uint64)
        for row in range(ROWS):
            index = band * ROWS + row
            values = (mixed * FACTORS[index] + ADDENDS[index]) >> np.uint64(32)
            combined = combined * np.uint64(0x9E3779B97F4A7C15) + np.minimum.reduceat(values, starts)
        bands[:, band] = combined
    return bands


def _sharing(band: Hashes, splits: NDArray[np.int16]) -> Iterator[tuple[int, int]]:
    """Yield indexes of texts from different splits with the same value in a band."""
    order = np.argsort(band, kind="stable")
    values = band[order]
    edges = np.flatnonzero(values[1:] != values[:-1]) + 1
    for run in np.split(order, edges) if len(edges) < len(order) - 1 else ():
        if len(run) < 2:
            continue
        own = splits[run]
        if (own == own[0]).all():
            continue
        if len(run) > MAX_BUCKET_SIZE:
            yield from ((int(run[0]), int(other)) for other in run[1:] if splits[other] != own[0])
            first_other = int(run[np.flatnonzero(own != own[0])[0]])
            yield from ((first_other, int(index)) for index in run if splits[index] != splits[first_other])
            continue
        for place, index in enumerate(run):
            yield from ((int(index), int(other)) for other in run[place + 1 :] if splits[other] != splits[index])
