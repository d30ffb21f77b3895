"""Work for the workers; each task loads by id, calls one function, and has its limits. The rows are the messages
(infra.work), so a broker that is away costs seconds, not work."""

from django.core.management import call_command

from infra.queues import LONG, SHORT, task
from infra.work import start, start_waiting
from registry.delivery import fetch_stats, snapshots
from registry.examples import text_vectors, vector_search
from registry.models import Collection, CollectionEmbedding, Embedding, ExampleSetVersion
from registry.operations import heartbeats
from registry.retrieval import indexing

EMBEDDING_SECONDS = 3_600


@task(name="registry.tasks.clear_expired_sessions", queue=SHORT, time_limit=300, soft_time_limit=270)
def clear_expired_sessions() -> None:
    """Remove expired sessions."""
    call_command("clearsessions")


@task(name="registry.tasks.clear_old", queue=SHORT, time_limit=300, soft_time_limit=270)
def clear_old() -> None:
    """Delete old counts of fetches, old snapshots and vectors, and heartbeats of processes that are gone."""
    fetch_stats.clear_old()
    snapshots.clear_old()
    heartbeats.clear_old()
    text_vectors.clear_old()


@task(name="registry.tasks.embed", queue=LONG, time_limit=EMBEDDING_SECONDS + 30, soft_time_limit=EMBEDDING_SECONDS)
def embed(work_id: int) -> None:
    """Embed what one version's examples lack."""
    work = Embedding.objects.select_related("version__example_set").filter(pk=work_id).first()
    if work:
        vector_search.embed_missing(work)


@task(name="registry.tasks.sweep_embeddings", queue=SHORT, time_limit=60, soft_time_limit=50)
def sweep_embeddings() -> None:
    """Start what waits: its own task was lost, or its worker died."""
    start_waiting(embed, vector_search.claimable_embeddings().values_list("pk", flat=True)[:50])
    indexing.requeue_incomplete()
    start_waiting(embed_collection, indexing.claimable_embeddings().values_list("pk", flat=True)[:50])


@task(
    name="registry.tasks.embed_collection",
    queue=LONG,
    time_limit=EMBEDDING_SECONDS + 30,
    soft_time_limit=EMBEDDING_SECONDS,
)
def embed_collection(work_id: int) -> None:
    """Embed what a collection lacks."""
    embedding = CollectionEmbedding.objects.select_related("collection").filter(pk=work_id).first()
    if embedding and indexing.embed_missing(embedding):
        start(embed_collection, work_id)


def start_collection(collection: Collection) -> None:
    """Start the embedding that a change of a collection left waiting."""
    for row in CollectionEmbedding.objects.filter(collection=collection, state="pending"):
        start(embed_collection, row.pk)


def start_embeddings(version: ExampleSetVersion) -> None:
    """Start the embedding that a commit left waiting."""
    for work in version.embeddings.filter(state="pending"):
        start(embed, work.pk)
