"""Embedding the chunks of a collection, and an index over them where there are many."""

from django.db import connection
from django.db.models import Q, QuerySet

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


def missing(collection: Collection) -> QuerySet[Chunk]:
    """Return the chunks without a vector, those that count now first."""
    return Chunk.objects.filter(collection=collection, vector=None).order_by("-id")


def claimable_embeddings() -> QuerySet[CollectionEmbedding]:
    """Return what waits for a worker, or was left by one that went silent."""
    return CollectionEmbedding.objects.filter(CollectionEmbedding.claimable()).order_by("id")


def embed_missing(embedding: CollectionEmbedding) -> None:
    """Embed what a collection lacks, batch by batch, each saved when it is done; then index a large one. Does nothing
    where another worker holds the row."""
    lease = work.claim(embedding, error="")
    if lease:
        work.run(lease, lambda: _embed_missing(lease))


def _embed_missing(lease: Lease[CollectionEmbedding]) -> None:
    collection = lease.item.collection
    while batch := list(missing(collection).defer("search_vector")[:BATCH]):
        vectors = text_vectors.embed(collection.embedder, [embedded_text(chunk) for chunk in batch])
        for chunk, vector in zip(batch, vectors, strict=True):
            chunk.vector = vector
        Chunk.objects.bulk_update(batch, ["vector"])
        left = missing(collection).count()
        total = Chunk.objects.filter(collection=collection).count()
        lease.save(done=total - left, total=total)
    _index(collection)
    lease.finish(WorkState.DONE)


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
    with connection.cursor() as cursor:
        # Concurrently where it can be: other collections are searched and changed meanwhile.
        way = "" if connection.in_atomic_block else "CONCURRENTLY "
        # As much as 100,000 vectors and their neighbours take; with less it is built in many times the time.
        cursor.execute("SET maintenance_work_mem = '256MB'")
        try:
            cursor.execute(
                f"CREATE INDEX {way}IF NOT EXISTS chunk_vectors_{collection.pk} ON registry_chunk "
                f"USING hnsw ({vectors}) WHERE collection_id = {collection.pk}"
            )
        finally:
            cursor.execute("RESET maintenance_work_mem")
