"""Pairs of a live call and a shadow's answer: stored from the spool, and what they cost."""

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import DataError, IntegrityError, transaction
from django.db.models import Sum
from django.utils import timezone

from inference.models import ExperimentArm, ShadowPair
from registry.accounts.key_limits import DayUsage

logger = logging.getLogger(__name__)
ARM = "shadow_arm"


def store(records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Insert pairs as the inference service writes them; one that is there already stays. Returns those that can never
    be saved."""
    refused = []
    for record in records:
        try:
            with transaction.atomic():
                ShadowPair.objects.bulk_create([_row(record)], ignore_conflicts=True)
        except (KeyError, TypeError, ValueError, ArithmeticError, DataError, IntegrityError):
            # None of them keeps the calls of its segment from being recorded.
            logger.exception("spool.pair_refused")
            refused.append(record)
    return refused


def _row(record: Mapping[str, Any]) -> ShadowPair:
    members = dict(record)
    arm = ExperimentArm.objects.filter(pk=int(members.pop(ARM))).first()
    if arm is None:
        raise ValueError("There is no such arm.")
    costs = {name: members.pop(name) for name in ("live_cost_usd", "cost_usd")}
    at = datetime.fromisoformat(members.pop("at"))
    members |= {name: None if cost is None else Decimal(cost) for name, cost in costs.items()}
    return ShadowPair(arm=arm, at=at, **members)


def cost_of_others(arm: int, day: date, *, process: str) -> DayUsage:
    """Return what a shadow has cost other processes on a day (UTC)."""
    since = datetime.combine(day, time(), tzinfo=UTC)
    rows = ShadowPair.objects.filter(arm=arm, at__gte=since, at__lt=since + timedelta(days=1)).exclude(process=process)
    total = rows.aggregate(dollars=Sum("cost_usd"))
    return DayUsage(dollars=total["dollars"] or Decimal())


def clear_old() -> int:
    """Delete pairs that are as old as the calls that are deleted; returns how many."""
    until = timezone.now() - timedelta(days=settings.CALLS_RETENTION_DAYS)
    return ShadowPair.objects.filter(at__lt=until).delete()[0]
