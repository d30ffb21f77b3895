"""Embedding the chunks of a collection, and an index over them where there are many."""

import time
from datetime import timedelta

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from core.errors import Problem
from infra import work
from infra.work import Lease, WorkState
from registry.examples import embedders, text_vectors
from registry.models import Chunk, Collection, CollectionEmbedding

# Up to so many chunks the nearest are found by looking at all of them; above, by an HNSW index of the collection's own
# (Malkov and Yashunin 2016, arXiv 1603.09320).
EXACT_UP_TO = 10_000
# What an index of pgvector can hold.
MAX_INDEXED_DIMENSIONS = 2_000
BATCH = 128
INVALID_INDEX = "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass(%s) AND NOT indisvalid"
# A worker that was killed leaves its statement to PostgreSQL, which goes on.
BEING_BUILT = "SELECT 1 FROM pg_stat_progress_create_index WHERE index_relid = to_regclass(%s)"
# So long a worker goes on with one collection; then others have their turn.
TURN_SECONDS = 600.0
# After so long what failed is tried again: a provider may have been away.
RETRY_INTERVAL = timedelta(minutes=10)


def embedded_text(chunk: Chunk) -> str:
    """Return what of a chunk is embedded: its text below its titles, which say what it is about."""
    return f"{' > '.join(chunk.titles)}\n\n{chunk.text}"


def await_embedding(collection: Collection) -> None:
    """Queue the embedding of what a collection has not embedded yet; none where only words are compared."""
    if embedders.is_lexical(collection.embedder):
        return
    row, created = CollectionEmbedding.objects.get_or_create(collection=collection)
    if not created:
        CollectionEmbedding.objects.filter(pk=row.pk).exclude(state__in=work.OPEN).update(
            state=WorkState.PENDING, attempts=0, heartbeat_at=None, error="", finished_at=None
        )


def await_missing(collection: Collection) -> None:
    """Queue the embedding of a collection that has something left to embed, whatever became of the work before."""
    if missing(collection).exists():
        await_embedding(collection)


def missing(collection: Collection) -> QuerySet[Chunk]:
    """Return the chunks without a vector, those that count now first."""
    return Chunk.objects.filter(collection=collection, vector=None).order_by("-id")


def requeue_incomplete() -> None:
    """Queue collections again that have chunks without a vector: done ones, as in a restored backup, and after a while
    those that failed."""
    left = Chunk.objects.filter(collection=OuterRef("collection"), vector=None)
    is_over = Q(state=WorkState.DONE) | Q(state=WorkState.FAILED, finished_at__lt=timezone.now() - RETRY_INTERVAL)
    work.put_back(CollectionEmbedding.objects.filter(is_over, Exists(left)))


def waiting(collection: Collection) -> int:
    """Return how many of the chunks that count now are not embedded yet; none where only words are compared."""
    return 0 if embedders.is_lexical(collection.embedder) else missing(collection).filter(until_at=None).count()


def claimable_embeddings() -> QuerySet[CollectionEmbedding]:
    """Return what waits for a worker, or was left by one that went silent."""
    return CollectionEmbedding.objects.filter(CollectionEmbedding.claimable()).order_by("id")


def embed_missing(embedding: CollectionEmbedding, turn_seconds: float = TURN_SECONDS) -> bool:
    """Embed what a collection lacks, batch by batch, each saved when it is done; then index a large one. Returns
    whether its turn was over before that. Does nothing where another worker holds the row."""
    lease = work.claim(embedding, error="")
    if lease:
        work.run(lease, lambda: _embed_missing(lease, time.monotonic() + turn_seconds))
    return bool(lease) and CollectionEmbedding.objects.filter(pk=embedding.pk, state__in=work.OPEN, attempts=0).exists()


def _embed_missing(lease: Lease[CollectionEmbedding], turn_ends: float) -> None:
    collection = lease.item.collection
    while True:
        while batch := list(missing(collection).defer("search_vector")[:BATCH]):
            vectors = text_vectors.embed(collection.embedder, [embedded_text(chunk) for chunk in batch])
            for chunk, vector in zip(batch, vectors, strict=True):
                chunk.vector = vector
            with transaction.atomic():
                # Whoever puts a document holds it too: without it both lock the same chunks, in two orders.
                lock(collection)
                Chunk.objects.bulk_update(batch, ["vector"])
            left = missing(collection).count()
            total = Chunk.objects.filter(collection=collection).count()
            lease.save(done=total - left, total=total)
            if left and time.monotonic() > turn_ends:
                lease.release()
                return
        _index(collection)
        with transaction.atomic():
            # A document that came meanwhile waits for this lock, and then starts the work anew.
            lock(collection)
            if not missing(collection).exists():
                lease.finish(WorkState.DONE)
                return


def require_in_use(collection: Collection) -> None:
    """Raise `collection.archived` where a collection is."""
    if collection.archived_at is not None:
        raise Problem("collection.archived", f"{collection.name} is archived; restore it first.")


def lock_in_use(collection: Collection) -> Collection:
    """Return the collection's row, locked until the transaction ends; `collection.archived` where it is."""
    row = lock(collection)
    require_in_use(row)
    return row


def lock(collection: Collection) -> Collection:
    """Return the collection's row, locked until the transaction ends."""
    return Collection.objects.select_for_update(no_key=True).get(pk=collection.pk)


def _index(collection: Collection) -> None:
    """Give a large collection an index over its vectors, unless it has one."""
    rows = Chunk.objects.filter(Q(collection=collection) & ~Q(vector=None))
    first = rows.only("vector").first()
    if first is None or rows.count() <= EXACT_UP_TO or len(first.vector) > MAX_INDEXED_DIMENSIONS:
        return
    with connection.cursor() as cursor:
        # How common words are (registry.retrieval.word_statistics) is known by it.
        cursor.execute("ANALYZE registry_chunk")
    vectors = f"(vector::vector({len(first.vector)})) vector_cosine_ops"
    name = f"chunk_vectors_{collection.pk}"
    with connection.cursor() as cursor:
        # Concurrently where it can be: other collections are searched and changed meanwhile.
        way = "" if connection.in_atomic_block else "CONCURRENTLY "
        cursor.execute(BEING_BUILT, [name])
        if cursor.fetchone():
            return
        # As much as 100,000 vectors and their neighbours take; with less it is built in many times the time.
        cursor.execute("SET maintenance_work_mem = '256MB'")
        try:
            # What an interrupted build has left would never be used, and never be built again.
            cursor.execute(INVALID_INDEX, [name])
            if cursor.fetchone():
                cursor.execute(f"DROP INDEX {way}IF EXISTS {name}")
            cursor.execute(
                f"CREATE INDEX {way}IF NOT EXISTS {name} ON registry_chunk "
                f"USING hnsw ({vectors}) WHERE collection_id = {collection.pk}"
            )
        finally:
            cursor.execute("RESET maintenance_work_mem")
