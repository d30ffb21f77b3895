"""Usage by the minute, the hour and the day: written with the calls, merged by workers, and read by its span of time.

Whoever stores calls adds deltas, in the same transaction: they never wait for each other. Workers merge the deltas of a
minute, minutes that are days old to hours, and hours that are months old to days. Each call is in one row at all times,
so that sums never count it twice, or not at all.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from inference.models import Call, RollupSpan, UsageRollup
from inference.usage import locks
from inference.usage.stats import UsageCounter, UsageStats, sum_usage

# Deltas are merged when their minute is over for so long: most of it has come.
SETTLED = timedelta(minutes=2)
MERGED_AT_ONCE = 5_000


@dataclass(frozen=True)
class Place:
    """What a rollup is of, but for its time."""

    version: int
    environment: str
    config_hash: str
    route: str
    is_simulation: bool
    experiment_run: int = 0
    experiment_step: int = 0
    arm: str = ""


# The members of a place but its version: as calls and rollups have them.
MEMBERS = tuple(member.name for member in fields(Place))[1:]


def add_calls(calls: Iterable[Mapping[str, Any]]) -> None:
    """Add stored calls to the minutes in which they were made."""
    counters: dict[tuple[Place, datetime], UsageCounter] = {}
    for call in calls:
        name = (place_of(call), start_of(call["at"], RollupSpan.MINUTE))
        counter = counters.get(name)
        if counter is None:
            counter = counters[name] = UsageCounter()
        counter.add_call(call)
    add_deltas((place, start, counter.stats()) for (place, start), counter in counters.items())


def place_of(call: Mapping[str, Any]) -> Place:
    """Return what a call's rollups are of."""
    return Place(call["version"], *(call[member] for member in MEMBERS))


def add_deltas(deltas: Iterable[tuple[Place, datetime, UsageStats]]) -> None:
    """Add usage to minutes, in the current transaction."""
    UsageRollup.objects.bulk_create(
        _row(place, RollupSpan.MINUTE, start, stats, is_delta=True) for place, start, stats in deltas
    )


def _row(place: Place, span: RollupSpan, start: datetime, stats: UsageStats, *, is_delta: bool) -> UsageRollup:
    return UsageRollup(
        version_id=place.version,
        **{member: getattr(place, member) for member in MEMBERS},
        minutes=span,
        start=start,
        is_delta=is_delta,
        usage=stats.as_dict(),
    )


def start_of(at: datetime, span: RollupSpan) -> datetime:
    """Return when the minute, hour or day (UTC) begins that a moment is in."""
    at = at.astimezone(UTC).replace(second=0, microsecond=0)
    if span == RollupSpan.MINUTE:
        return at
    return at.replace(minute=0) if span == RollupSpan.HOUR else at.replace(minute=0, hour=0)


def merge(now: datetime | None = None) -> int:
    """Merge what is due: deltas to minutes, minutes to hours, hours to days. Returns how many rows fewer there are."""
    moment = now or timezone.now()
    minutes_until = start_of(moment - timedelta(hours=settings.USAGE_MINUTES_HOURS), RollupSpan.HOUR)
    hours_until = start_of(moment - timedelta(days=settings.USAGE_HOURS_DAYS), RollupSpan.DAY)
    deltas = UsageRollup.objects.filter(is_delta=True, start__lt=moment - SETTLED)
    minutes = UsageRollup.objects.filter(minutes=RollupSpan.MINUTE, start__lt=minutes_until)
    hours = UsageRollup.objects.filter(minutes=RollupSpan.HOUR, start__lt=hours_until)
    fewer = 0
    for rows, span in ((deltas, RollupSpan.MINUTE), (minutes, RollupSpan.HOUR), (hours, RollupSpan.DAY)):
        while (merged := _merge(rows, span))[0]:
            fewer += merged[0] - merged[1]
    return fewer


@transaction.atomic
def _merge(rows: QuerySet[UsageRollup], span: RollupSpan) -> tuple[int, int]:
    """Replace rows, and those of the longer span that they belong to, by one for each place and time. Returns how many
    there were, and how many there are; nothing is done where another worker is at it."""
    taken = list(rows.order_by("id")[:MERGED_AT_ONCE]) if locks.try_lock_rollups() else []
    if not taken:
        return 0, 0
    groups: dict[tuple[Place, datetime], list[UsageRollup]] = {}
    for row in taken:
        groups.setdefault((place_of_row(row), start_of(row.start, span)), []).append(row)
    present = UsageRollup.objects.filter(
        version__in={place.version for place, _ in groups},
        start__in={start for _, start in groups},
        minutes=span,
        is_delta=False,
    )
    keys = {row.pk for row in taken}
    for row in present.exclude(pk__in=keys):
        if (name := (place_of_row(row), row.start)) in groups:
            groups[name].append(row)
            keys.add(row.pk)
    UsageRollup.objects.filter(pk__in=keys).delete()
    UsageRollup.objects.bulk_create(
        _row(place, span, start, sum_usage(usage_in(row) for row in group), is_delta=False)
        for (place, start), group in groups.items()
    )
    return len(keys), len(groups)


def place_of_row(row: UsageRollup | Call) -> Place:
    """Return what a rollup is of, or the rollups of a call."""
    return Place(row.version_id, *(getattr(row, member) for member in MEMBERS))


def usage_in(row: UsageRollup) -> UsageStats:
    return UsageStats.from_dict(row.usage)


def between(since: datetime, until: datetime, **filters: Any) -> QuerySet[UsageRollup]:
    """Return the rollups that begin from `since` on and before `until`."""
    return UsageRollup.objects.filter(start__gte=since, start__lt=until, **filters).order_by()


def by_time(rows: Iterable[UsageRollup], span: RollupSpan) -> dict[datetime, UsageStats]:
    """Add rollups up by the minute, hour or day; rows of a longer span are at its beginning."""
    groups: dict[datetime, list[UsageStats]] = {}
    for row in rows:
        groups.setdefault(start_of(row.start, span), []).append(usage_in(row))
    return {start: sum_usage(group) for start, group in sorted(groups.items())}


def by_version(rows: Sequence[UsageRollup] | QuerySet[UsageRollup]) -> dict[int, UsageStats]:
    """Add rollups up by version."""
    groups: dict[int, list[UsageStats]] = {}
    for row in rows:
        groups.setdefault(row.version_id, []).append(usage_in(row))
    return {version: sum_usage(group) for version, group in groups.items()}
