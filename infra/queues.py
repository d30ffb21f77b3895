"""Queues of tasks; a task is declared with its queue and its limits (`@task(name=..., queue=LONG, ...)`).

A worker that is told nothing takes from all queues.
"""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from celery import Task, shared_task

P = ParamSpec("P")
R = TypeVar("R")
# Seconds of work: reconciling, steps, imports of ten rows.
SHORT = "celery"
# Minutes of work, so that short tasks do not wait behind it.
LONG = "long"
# What a user watches while it comes; it waits for nothing else.
PLAYGROUND = "playground"
QUEUES = (SHORT, LONG, PLAYGROUND)


def task(*, name: str, queue: str, time_limit: int, soft_time_limit: int) -> Callable[[Callable[P, R]], "Task[P, R]"]:
    """Declare a task: its queue, and after how many seconds it is told to end (soft) and killed."""
    options: dict[str, Any] = {
        "name": name,
        "queue_name": queue,
        "time_limit": time_limit,
        "soft_time_limit": soft_time_limit,
    }

    def declare(function: Callable[P, R]) -> "Task[P, R]":
        return cast("Task[P, R]", shared_task(**options)(function))

    return declare


def route(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **_: Any) -> dict[str, str] | None:
    """Send a task to the queue that it declares (a router of Celery's `task_routes`)."""
    queue = getattr(task, "queue_name", None)
    return {"queue": queue} if queue else None
