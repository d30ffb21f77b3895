"""The days of the table of calls: one partition each, made before its first call, and dropped when it is old."""

import logging
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from inference.usage import locks

logger = logging.getLogger(__name__)
TABLE = "inference_call"
# Days that are made ahead: calls must not wait for a table.
DAYS_AHEAD = 3
# Whoever drops a day holds up everybody else, so it does not wait for long; the next time is tomorrow.
LOCK_TIMEOUT = "5s"


def day_of(at: datetime) -> date:
    """Return the day (UTC) that a moment is in."""
    return at.astimezone(UTC).date()


def ensure(days: Iterable[date]) -> None:
    """Make the partitions of days, unless they are there. In the current transaction."""
    names = {f"{TABLE}_{day:%Y%m%d}": day for day in set(days)}
    missing = _missing(names)
    if not missing:
        return
    locks.lock_days()
    with connection.cursor() as cursor:
        for name in _missing(missing):
            first, last = names[name], names[name] + timedelta(days=1)
            # Attached, and not created as a part: that would wait for everybody who reads or writes.
            cursor.execute(f"CREATE TABLE {name} (LIKE {TABLE} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
            cursor.execute(f"ALTER TABLE {TABLE} ATTACH PARTITION {name} FOR VALUES FROM ('{first}') TO ('{last}')")


def _missing(names: Iterable[str]) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM unnest(%s::text[]) name WHERE to_regclass(name) IS NULL", [sorted(names)])
        return [name for (name,) in cursor.fetchall()]


def ensure_ahead() -> None:
    """Make the partitions of the next days."""
    today = day_of(timezone.now())
    with transaction.atomic():
        ensure(today + timedelta(days=ahead) for ahead in range(-2, DAYS_AHEAD + 1))


def drop_old(now: datetime | None = None) -> list[date]:
    """Drop the days whose calls are older than the retention (CALLS_RETENTION_DAYS); returns them. What they add up to
    stays (inference.usage.rollups)."""
    until = day_of(now or timezone.now()) - timedelta(days=settings.CALLS_RETENTION_DAYS)
    dropped = []
    for day in days_present():
        if day >= until:
            continue
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
                cursor.execute(f"DROP TABLE {TABLE}_{day:%Y%m%d}")
        except OperationalError:
            # Somebody reads all days: a dump, for example.
            logger.warning("calls.day_not_dropped %s", day, exc_info=True)
            break
        dropped.append(day)
    return dropped


def days_present() -> list[date]:
    """Return the days that have partitions, the oldest first."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = to_regclass(%s)", [TABLE])
        names = [name for (name,) in cursor.fetchall()]
    return sorted(date.fromisoformat(name[-8:]) for name in names)
