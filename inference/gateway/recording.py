"""Records of the spool as rows: each call once, however often it is saved."""

import logging
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import DataError, IntegrityError, close_old_connections

from inference.gateway.spool import Record
from inference.models import Call
from registry.models import PromptVersion

logger = logging.getLogger(__name__)


def save(records: Sequence[Record]) -> list[Record]:
    """Insert calls; those that are there already are left as they are. Returns those that the database refuses for what
    they are, which no later attempt would save."""
    close_old_connections()
    pairs, refused = _readable(records)
    versions = PromptVersion.objects.filter(pk__in={row.version_id for _, row in pairs}).values_list("pk", flat=True)
    present = set(versions)
    refused += [record for record, row in pairs if row.version_id not in present]
    pairs = [(record, row) for record, row in pairs if row.version_id in present]
    try:
        Call.objects.bulk_create([row for _, row in pairs], ignore_conflicts=True)
    except (DataError, IntegrityError):
        refused += _save_each(pairs)
    if refused:
        logger.warning("gateway.records_refused records=%d", len(refused))
    return refused


def _readable(records: Sequence[Record]) -> tuple[list[tuple[Record, Call]], list[Record]]:
    """Return records with their rows, and those that are no records of this version of Cuebook: a newer one may have
    written them, or a disk."""
    pairs, refused = [], []
    for record in records:
        try:
            pairs.append((record, _call(record)))
        except (TypeError, ValueError, KeyError, ArithmeticError):
            logger.exception("gateway.record_unreadable")
            refused.append(record)
    return pairs, refused


def _save_each(pairs: Sequence[tuple[Record, Call]]) -> list[Record]:
    """Insert calls one by one, so that one that is refused takes no other along."""
    refused = []
    for record, row in pairs:
        try:
            Call.objects.bulk_create([row], ignore_conflicts=True)
        except (DataError, IntegrityError):
            logger.exception("gateway.record_refused %s", row.reference)
            refused.append(record)
    return refused


def _call(record: Record) -> Call:
    members: dict[str, Any] = dict(record)
    cost = members.pop("cost_usd")
    return Call(
        project_id=members.pop("project"),
        version_id=members.pop("version"),
        at=datetime.fromisoformat(members.pop("at")),
        cost_usd=None if cost is None else Decimal(cost),
        **members,
    )
