"""Work for the workers; each task loads by id, calls one function, and has its limits.

What is to be done is a row; a task only shortens the wait for it. So a broker that is away costs seconds, not work.
"""

import logging
from typing import Any

from celery import Task, shared_task
from django.core.management import call_command
from django.db import transaction
from kombu.exceptions import OperationalError

from registry.delivery import fetch_stats, snapshots
from registry.examples import vector_search
from registry.models import Embedding, ExampleSetVersion

logger = logging.getLogger(__name__)

EMBEDDING_SECONDS = 3_600


def start(task: "Task[Any, Any]", *arguments: Any) -> None:
    """Send a task when the transaction is over. Without a broker the sweep finds the row instead."""
    transaction.on_commit(lambda: _send(task, arguments))


def _send(task: "Task[Any, Any]", arguments: tuple[Any, ...]) -> None:
    try:
        task.apply_async(args=arguments, retry=False)
    except OperationalError as error:
        logger.warning("task.not_sent %s %s", task.name, error)


@shared_task(name="registry.tasks.clear_expired_sessions", time_limit=300, soft_time_limit=270)
def clear_expired_sessions() -> None:
    """Remove sessions that nobody can use any more."""
    call_command("clearsessions")


@shared_task(name="registry.tasks.clear_old", time_limit=300, soft_time_limit=270)
def clear_old() -> None:
    """Forget counts of fetches and snapshots that nobody asks for any more."""
    fetch_stats.clear_old()
    snapshots.clear_old()


@shared_task(name="registry.tasks.embed", time_limit=EMBEDDING_SECONDS + 30, soft_time_limit=EMBEDDING_SECONDS)
def embed(work_id: int) -> None:
    """Embed what one version's examples lack."""
    work = Embedding.objects.select_related("version__example_set").filter(pk=work_id).first()
    if work:
        vector_search.fill(work)


@shared_task(name="registry.tasks.sweep_embeddings", time_limit=60, soft_time_limit=50)
def sweep_embeddings() -> None:
    """Start what waits: its own task was lost, or its worker died."""
    for work_id in vector_search.open_work().values_list("pk", flat=True)[:50]:
        start(embed, work_id)


def embed_soon(version: ExampleSetVersion) -> None:
    """Start the embedding that a commit left waiting."""
    for work in version.embeddings.filter(state="pending"):
        start(embed, work.pk)
