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
    versions = set(
        PromptVersion.objects.filter(pk__in={record["version"] for record in records}).values_list("pk", flat=True)
    )
    rows = [_call(record) for record in records if record["version"] in versions]
    if len(rows) < len(records):
        logger.warning("gateway.version_gone records=%d", len(records) - len(rows))
    try:
        Call.objects.bulk_create(rows, ignore_conflicts=True)
    except (DataError, IntegrityError):
        return _save_each(rows, records)
    return []


def _save_each(rows: Sequence[Call], records: Sequence[Record]) -> list[Record]:
    """Insert calls one by one, so that one that is refused takes no other along."""
    by_reference = {str(record["reference"]): record for record in records}
    refused = []
    for row in rows:
        try:
            Call.objects.bulk_create([row], ignore_conflicts=True)
        except (DataError, IntegrityError):
            logger.exception("gateway.record_refused %s", row.reference)
            refused.append(by_reference[row.reference])
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
