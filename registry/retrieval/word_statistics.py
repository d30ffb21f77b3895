"""Which words of a question are worth searching for: the rare ones.

A word that stands in every third chunk finds a third of them, all of which would have to be ranked. How common words
are is known to PostgreSQL since its last ANALYZE (pg_stats); a word that it does not list is rare.
"""

import time
from collections.abc import Iterable

from django.db import connection

from registry.models import Chunk, Collection

# So many chunks are ranked at most, as far as the statistics are right; the rarest word is searched for in any case.
MAX_RANKED = 2_000
MAX_WORDS = 32
MAX_AGE_SECONDS = 300.0
FREQUENCIES = """
SELECT most_common_elems::text::text[], most_common_elem_freqs FROM pg_stats
WHERE schemaname = current_schema() AND tablename = 'registry_chunk' AND attname = 'search_vector'
"""

_frequencies: tuple[float, dict[str, float]] = (float("-inf"), {})
_counts: dict[int, tuple[float, int]] = {}


def rarest(collection: Collection, words: Iterable[str]) -> list[str]:
    """Return the words to search for, the rarest first."""
    frequencies, count = frequencies_now(), chunk_count(collection)
    # At least one chunk: what is not listed is rarer than what is.
    expected = {word: max(1.0, count * frequencies.get(word, 0.0)) for word in words}
    rare: list[str] = []
    total = 0.0
    for word in sorted(expected, key=lambda name: (expected[name], -len(name), name))[:MAX_WORDS]:
        total += expected[word]
        if rare and total > MAX_RANKED:
            break
        rare.append(word)
    return rare


def frequencies_now() -> dict[str, float]:
    """Return the share of chunks that common words stand in, as of the last ANALYZE."""
    global _frequencies
    read_at, frequencies = _frequencies
    if time.monotonic() - read_at > MAX_AGE_SECONDS:
        with connection.cursor() as cursor:
            cursor.execute(FREQUENCIES)
            words, ratios = cursor.fetchone() or ((), ())
        # The list of shares ends with its own least, most and none.
        frequencies = dict(zip(words or (), ratios or (), strict=False))
        _frequencies = time.monotonic(), frequencies
    return frequencies


def chunk_count(collection: Collection) -> int:
    """Return how many chunks a collection has now, or had some minutes ago."""
    read_at, count = _counts.get(collection.pk, (float("-inf"), 0))
    if time.monotonic() - read_at > MAX_AGE_SECONDS:
        count = Chunk.objects.filter(collection=collection, until_at=None).count()
        _counts[collection.pk] = time.monotonic(), count
    return count
