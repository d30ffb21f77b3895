"""Queues of tasks; each task declares its own (`@shared_task(queue_name=LONG, ...)`), and a test wants one from each.

A worker that is told nothing takes from all of them.
"""

from typing import Any

# Seconds of work: reconciling, steps, imports of ten rows.
SHORT = "celery"
# Minutes of work, so that short tasks do not wait behind it.
LONG = "long"
# What a user watches while it comes; it waits for nothing else.
PLAYGROUND = "playground"
QUEUES = (SHORT, LONG, PLAYGROUND)


def route(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **_: Any) -> dict[str, str] | None:
    """Send a task to the queue that it declares (a router of Celery's `task_routes`)."""
    queue = getattr(task, "queue_name", None)
    return {"queue": queue} if queue else None
