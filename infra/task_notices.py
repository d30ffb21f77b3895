"""Notices of tasks that wait in a queue, so that reconciliation sends none twice. A broker may lose what it accepted;
so a notice counts for some minutes only."""

import logging
from collections.abc import Sequence
from datetime import timedelta

from django.apps import apps
from django.conf import settings
from django.db import DatabaseError, models
from django.utils import timezone

logger = logging.getLogger(__name__)

VALID_FOR = timedelta(minutes=10)


def _notices() -> "models.Manager[models.Model]":
    manager: models.Manager[models.Model] = apps.get_model(settings.TASK_NOTICE_MODEL)._default_manager
    return manager


def without_notice(names: Sequence[str]) -> list[str]:
    """Return those of these tasks that no valid notice speaks of."""
    waiting = _notices().filter(name__in=names, sent_at__gte=timezone.now() - VALID_FOR)
    noticed = set(waiting.values_list("name", flat=True))
    return [name for name in names if name not in noticed]


def write(name: str) -> None:
    """Note that a task was sent. Without a notice it may be sent once more, which does no harm."""
    try:
        _notices().update_or_create(name=name, defaults={"sent_at": timezone.now()})
    except DatabaseError as error:
        logger.warning("task_notice.not_written %s %s", name, error)


def remove(name: str) -> None:
    """Note that a worker has taken a task."""
    try:
        _notices().filter(name=name).delete()
    except DatabaseError as error:
        logger.warning("task_notice.not_removed %s %s", name, error)
