"""Locks of the calls' tables that transactions hold, by numbers of their own in PostgreSQL."""

from collections.abc import Iterable

from django.db import connection

_DAYS, _CALLS, _ROLLUPS = 7_301, 7_302, 7_303


def lock_days() -> None:
    """Wait until nobody else makes partitions, and keep others from it until the transaction ends."""
    _lock(_DAYS, 0)


def lock_calls(projects: Iterable[int]) -> None:
    """Wait until nobody else stores calls of these projects, and keep others from it until the transaction ends."""
    # In one order for all.
    for project in sorted(projects):
        _lock(_CALLS, project % 2**31)


def try_lock_rollups() -> bool:
    """Keep others from merging usage until the transaction ends; False where somebody else merges."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s, 0)", [_ROLLUPS])
        (is_ours,) = cursor.fetchone() or (False,)
    return bool(is_ours)


def _lock(kind: int, number: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [kind, number])
