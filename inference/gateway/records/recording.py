"""Records of the spool as rows: each call once, and what its key has used, however often it is saved."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django.db import DataError, IntegrityError, close_old_connections, transaction
from django.db.models import F

from inference.calls import partitions, shadow_pairs, storage
from inference.calls.storage import NewCall
from inference.gateway.records.spool import Record
from inference.models import CallText
from registry.accounts.key_limits import DayUsage
from registry.models import APIKey, KeyUsage, PromptVersion

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Row:
    """A record with its row, and what is counted for its key."""

    record: Record
    call: NewCall
    process: str
    usage: DayUsage
    text: CallText | None


def save(records: Sequence[Record]) -> list[Record]:
    """Insert calls; those that are there already are left as they are, and count for their key once. Returns those that
    the database refuses for what they are, which no later attempt would save."""
    close_old_connections()
    pairs = [record for record in records if _is_pair(record)]
    rows, refused = _readable([record for record in records if not _is_pair(record)])
    refused += shadow_pairs.store(pairs) if pairs else []
    versions = PromptVersion.objects.filter(pk__in={row.call["version"] for row in rows}).values_list("pk", flat=True)
    present = set(versions)
    refused += [row.record for row in rows if row.call["version"] not in present]
    rows = [row for row in rows if row.call["version"] in present]
    try:
        _insert(rows)
    except (DataError, IntegrityError):
        refused += _save_each(rows)
    if refused:
        logger.warning("gateway.records_refused records=%d", len(refused))
    return refused


def _is_pair(record: Record) -> bool:
    """Return whether a record is a shadow's, and no call."""
    return isinstance(record, dict) and shadow_pairs.ARM in record


def _readable(records: Sequence[Record]) -> tuple[list[_Row], list[Record]]:
    """Return records with their rows, and those that are no records of this version of Cuebook: a newer one may have
    written them, or a disk."""
    rows, refused = [], []
    for record in records:
        try:
            rows.append(_row(record))
        except (TypeError, ValueError, KeyError, ArithmeticError):
            logger.exception("gateway.record_unreadable")
            refused.append(record)
    return rows, refused


def _save_each(rows: Sequence[_Row]) -> list[Record]:
    """Insert calls one by one, so that one that is refused takes no other along."""
    refused = []
    for row in rows:
        try:
            _insert([row])
        except (DataError, IntegrityError):
            logger.exception("gateway.record_refused %s", row.call["reference"])
            refused.append(row.record)
    return refused


@transaction.atomic
def _insert(rows: Sequence[_Row]) -> None:
    """Insert calls, and count those that are new."""
    new = {id(call) for call in storage.store([row.call for row in rows], replaces_reports=True)}
    new_rows = [row for row in rows if id(row.call) in new]
    texts = [row.text for row in new_rows if row.text and not row.call.get("is_forgotten")]
    CallText.objects.bulk_create(texts, ignore_conflicts=True)
    _count(new_rows)


def _count(rows: Iterable[_Row]) -> None:
    """Add what calls have used to the days of their keys. A key that is gone has no more limits."""
    by_key: dict[tuple[str, date, str], DayUsage] = {}
    for row in rows:
        place = (row.call["key"], partitions.day_of(row.call["at"]), row.process)
        by_key[place] = by_key.get(place, DayUsage()) + row.usage
    keys = dict(APIKey.objects.filter(key_id__in={name for name, _, _ in by_key}).values_list("key_id", "pk"))
    # In one order for all processes.
    for (name, day, process), usage in sorted(by_key.items()):
        if name not in keys:
            continue
        place_of_key: Mapping[str, Any] = {"key_id": keys[name], "day": day, "process": process}
        KeyUsage.objects.bulk_create([KeyUsage(**place_of_key)], ignore_conflicts=True)
        KeyUsage.objects.filter(**place_of_key).update(
            requests=F("requests") + usage.requests,
            tokens=F("tokens") + usage.tokens,
            cost_usd=F("cost_usd") + usage.dollars,
        )


def _row(record: Record) -> _Row:
    members: dict[str, Any] = dict(record)
    spent, process = members.pop("cost_usd"), str(members.pop("process", ""))
    kept_text = members.pop("text", None)
    cost = None if spent is None else Decimal(spent)
    known_cost = Decimal(members.pop("known_cost_usd", None) or cost or 0)
    usage = DayUsage(1, int(members.pop("tokens", 0)), known_cost)
    call = storage.new_call(at=datetime.fromisoformat(members.pop("at")), cost_usd=cost, **members)
    text = None
    if kept_text:
        members = {name: call[name] for name in ("reference", "at", "subject")}
        members |= {"messages": kept_text["messages"], "answer": kept_text["answer"]}
        members["variables"] = kept_text.get("variables", {})
        text = CallText(project_id=call["project"], **members)
    return _Row(record, call, process, usage, text)
