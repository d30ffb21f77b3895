"""Searching a collection: by meaning and by words, joined by their ranks.

Meaning is the cosine of vectors, words are PostgreSQL's full text; both find candidates, and reciprocal rank fusion
joins them: a chunk's score is the sum of 1 / (60 + rank) over the halves that found it (Cormack, Clarke and Buettcher,
"Reciprocal rank fusion outperforms Condorcet and individual rank learning methods", SIGIR 2009). The first of each
half are among what is returned.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone
from pgvector import Vector

from core.errors import Fault, Problem
from registry.examples import embedders, text_vectors
from registry.models import Chunk, Collection
from registry.retrieval import indexing, word_statistics

RANK_CONSTANT = 60
# How long a document may be on its way into the database.
IN_FLIGHT = timedelta(minutes=10)
MAX_K = 100
# What each half looks at, at least, and for each chunk that is asked for.
MIN_CANDIDATES, CANDIDATES_PER_CHUNK = 50, 4
MAX_QUERY_CHARACTERS = 8_000

# The collection's number stands in the statement: the condition of its own index has to be met word for word.
VALID = """
chunk.collection_id = {collection}
AND {moment}
AND chunk.metadata @> %(metadata)s::jsonb
"""
NOW = "chunk.until_at IS NULL"
AT = "chunk.from_at <= %(as_of)s AND (chunk.until_at IS NULL OR chunk.until_at > %(as_of)s)"
HAS_INDEX = "SELECT to_regclass(%s) IS NOT NULL"
INDEX_SETTINGS = (
    "SELECT set_config('hnsw.iterative_scan', 'strict_order', true), set_config('hnsw.ef_search', %s, true)"
)
NEAREST = """
SELECT chunk.id, 1 - (chunk.vector::vector({dimensions}) <=> %(vector)s::vector({dimensions})) AS score
FROM registry_chunk chunk
WHERE {valid} AND chunk.vector IS NOT NULL
ORDER BY chunk.vector::vector({dimensions}) <=> %(vector)s::vector({dimensions})
LIMIT %(limit)s
"""
COSINES = """
SELECT chunk.id, 1 - (chunk.vector <=> %(vector)s::vector) FROM registry_chunk chunk
WHERE chunk.id = ANY(%(keys)s) AND chunk.vector IS NOT NULL
"""
BY_WORDS = """
SELECT chunk.id, ts_rank_cd(chunk.search_vector, asked.words, 1) AS score
FROM registry_chunk chunk, (SELECT %(words)s::tsquery AS words) asked
WHERE {valid} AND chunk.search_vector @@ asked.words
ORDER BY score DESC, chunk.id
LIMIT %(limit)s
"""
LEXEMES = "SELECT array_agg(DISTINCT word) FROM unnest(tsvector_to_array(to_tsvector(%s::regconfig, %s))) word"


@dataclass(frozen=True)
class SearchSettings:
    """How a collection is searched. `min_score` is of meaning, from 0 to 1; `neighbours` how many chunks before and
    after one are joined to it; `filter` are metadata that documents have to have."""

    k: int = 5
    min_score: float = 0.0
    token_budget: int | None = None
    neighbours: int = 0
    filter: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Hit:
    """A chunk that was found. `score` is the joined one; `meaning` the cosine and `words` the rank of full text, None
    where that half did not find it; the ranks begin with 1."""

    chunk: Chunk
    text: str
    # Its place in the revision's text, with the neighbours that were joined to it.
    start: int
    end: int
    tokens: int
    score: float
    meaning: float | None = None
    meaning_rank: int | None = None
    words: float | None = None
    words_rank: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the hit as answers and records have it."""
        revision = self.chunk.revision
        return {
            "source": revision.document.path,
            "revision": revision.number,
            "chunk": self.chunk.position,
            "title": " > ".join(self.chunk.titles),
            "start": self.start,
            "end": self.end,
            "tokens": self.tokens,
            "score": round(self.score, 6),
            "meaning": None if self.meaning is None else round(self.meaning, 4),
            "meaning_rank": self.meaning_rank,
            "words": None if self.words is None else round(self.words, 4),
            "words_rank": self.words_rank,
            "metadata": self.chunk.metadata,
            "text": self.text,
        }


def search(collection: Collection, query: str, settings: SearchSettings, as_of: datetime | None = None) -> list[Hit]:
    """Return the chunks that answer a question, the best first: as the documents are now, or were at a moment.

    What documents say now and is not embedded yet is found by its words alone. A moment is searched only when all that
    counted then is embedded, so that it can be searched again: `collection.not_embedded`. Raises `collection.archived`
    or `embedder.unknown` as well.
    """
    indexing.require_in_use(collection)
    if as_of is not None and as_of > timezone.now():
        sentence = "Must not be in the future: what it would find is not settled."
        raise Problem("request.invalid", sentence, faults=[Fault("/as_of", "range", sentence)])
    query = query.replace("\0", " ").strip()[:MAX_QUERY_CHARACTERS]
    if not query:
        return []
    limit = max(MIN_CANDIDATES, CANDIDATES_PER_CHUNK * settings.k)
    values: dict[str, Any] = {"limit": limit, "as_of": as_of}
    values["metadata"] = json.dumps(dict(settings.filter))
    valid = VALID.format(collection=collection.pk, moment=NOW if as_of is None else AT)
    if as_of is not None:
        _settle(collection, as_of)
    words = _by_words(collection, query, valid, values)
    meanings = _by_meaning(collection, query, valid, values, [key for key, _ in words])
    return _fitting(_with_rows(_joined(meanings, words, settings), 2 * settings.k), settings)


def _settle(collection: Collection, as_of: datetime) -> None:
    """Make sure that a moment is over: documents that are being put at it are there, and all of it is embedded."""
    if timezone.now() - as_of < IN_FLIGHT:
        with transaction.atomic(), connection.cursor() as cursor:
            # Whoever puts a document holds this row (registry.retrieval.documents).
            cursor.execute("SELECT 1 FROM registry_collection WHERE id = %s FOR SHARE", [collection.pk])
    if embedders.is_lexical(collection.embedder):
        return
    valid = Q(from_at__lte=as_of) & (Q(until_at=None) | Q(until_at__gt=as_of))
    waiting = indexing.missing(collection).filter(valid).count()
    if waiting:
        sentence = f"{waiting:,} chunks of {collection} are still being embedded; try again in a moment."
        raise Problem("collection.not_embedded", sentence, waiting=waiting)


def _by_meaning(
    collection: Collection, query: str, valid: str, values: Mapping[str, Any], others: Sequence[int]
) -> "_Meanings":
    """Return the nearest chunks, and how near the others are that words have found."""
    if embedders.is_lexical(collection.embedder):
        return _Meanings([], {})
    embedders.require_embedder(collection.embedder)
    vector = text_vectors.embed_query(collection.embedder, query)
    statement = NEAREST.format(dimensions=len(vector), valid=valid)
    members = {**values, "vector": Vector(vector).to_text()}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(INDEX_SETTINGS, [str(min(1_000, 2 * int(values["limit"])))])
        cursor.execute(statement, members)
        rows = cursor.fetchall()
        cursor.execute(HAS_INDEX, [f"chunk_vectors_{collection.pk}"])
        (has_index,) = cursor.fetchone() or (False,)
        if len(rows) < values["limit"] and has_index:
            # The index gave up among what a filter leaves out, or what is over: look at all.
            cursor.execute("SET LOCAL enable_indexscan = off")
            cursor.execute(statement, members)
            rows = cursor.fetchall()
        near = {key for key, _ in rows}
        cursor.execute(COSINES, {"vector": members["vector"], "keys": [key for key in others if key not in near]})
        others_near = dict(cursor.fetchall())
        # Nothing was written; the settings end with this search, also within a transaction of somebody else.
        transaction.set_rollback(True)
    return _Meanings([(key, float(score)) for key, score in rows], others_near)


def _by_words(collection: Collection, query: str, valid: str, values: Mapping[str, Any]) -> list[tuple[int, float]]:
    with connection.cursor() as cursor:
        cursor.execute(LEXEMES, [collection.language, query])
        (lexemes,) = cursor.fetchone() or (None,)
        if not lexemes:
            return []
        rare = word_statistics.rarest(collection, lexemes)
        quoted = " | ".join("'" + word.replace("\\", "\\\\").replace("'", "''") + "'" for word in rare)
        cursor.execute(BY_WORDS.format(valid=valid), {**values, "words": quoted})
        return [(key, float(score)) for key, score in cursor.fetchall()]


@dataclass(frozen=True)
class _Meanings:
    """The nearest chunks with their cosines, and the cosines of others."""

    nearest: Sequence[tuple[int, float]]
    others: Mapping[int, float]


@dataclass(frozen=True)
class _JoinedHit:
    key: int
    score: float
    meaning: float | None
    meaning_rank: int | None
    words: float | None
    words_rank: int | None


def _joined(meanings: _Meanings, words: Sequence[tuple[int, float]], settings: SearchSettings) -> list[_JoinedHit]:
    """Join what the halves have found, the best first. A chunk that is not embedded yet has no cosine, and no least
    one leaves it out."""
    by_meaning = {key: (rank, score) for rank, (key, score) in enumerate(meanings.nearest, 1)}
    by_words = {key: (rank, score) for rank, (key, score) in enumerate(words, 1)}
    joined = []
    for key in {**by_meaning, **by_words}:
        meaning_rank, meaning = by_meaning.get(key, (None, meanings.others.get(key)))
        words_rank, rank_score = by_words.get(key, (None, None))
        if settings.min_score > 0 and meaning is not None and meaning < settings.min_score:
            continue
        score = sum(1 / (RANK_CONSTANT + rank) for rank in (meaning_rank, words_rank) if rank is not None)
        joined.append(_JoinedHit(key, score, meaning, meaning_rank, rank_score, words_rank))
    best_first = sorted(joined, key=lambda hit: (-hit.score, hit.meaning_rank or MAX_K * 10, hit.key))
    return _with_firsts(best_first, settings.k)


def _with_firsts(joined: Sequence[_JoinedHit], k: int) -> list[_JoinedHit]:
    """Return the hits with the first of each half among the k: ranks joined prefer what is middling in both halves to
    what is the best of one, and a question in other words than the document's is such a case."""
    firsts = [hit for hit in joined[k:] if 1 in (hit.meaning_rank, hit.words_rank)][: k - 1]
    others = [hit for hit in joined if hit not in firsts]
    place = k - len(firsts)
    return [*others[:place], *firsts, *others[place:]]


def _with_rows(joined: Sequence[_JoinedHit], batch: int) -> Iterator[Hit]:
    """Yield hits with their rows, which are read as they are needed: mostly the first batch is enough."""
    rows = Chunk.objects.select_related("revision__document").defer("vector", "search_vector", "revision__text")
    for start in range(0, len(joined), batch):
        part = joined[start : start + batch]
        by_key = rows.in_bulk([each.key for each in part])
        for each in part:
            yield Hit(
                chunk=by_key[each.key],
                text=by_key[each.key].text,
                start=by_key[each.key].start,
                end=by_key[each.key].end,
                tokens=by_key[each.key].tokens,
                score=each.score,
                meaning=each.meaning,
                meaning_rank=each.meaning_rank,
                words=each.words,
                words_rank=each.words_rank,
            )


def _fitting(hits: Iterable[Hit], settings: SearchSettings) -> list[Hit]:
    """Return the first hits that fit: one that the budget has no room for is passed over, a shorter one may still fit.
    A chunk that an earlier one's neighbours have shown already is not shown again."""
    fitting: list[Hit] = []
    left = settings.token_budget
    covered: dict[int, set[int]] = {}
    for hit in hits:
        if len(fitting) == settings.k:
            break
        covered_positions = covered.setdefault(hit.chunk.revision_id, set())
        if hit.chunk.position in covered_positions:
            continue
        wider, positions = _with_neighbours(hit, settings.neighbours, covered_positions)
        if left is not None and wider.tokens > left:
            wider, positions = hit, {hit.chunk.position}
        if left is not None and wider.tokens > left:
            continue
        left = None if left is None else left - wider.tokens
        covered_positions |= positions
        fitting.append(wider)
    return fitting


def _with_neighbours(hit: Hit, count: int, covered_positions: set[int]) -> tuple[Hit, set[int]]:
    """Join the chunks around a hit to it, as their document has them; what overlaps is said once."""
    if not count:
        return hit, {hit.chunk.position}
    first, last = hit.chunk.position - count, hit.chunk.position + count
    rows = Chunk.objects.filter(revision=hit.chunk.revision_id, position__gte=first, position__lte=last)
    rows = rows.only("position", "start", "end", "tokens").order_by("position")
    around = [row for row in rows if row.position not in covered_positions]
    start, end = min(row.start for row in around), max(row.end for row in around)
    text = type(hit.chunk.revision).objects.filter(pk=hit.chunk.revision_id).values_list("text", flat=True)[0]
    wider = replace(hit, text=text[start:end], start=start, end=end, tokens=sum(row.tokens for row in around))
    return wider, {row.position for row in around}
