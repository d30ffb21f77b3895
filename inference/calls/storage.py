"""Writing calls: each once, with what they add up to, in one transaction."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import orjson
from django.db import connection, transaction
from django.forms.models import model_to_dict

from inference.calls import feedback, partitions
from inference.models import Call, CallText, DeletedSubject, RollupSpan
from inference.usage import locks, rollups, units
from inference.usage.stats import usage_of
from inference.usage.units import digest_of
from infra.bulk_copy import copy_rows

# A call that is sent again under another moment is recognised, if it is not further away than that.
SAME_CALL_WITHIN = timedelta(days=3)
# What a call has beside what it must have.
DEFAULTS: Mapping[str, Any] = {
    **dict.fromkeys(
        (
            *("model_name", "label", "route", "config_hash", "fallback", "error", "finish_reason", "subject", "trace"),
            *("key", "arm"),
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
    **dict.fromkeys(("experiment_run", "experiment_step"), 0),
    "retrieved": [],
    "metadata": {},
}
REQUIRED = ("project", "version", "environment", "reference", "at")
COPIED = (*REQUIRED, "day", *DEFAULTS)
AS_JSON = ("retrieved", "metadata")

# With lists as parameters: as many as a query of the ORM has would take longer than all else.
PRESENT = """
SELECT project_id, reference, route, day FROM inference_call
WHERE project_id = ANY(%(projects)s) AND reference = ANY(%(references)s) AND day BETWEEN %(first)s AND %(last)s
"""

NewCall = dict[str, Any]


def new_call(**members: Any) -> dict[str, Any]:
    """Return a call to be stored: with everything that it does not say. `project` and `version` are keys of rows."""
    unknown = members.keys() - set(REQUIRED) - DEFAULTS.keys()
    if unknown or (missing := set(REQUIRED) - members.keys()):
        raise TypeError(f"members of a call: {sorted(unknown or missing)}")
    return {**DEFAULTS, **members}


@transaction.atomic
def store(calls: Sequence[NewCall], *, replaces_reports: bool = False) -> list[NewCall]:
    """Insert calls, add them up, and attach the feedback that waits for them; returns those that are new. One that is
    there already, by its project and reference, is left as it is.

    With `replaces_reports`, which is for the inference service, a call that somebody else has reported under its id
    gives way. A call of a subject that was deleted since loses subject and metadata, and has `is_forgotten`.

    Calls of a project are stored one batch after the other: two that bring the same call at once count it once.
    """
    if not calls:
        return []
    locks.lock_calls({call["project"] for call in calls})
    new = _without_known(calls, replaces_reports=replaces_reports)
    if not new:
        return []
    _forget_subjects(new)
    partitions.ensure(partitions.day_of(call["at"]) for call in new)
    copy_rows(Call, COPIED, map(_copied, new))
    rollups.add_calls(new)
    units.add_calls(new)
    feedback.attach_waiting(new)
    return new


def _without_known(calls: Sequence[NewCall], *, replaces_reports: bool) -> list[NewCall]:
    by_name = {(call["project"], call["reference"]): call for call in reversed(calls)}
    moments: list[datetime] = [call["at"] for call in calls]
    first = partitions.day_of(min(moments) - SAME_CALL_WITHIN)
    last = partitions.day_of(max(moments) + SAME_CALL_WITHIN)
    with connection.cursor() as cursor:
        names = {"projects": list({project for project, _ in by_name}), "references": [each for _, each in by_name]}
        cursor.execute(PRESENT, {**names, "first": first, "last": last})
        # Each project's ids are looked for in all of these projects.
        rows = [row for row in cursor.fetchall() if row[:2] in by_name]
    present = {(project, reference) for project, reference, _, _ in rows}
    if replaces_reports:
        reported = [(project, reference, day) for project, reference, route, day in rows if not route]
        reported = [name for name in reported if by_name[name[:2]]["route"]]
        _withdraw(reported)
        present -= {name[:2] for name in reported}
    # In the order in which they came.
    return [call for name, call in reversed(by_name.items()) if name not in present]


def _withdraw(names: Sequence[tuple[int, str, date]]) -> None:
    """Delete calls with their texts, and take them out of what they were added to; names are project, reference and
    day. Their feedback waits again."""
    for project, reference, day in names:
        rows = Call.objects.filter(project=project, reference=reference, day=day, route="")
        for row in rows:
            call = {**model_to_dict(row), "version": row.version_id}
            place = rollups.place_of(call)
            rollups.add_deltas([(place, rollups.start_of(row.at, RollupSpan.MINUTE), usage_of([call]).negated())])
            feedback.detach(row)
            units.take_away([call])
        rows.delete()
        CallText.objects.filter(project=project, reference=reference).delete()


def _forget_subjects(calls: Sequence[NewCall]) -> None:
    named = {digest_of(call["project"], call["subject"]): call for call in calls if call["subject"]}
    deleted = dict(DeletedSubject.objects.filter(digest__in=named).values_list("digest", "at")) if named else {}
    if not deleted:
        return
    for call in calls:
        at = deleted.get(digest_of(call["project"], call["subject"])) if call["subject"] else None
        if at is not None and call["at"] <= at:
            call.update(subject="", metadata={}, is_forgotten=True)


def _copied(call: NewCall) -> list[Any]:
    row = [call[name] for name in REQUIRED]
    row.append(partitions.day_of(call["at"]))
    row += [orjson.dumps(call[name]).decode() if name in AS_JSON else call[name] for name in DEFAULTS]
    return row
