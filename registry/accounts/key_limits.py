"""Limits of API keys: what each may ask of the inference service on a day, and what it has asked.

A day is a day in UTC. Requests that failed count; tokens and dollars are those of the answers. A limit is checked
before a call, so calls that are on their way when it is reached still end.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Sum

from core.errors import Fault, Problem
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.models import APIKey, KeyUsage, Project

MAX_COUNT = 10**15
MAX_DOLLARS = Decimal(10**7)
DAYS_SHOWN = 14


@dataclass(frozen=True)
class DailyLimits:
    """The most on a day; None: as much as it likes."""

    max_requests_a_day: int | None = None
    max_tokens_a_day: int | None = None
    max_dollars_a_day: Decimal | None = None

    def __bool__(self) -> bool:
        return self != NO_LIMITS

    def as_dict(self) -> dict[str, str | None]:
        """Return the limits as the audit log has them."""
        values = {name: getattr(self, name) for name in LIMIT_NAMES}
        return {name: None if value is None else str(value) for name, value in values.items()}


NO_LIMITS = DailyLimits()
LIMIT_NAMES = tuple(member.name for member in fields(DailyLimits))


@dataclass(frozen=True)
class DayUsage:
    """What a key has asked on a day."""

    requests: int = 0
    tokens: int = 0
    dollars: Decimal = Decimal()

    def __add__(self, other: "DayUsage") -> "DayUsage":
        return DayUsage(self.requests + other.requests, self.tokens + other.tokens, self.dollars + other.dollars)

    def reached(self, limits: DailyLimits) -> str:
        """Return the limit that is used up, as a sentence names it; empty where there is none."""
        if limits.max_requests_a_day is not None and self.requests >= limits.max_requests_a_day:
            return f"{limits.max_requests_a_day:,} requests"
        if limits.max_tokens_a_day is not None and self.tokens >= limits.max_tokens_a_day:
            return f"{limits.max_tokens_a_day:,} tokens"
        if limits.max_dollars_a_day is not None and self.dollars >= limits.max_dollars_a_day:
            return f"${limits.max_dollars_a_day.normalize():f}"
        return ""


def limits_of(key: APIKey) -> DailyLimits:
    return DailyLimits(**{name: getattr(key, name) for name in LIMIT_NAMES})


def check_limits(limits: DailyLimits) -> None:
    """Raise `key.invalid` with every limit that is none."""
    faults = []
    for name, most in (
        ("max_requests_a_day", MAX_COUNT),
        ("max_tokens_a_day", MAX_COUNT),
        ("max_dollars_a_day", MAX_DOLLARS),
    ):
        value = getattr(limits, name)
        if value is not None and not 0 <= value <= most:
            faults.append(Fault(f"/{name}", "range", f"Must be from 0 to {most:,}; leave it out for no limit."))
    if faults:
        raise Problem("key.invalid", faults[0].message, faults=faults)


@transaction.atomic
def set_limits(actor: Actor, key: APIKey, limits: DailyLimits) -> APIKey:
    """Set what a key may ask on a day; processes of the inference service hear of it at once."""
    actor.require(Right.ADMINISTER)
    check_limits(limits)
    row = APIKey.objects.select_for_update(no_key=True).get(pk=key.pk, project=actor.project)
    before = limits_of(row)
    if before != limits:
        for name in LIMIT_NAMES:
            setattr(row, name, getattr(limits, name))
        row.save(update_fields=LIMIT_NAMES)
        audit.record(actor, "key.limited", row, before=before.as_dict(), after=limits.as_dict())
    return row


def today() -> date:
    return datetime.now(UTC).date()


def seconds_to_tomorrow(now: datetime) -> float:
    """Return how long the day (UTC) still lasts."""
    tomorrow = datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), datetime.min.time(), tzinfo=UTC)
    return (tomorrow - now).total_seconds()


def usage_of_others(key: int, day: date, process: str) -> DayUsage:
    """Return what a key has asked on a day by all processes but one."""
    rows = KeyUsage.objects.filter(key=key, day=day).exclude(process=process)
    sums = rows.aggregate(requests=Sum("requests"), tokens=Sum("tokens"), dollars=Sum("cost_usd"))
    return _usage(sums)


def usage_today(project: Project) -> dict[int, DayUsage]:
    """Return what a project's keys have asked today, as far as it is recorded: within a second or so."""
    rows = KeyUsage.objects.filter(key__project=project, day=today()).order_by().values("key_id")
    sums = rows.annotate(requests=Sum("requests"), tokens=Sum("tokens"), dollars=Sum("cost_usd"))
    return {row["key_id"]: _usage(row) for row in sums}


def usage_by_day(key: APIKey) -> list[tuple[date, DayUsage]]:
    """Return what a key has asked on its last days, the newest first."""
    rows = KeyUsage.objects.filter(key=key).order_by("-day").values("day")
    sums = rows.annotate(requests=Sum("requests"), tokens=Sum("tokens"), dollars=Sum("cost_usd"))[:DAYS_SHOWN]
    return [(row["day"], _usage(row)) for row in sums]


def _usage(row: Mapping[str, Any]) -> DayUsage:
    return DayUsage(int(row["requests"] or 0), int(row["tokens"] or 0), Decimal(row["dollars"] or 0))
