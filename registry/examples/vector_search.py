"""Embedding examples and finding those nearest to a text.

Vectors live in PostgreSQL (pgvector). Up to 10,000 examples the nearest are found exactly, by looking at all of them;
a larger set gets an HNSW index of its own, made when it is embedded, which finds nearly always the same in a fraction
of the time (Malkov and Yashunin 2016, arXiv 1603.09320).
"""

import functools
import logging
from collections.abc import Iterable

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, QuerySet, Sum
from django.db.models.functions import Length
from pgvector import Vector

from core.errors import Problem
from core.example_selection import Candidate
from infra import work
from infra.work import Lease
from registry.examples import embedders, text_vectors
from registry.examples.example_sets import stored_shot, version_places
from registry.examples.minilm import Matrix
from registry.examples.tfidf import Lexicon
from registry.models import (
    Embedding,
    EmbeddingState,
    Example,
    ExamplePlace,
    ExampleSetVersion,
    ExampleVector,
)

logger = logging.getLogger(__name__)

EXACT_UP_TO = 10_000
# What an index of pgvector can hold; longer vectors are compared one by one, however many there are.
MOST_INDEXED = 2_000
BATCH = 64
# Fewer than these are embedded on the spot when somebody searches; more are waited for.
EMBEDDED_AT_ONCE = 32
# The words of a set are counted in the process that searches; more would take seconds and much memory.
MOST_LETTERS = 4_000_000
# A worker tells after each batch that it lives; one that was silent for so long is dead.
MOST_RESULTS = 1_000

NEAREST = """
SELECT place.example_id, place.position, 1 - (stored.vector <=> %(query)s::vector) AS score
FROM registry_exampleplace place
JOIN registry_examplevector stored ON stored.example_id = place.example_id
WHERE stored.example_set_id = %(example_set)s AND stored.embedder = %(embedder)s AND place.version_id = %(version)s
ORDER BY stored.vector <=> %(query)s::vector, place.position
LIMIT %(limit)s
"""
# The inner order is the one that the set's own index gives; what another version of the set has is left out of it.
NEAREST_BY_INDEX = """
SELECT place.example_id, place.position, near.score
FROM (
    SELECT stored.example_id, 1 - (stored.vector::vector({dimensions}) <=> %(query)s::vector({dimensions})) AS score
    FROM registry_examplevector stored
    WHERE stored.example_set_id = {example_set} AND stored.embedder = '{embedder}'
      AND EXISTS (
        SELECT 1 FROM registry_exampleplace place
        WHERE place.version_id = %(version)s AND place.example_id = stored.example_id
      )
    ORDER BY stored.vector::vector({dimensions}) <=> %(query)s::vector({dimensions})
    LIMIT %(limit)s
) near
JOIN registry_exampleplace place ON place.version_id = %(version)s AND place.example_id = near.example_id
ORDER BY near.score DESC, place.position
"""


def nearest(version: ExampleSetVersion, embedder: str, query: str, limit: int) -> list[Candidate]:
    """The version's examples whose inputs are nearest to a text, nearest first.

    Raises `embedder.unknown`, `embedder.failed`, or `examples.not_embedded` while workers are still at it.
    """
    limit = min(limit, MOST_RESULTS)
    if embedders.is_lexical(embedder):
        return _by_wording(version, query, limit)
    _await_vectors(version, embedder)
    vector = embedders.get_embedder(embedder).embed([query])[0]
    return _by_vector(version, embedder, Vector(vector).to_text(), len(vector), limit)


def missing(version: ExampleSetVersion, embedder: str) -> QuerySet[Example]:
    """The version's examples that have no vector by this embedder yet."""
    stored = ExampleVector.objects.filter(example=OuterRef("pk"), embedder=embedder)
    inside = ExamplePlace.objects.filter(version=version, example=OuterRef("pk"))
    return Example.objects.filter(Exists(inside), ~Exists(stored)).order_by("id")


def embed_missing(embedding: Embedding) -> None:
    """Embed the examples that lack a vector, batch by batch, each saved when it is done; then index a large set.

    Does nothing where another worker holds the row.
    """
    lease = work.claim(embedding, error="")
    if lease:
        work.run(lease, lambda: _embed_missing(lease))


def _embed_missing(lease: Lease[Embedding]) -> None:
    version, name = lease.item.version, lease.item.embedder
    while batch := list(missing(version, name)[:BATCH]):
        _store(batch, name, text_vectors.embed(name, [example.input for example in batch]))
        lease.save(done=version.size - missing(version, name).count())
    _index(version, name)
    lease.finish(EmbeddingState.DONE, done=version.size)


def claimable_embeddings() -> QuerySet[Embedding]:
    """Return what waits for a worker, or was left by one that went silent."""
    return Embedding.objects.filter(Embedding.claimable()).order_by("id")


@transaction.atomic
def retry(embedding: Embedding) -> None:
    """Put failed work back among what waits."""
    work.put_back(Embedding.objects.filter(pk=embedding.pk, state=EmbeddingState.FAILED))


def _store(examples: Iterable[Example], embedder: str, vectors: Matrix) -> None:
    rows = [
        ExampleVector(example=example, example_set_id=example.example_set_id, embedder=embedder, vector=vector)
        for example, vector in zip(examples, vectors, strict=True)
    ]
    # Two that embed the same example have the same vector.
    ExampleVector.objects.bulk_create(rows, ignore_conflicts=True)


def _await_vectors(version: ExampleSetVersion, embedder: str) -> None:
    embedders.require_embedder(embedder)
    # Where the work is done nothing is missing, and nothing has to be counted.
    if Embedding.objects.filter(version=version, embedder=embedder, state=EmbeddingState.DONE).exists():
        return
    waiting = list(missing(version, embedder)[: EMBEDDED_AT_ONCE + 1])
    if len(waiting) <= EMBEDDED_AT_ONCE:
        if waiting:
            _store(waiting, embedder, text_vectors.embed(embedder, [example.input for example in waiting]))
        return
    work = Embedding.objects.filter(version=version, embedder=embedder).first()
    if work and work.state == EmbeddingState.FAILED:
        raise Problem("embedder.failed", f"Embedding {version} failed: {work.error}")
    count = missing(version, embedder).count()
    sentence = f"{count:,} of {version.size:,} examples of {version} are still being embedded; try again in a moment."
    raise Problem("examples.not_embedded", sentence, waiting=count)


def _by_vector(version: ExampleSetVersion, embedder: str, query: str, dimensions: int, limit: int) -> list[Candidate]:
    statement = NEAREST
    by_index = version.size > EXACT_UP_TO and dimensions <= MOST_INDEXED
    if by_index:
        statement = NEAREST_BY_INDEX.format(
            dimensions=dimensions, example_set=version.example_set_id, embedder=_literal(embedder)
        )
    values: dict[str, str | int] = {"query": query, "embedder": embedder, "version": version.pk, "limit": limit}
    values["example_set"] = version.example_set_id
    with transaction.atomic(), connection.cursor() as cursor:
        if by_index:
            # Older versions of the set share the index: go on until enough of this version are found.
            cursor.execute("SET LOCAL hnsw.iterative_scan = strict_order")
            cursor.execute(f"SET LOCAL hnsw.ef_search = {min(1_000, max(100, 2 * limit))}")
            cursor.execute("SET LOCAL hnsw.max_scan_tuples = 200000")
        cursor.execute(statement, values)
        rows = cursor.fetchall()
        if by_index and len(rows) < min(limit, version.size):
            # The index gave up among what only older versions have: look at all.
            cursor.execute(NEAREST, values)
            rows = cursor.fetchall()
    examples = Example.objects.in_bulk([example_id for example_id, _, _ in rows])
    return [
        Candidate(position, stored_shot(examples[example_id]), examples[example_id].tokens, float(score))
        for example_id, position, score in rows
    ]


def _literal(embedder: str) -> str:
    """Inside a statement's quotes, where no parameter may stand: an index's condition has to be met word for word."""
    return embedder.replace("'", "''").replace("%", "%%")


def _index(version: ExampleSetVersion, embedder: str) -> None:
    """Give a large set an index over its vectors by this embedder, unless it has one."""
    if version.size <= EXACT_UP_TO:
        return
    first = ExampleVector.objects.filter(example_set=version.example_set_id, embedder=embedder).first()
    if first is None:
        return
    dimensions = len(first.vector)
    if dimensions > MOST_INDEXED:
        return
    serial = Embedding.objects.filter(version__example_set=version.example_set_id, embedder=embedder).order_by("id")
    name = f"example_vectors_{version.example_set_id}_{serial.values_list('pk', flat=True)[0]}"
    with connection.cursor() as cursor:
        # Concurrently where it can be: commits to other sets go on meanwhile.
        way = "" if connection.in_atomic_block else "CONCURRENTLY "
        cursor.execute(
            f"CREATE INDEX {way}IF NOT EXISTS {name} ON registry_examplevector "
            f"USING hnsw ((vector::vector({dimensions})) vector_cosine_ops) "
            f"WHERE example_set_id = {version.example_set_id} AND embedder = '{_literal(embedder)}'"
        )


def _by_wording(version: ExampleSetVersion, query: str, limit: int) -> list[Candidate]:
    scores = _lexicon(version.pk).scores(query)
    # By score, then by place: `-scores` with a stable sort.
    best = (-scores).argsort(kind="stable")[:limit]
    positions = [int(index) + 1 for index in best]
    rows = {place.position: place for place in version_places(version).filter(position__in=positions)}
    return [
        Candidate(
            position, stored_shot(rows[position].example), rows[position].example.tokens, float(scores[position - 1])
        )
        for position in positions
    ]


@functools.lru_cache(maxsize=4)
def _lexicon(version_id: int) -> Lexicon:
    """A version never changes, so what was counted of it stays true."""
    rows = ExamplePlace.objects.filter(version_id=version_id).order_by("position")
    letters = rows.aggregate(sum=Sum(Length("example__input")))["sum"] or 0
    if letters > MOST_LETTERS:
        sentence = f"Wording is compared up to {MOST_LETTERS:,} letters; this version has {letters:,}. Use an embedder."
        raise Problem("examples.too_many", sentence)
    return Lexicon(list(rows.values_list("example__input", flat=True)))
