"""Writing calls: each once, with what they add up to, in one transaction."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson
from django.db import connection, transaction

from inference.calls import feedback, partitions
from inference.models import Call
from inference.usage import locks, rollups
from infra.bulk_copy import copy_rows

# A call that is sent again under another moment is recognised, if it is not further away than that.
SAME_CALL_WITHIN = timedelta(days=3)
# What a call has beside what it must have.
DEFAULTS: Mapping[str, Any] = {
    **dict.fromkeys(
        (
            *("model_name", "label", "route", "config_hash", "fallback", "error", "finish_reason", "subject", "trace"),
            "key",
        ),
        "",
    ),
    **dict.fromkeys(("failed", "is_simulation", "is_repaired", "is_cached"), False),
    **dict.fromkeys(
        (
            *("latency_ms", "tokens_in", "tokens_cached", "tokens_cache_write", "tokens_out", "tokens_reasoning"),
            *("cost_usd", "format_ok", "score", "time_to_first_token_ms"),
        )
    ),
    "retrieved": [],
    "metadata": {},
}
REQUIRED = ("project", "version", "environment", "reference", "at")
COPIED = (*REQUIRED, "day", *DEFAULTS)
AS_JSON = ("retrieved", "metadata")

# With lists as parameters: as many as a query of the ORM has would take longer than all else.
PRESENT = """
SELECT project_id, reference FROM inference_call
WHERE project_id = ANY(%(projects)s) AND reference = ANY(%(references)s) AND day BETWEEN %(first)s AND %(last)s
"""

NewCall = Mapping[str, Any]


def new_call(**members: Any) -> dict[str, Any]:
    """Return a call to be stored: with everything that it does not say. `project` and `version` are keys of rows."""
    unknown = members.keys() - set(REQUIRED) - DEFAULTS.keys()
    if unknown or (missing := set(REQUIRED) - members.keys()):
        raise TypeError(f"members of a call: {sorted(unknown or missing)}")
    return {**DEFAULTS, **members}


@transaction.atomic
def store(calls: Sequence[NewCall]) -> list[NewCall]:
    """Insert calls, add them up, and attach the feedback that waits for them; returns those that are new. One that is
    there already, by its project and reference, is left as it is.

    Calls of a project are stored one batch after the other: two that bring the same call at once count it once.
    """
    if not calls:
        return []
    locks.lock_calls({call["project"] for call in calls})
    new = _without_known(calls)
    if not new:
        return []
    partitions.ensure(partitions.day_of(call["at"]) for call in new)
    copy_rows(Call, COPIED, map(_copied, new))
    rollups.add_calls(new)
    feedback.attach_waiting(new)
    return new


def _without_known(calls: Sequence[NewCall]) -> list[NewCall]:
    by_name = {(call["project"], call["reference"]): call for call in reversed(calls)}
    moments: list[datetime] = [call["at"] for call in calls]
    first = partitions.day_of(min(moments) - SAME_CALL_WITHIN)
    last = partitions.day_of(max(moments) + SAME_CALL_WITHIN)
    with connection.cursor() as cursor:
        names = {"projects": list({project for project, _ in by_name}), "references": [each for _, each in by_name]}
        cursor.execute(PRESENT, {**names, "first": first, "last": last})
        present = set(cursor.fetchall())
    # In the order in which they came.
    return [call for name, call in reversed(by_name.items()) if name not in present]


def _copied(call: NewCall) -> list[Any]:
    row = [call[name] for name in REQUIRED]
    row.append(partitions.day_of(call["at"]))
    row += [orjson.dumps(call[name]).decode() if name in AS_JSON else call[name] for name in DEFAULTS]
    return row
