"""Work for the workers; each task loads by id, calls one function, and has its limits."""

from celery import shared_task
from django.core.management import call_command


@shared_task(name="registry.tasks.clear_expired_sessions", time_limit=300, soft_time_limit=270)
def clear_expired_sessions() -> None:
    """Remove sessions that nobody can use any more."""
    call_command("clearsessions")
