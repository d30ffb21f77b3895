"""Feedback: what is learned of calls later. Each value counts once, for the version and the minute of its call.

It names its call by id, by trace, or by subject and prompt: then it is the newest call of that subject within a time
before it. A call that is not recorded yet is waited for.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from core.errors import Fault, Problem
from inference.calls import partitions, reading
from inference.models import Call, Feedback, FeedbackKind, FeedbackSource, RollupSpan
from inference.texts import keeping
from inference.texts.policy import policy_of
from inference.usage import locks, rollups, units
from inference.usage.stats import UsageCounter
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.models import Project
from registry.prompts.versions import renderer_pool

MAX_BATCH_SIZE = 1_000
MAX_NAME, MAX_LABEL, MAX_TEXT = 60, 100, 20_000
# How long before feedback a subject's call may be, by default and at most.
WITHIN, MAX_WITHIN = timedelta(hours=1), timedelta(days=7)
COUNTED = (FeedbackKind.SCORE, FeedbackKind.BOOLEAN)
FREE_TEXTS = (FeedbackKind.COMMENT, FeedbackKind.CORRECTION)

NEWEST_OF_SUBJECT = """
SELECT wanted.reference, newest.id
FROM unnest(%(references)s::text[], %(subjects)s::text[], %(prompts)s::text[],
            %(since)s::timestamptz[], %(until)s::timestamptz[])
     AS wanted (reference, subject, prompt, since, until)
CROSS JOIN LATERAL (
    SELECT call.id FROM inference_call AS call
    JOIN registry_promptversion AS version ON version.id = call.version_id
    JOIN registry_prompt AS prompt ON prompt.id = version.prompt_id
    WHERE call.project_id = %(project)s AND call.subject = wanted.subject AND call.subject <> ''
      AND prompt.name = wanted.prompt AND call.at > wanted.since AND call.at <= wanted.until
      AND call.day BETWEEN %(first)s AND %(last)s
    ORDER BY call.at DESC, call.id DESC LIMIT 1
) AS newest
"""


@dataclass(frozen=True)
class RecordedFeedback:
    """Numbers of values that were recorded, of those that had been recorded before, and of the recorded ones whose
    call is not there yet."""

    recorded: int
    repeated: int
    waiting: int


def record(actor: Actor, documents: Sequence[Any]) -> RecordedFeedback:
    """Record feedback as services report it; all of it, or none where one has a fault."""
    actor.require(Right.OBSERVE)
    return _record(actor, documents)


@transaction.atomic
def _record(actor: Actor, documents: Sequence[Any]) -> RecordedFeedback:
    if not 1 <= len(documents) <= MAX_BATCH_SIZE:
        sentence = f"Send 1 to {MAX_BATCH_SIZE:,} values at once."
        raise Problem("feedback.invalid", sentence, faults=[Fault("/feedback", "count", sentence)])
    faults: list[Fault] = []
    rows = [_read(actor, document, f"/feedback/{place}", faults) for place, document in enumerate(documents)]
    if faults:
        raise Problem("feedback.invalid", faults[0].message, faults=faults)
    by_reference = {row.reference: row for row in reversed(rows) if row is not None}
    _clean_texts(actor.project, [row for row in by_reference.values() if row.kind in FREE_TEXTS])
    # Calls that are being stored are waited for: they look for what waits for them, and would miss this.
    locks.lock_calls([actor.project.pk])
    present = Feedback.objects.filter(project=actor.project, reference__in=by_reference)
    references = set(present.values_list("reference", flat=True))
    new = [row for reference, row in reversed(by_reference.items()) if reference not in references]
    pairs = _find_calls(actor.project, new)
    Feedback.objects.bulk_create(new)
    _count(pairs)
    return RecordedFeedback(len(new), len(documents) - len(new), sum(row.call_at is None for row in new))


def _clean_texts(project: Project, rows: Sequence[Feedback]) -> None:
    """Take out of comments and corrections what the project takes out of texts; also where it keeps none."""
    if rows:
        texts = keeping.cleaned(
            [{"text": row.text} for row in rows], policy_of(project), renderer_pool(), owner=project.pk
        )
        for row, clean in zip(rows, texts, strict=True):
            row.text = str(clean["text"])


def add(actor: Actor, call: Call, *, kind: str, name: str, value: object) -> Feedback:
    """Add what a member of the project says of a call."""
    actor.require(Right.EDIT)
    if kind not in FeedbackKind.values:
        fault = Fault("/kind", "choice", "Choose what kind of feedback it is.")
        raise Problem("feedback.invalid", fault.message, faults=[fault])
    document = {"call": call.reference, "name": name, kind: value, "source": FeedbackSource.PERSON.value}
    reference = str(uuid.uuid4())
    with transaction.atomic():
        _record(actor, [{**document, "id": reference}])
        row = Feedback.objects.get(project=actor.project, reference=reference)
        audit.record(actor, "feedback.added", row, after={"call": call.reference, "name": name, "kind": kind})
    return row


def feedback_of(project: Project, references: Iterable[str]) -> dict[str, list[Feedback]]:
    """Return the feedback of calls, by their ids, the oldest first."""
    rows = Feedback.objects.filter(project=project, call__in=list(references), call_at__isnull=False).order_by("id")
    rows = rows.select_related("version__prompt").defer("version__content")
    by_call: dict[str, list[Feedback]] = {}
    for row in rows:
        by_call.setdefault(row.call, []).append(row)
    return by_call


def attach_waiting(new: Sequence[Mapping[str, Any]]) -> None:
    """Attach feedback that waits for calls that have just been stored, in their transaction."""
    by_project: dict[int, list[Mapping[str, Any]]] = {}
    for call in new:
        by_project.setdefault(call["project"], []).append(call)
    for project, calls in by_project.items():
        waiting = Feedback.objects.filter(project=project, call_at=None)
        if not waiting.exists():
            continue
        named = waiting.filter(call__in=[call["reference"] for call in calls])
        traced = waiting.filter(call="", trace__in={call["trace"] for call in calls} - {""})
        moments = [call["at"] for call in calls if call["subject"]]
        of_subject = waiting.none()
        if moments:
            # What was said before such a call, or long after it, is of another one.
            until = max(moments) + MAX_WITHIN
            subjects = {call["subject"] for call in calls} - {""}
            of_subject = waiting.filter(call="", trace="", subject__in=subjects, at__range=(min(moments), until))
        rows = [*named, *traced, *of_subject]
        _save(_find_calls(Project(pk=project), rows))


def detach(call: Call) -> None:
    """Let the feedback of a call that is withdrawn wait for the one that comes in its place."""
    rows = list(Feedback.objects.filter(project=call.project_id, call=call.reference, call_at=call.at))
    _count([(row, call) for row in rows], are_withdrawn=True)
    # The database refuses another call on a row: these are rows anew.
    Feedback.objects.filter(pk__in=[row.pk for row in rows]).delete()
    for row in rows:
        row.pk = row.call_at = row.version = None
        row.environment = ""
    Feedback.objects.bulk_create(rows)


def clear_old() -> int:
    """Delete feedback that is as old as the calls that are deleted; returns how many values. What was counted stays."""
    until = timezone.now() - timedelta(days=settings.CALLS_RETENTION_DAYS)
    return Feedback.objects.filter(at__lt=until).delete()[0]


def _save(pairs: Sequence[tuple[Feedback, Call]]) -> None:
    Feedback.objects.bulk_update([row for row, _ in pairs], ["call", "call_at", "version", "environment"])
    _count(pairs)


def _find_calls(project: Project, rows: Sequence[Feedback]) -> list[tuple[Feedback, Call]]:
    """Find the calls of feedback, the newest of several that fit, note them on it, and return the pairs."""
    names = {row.call for row in rows} - {""}
    traces = {row.trace for row in rows if not row.call} - {""}
    calls = Call.objects.filter(project=project).order_by("at", "id")
    by_name = {call.reference: call for call in calls.filter(reference__in=names)} if names else {}
    # A trace may have thousands of calls: the database picks the newest.
    newest = calls.order_by("trace", "-at", "-id").distinct("trace")
    by_trace = {call.trace: call for call in newest.filter(trace__in=traces)} if traces else {}
    by_subject = _calls_of_subjects(project, [row for row in rows if not row.call and not row.trace])
    pairs = []
    for row in rows:
        if row.call or row.trace:
            call = by_name.get(row.call) if row.call else by_trace.get(row.trace)
        else:
            call = by_subject.get(row.reference)
        if call is not None:
            row.call, row.call_at = call.reference, call.at
            row.version_id, row.environment = call.version_id, call.environment
            pairs.append((row, call))
    return pairs


def _calls_of_subjects(project: Project, rows: Sequence[Feedback]) -> dict[str, Call]:
    """Return the calls of feedback by subject, by the references of the feedback."""
    if not rows:
        return {}
    windows = [(row.at - timedelta(seconds=row.within_seconds or 0), row.at) for row in rows]
    values: dict[str, Any] = {
        "project": project.pk,
        "references": [row.reference for row in rows],
        "subjects": [row.subject for row in rows],
        "prompts": [row.prompt for row in rows],
        "since": [since for since, _ in windows],
        "until": [until for _, until in windows],
        "first": partitions.day_of(min(since for since, _ in windows)),
        "last": partitions.day_of(max(until for _, until in windows)),
    }
    with connection.cursor() as cursor:
        cursor.execute(NEWEST_OF_SUBJECT, values)
        names = dict(cursor.fetchall())
    days = {"day__gte": values["first"], "day__lte": values["last"]}
    calls = {call.pk: call for call in Call.objects.filter(pk__in=set(names.values()), **days)}
    return {reference: calls[key] for reference, key in names.items()}


def _count(pairs: Sequence[tuple[Feedback, Call]], *, are_withdrawn: bool = False) -> None:
    """Add feedback to the minutes of its calls, or take it away."""
    counters: dict[tuple[rollups.Place, datetime], UsageCounter] = {}
    for row, call in pairs:
        place = rollups.place_of_row(call)
        counter = counters.setdefault((place, rollups.start_of(call.at, RollupSpan.MINUTE)), UsageCounter())
        if row.kind in COUNTED and row.value is not None:
            counter.add_feedback(row.name, 1, row.value, row.value**2)
        elif row.kind == FeedbackKind.LABEL:
            counter.add_feedback_label(row.name, row.text)
    deltas = ((place, start, counter.stats()) for (place, start), counter in counters.items())
    rollups.add_deltas((place, start, stats.negated() if are_withdrawn else stats) for place, start, stats in deltas)
    values = [(row.name, row.value, call) for row, call in pairs if row.kind in COUNTED and row.value is not None]
    units.add_feedback(values, sign=-1 if are_withdrawn else 1)


def _read(actor: Actor, document: Any, pointer: str, faults: list[Fault]) -> Feedback | None:
    """Read a value as it was sent; its faults are added to `faults`."""
    if not isinstance(document, dict):
        faults.append(Fault(pointer, "type", "Must be an object."))
        return None
    members, own_faults = reading.read_members(document, MEMBERS, pointer)
    kinds = [kind for kind in FeedbackKind.values if members.get(kind) not in (None, "")]
    if len(kinds) != 1:
        sentence = f"Needs exactly one of {', '.join(FeedbackKind.values)}."
        own_faults.append(Fault(pointer, "one_of", sentence))
    named_by = [name for name in ("call", "trace", "subject") if members.get(name)]
    if len(named_by) != 1 or (members.get("subject") and not members.get("prompt")):
        sentence = "Names its call by one of call, trace, or subject with prompt."
        own_faults.append(Fault(pointer, "one_of", sentence))
    if own_faults:
        faults += own_faults
        return None
    now = timezone.now()
    at = members.get("at") or now
    within = members.get("within_seconds") or round(WITHIN.total_seconds())
    if not now - timedelta(days=settings.CALLS_RETENTION_DAYS) <= at <= now + timedelta(minutes=5):
        sentence = f"Must be within the last {settings.CALLS_RETENTION_DAYS} days, and not in the future."
        faults.append(Fault(f"{pointer}/at", "range", sentence))
    (kind,) = kinds
    value = members[kind]
    return Feedback(
        project=actor.project,
        reference=members.get("id") or str(uuid.uuid4()),
        call=members.get("call", ""),
        trace=members.get("trace", ""),
        subject=members.get("subject", ""),
        prompt=members.get("prompt", ""),
        within_seconds=within if members.get("subject") else None,
        kind=kind,
        name=members.get("name") or kind,
        value=float(value) if kind in COUNTED else None,
        text="" if kind in COUNTED else value,
        source=members.get("source") or FeedbackSource.SERVICE,
        at=at,
        by_name=actor.name,
    )


MEMBERS: Mapping[str, reading.Read] = {
    "id": reading.text(reading.MAX_ID),
    "call": reading.text(reading.MAX_ID),
    "trace": reading.trace,
    "subject": reading.text(reading.MAX_SUBJECT),
    "prompt": reading.text(200),
    "within_seconds": reading.count(1, round(MAX_WITHIN.total_seconds())),
    "name": reading.text(MAX_NAME),
    "score": reading.number(1),
    "boolean": reading.flag,
    "label": reading.text(MAX_LABEL),
    "comment": reading.text(MAX_TEXT),
    "correction": reading.text(MAX_TEXT),
    "source": reading.choice(FeedbackSource.values),
    "at": reading.moment,
}
