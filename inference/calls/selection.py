"""Which calls somebody looks at: filters, in one way for pages and REST; and pages of them by their place in time.

Calls are too many to be counted for a page: a page of them begins where the one before it ended.
"""

import functools
import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db.models import Exists, Func, OuterRef, Q, QuerySet, TextField
from django.utils import timezone

from core.errors import Fault, Problem
from inference.calls import partitions
from inference.models import Call, CallText, Feedback, FeedbackKind
from registry.accounts.permissions import Actor, Right

PAGE_SIZE = 50
FIRST_YEAR, LAST_YEAR = 1970, 2200
MAX_VALUE = 200
SPANS = {"1h": timedelta(hours=1), "24h": timedelta(hours=24), "7d": timedelta(days=7), "30d": timedelta(days=30)}
STATES = {"ok": Q(failed=False), "failed": Q(failed=True), "fallback": ~Q(fallback="")}
FORMATS = {"true": Q(format_ok=True), "false": Q(format_ok=False)}
LEARNED = ("any", "none", "low", "corrected")
PLACE = re.compile(r"(?P<at>[0-9T:.-]{10,32})~(?P<id>[0-9]{1,18})")
# Feedback below is that somebody was not content.
LOW = 0.5


def _equal(name: str) -> Callable[[str], Q]:
    return lambda value: Q(**{name: value})


def _one_of(choices: Mapping[str, Q]) -> Callable[[str], Q]:
    def narrow(value: str) -> Q:
        if value not in choices:
            raise ValueError(f"Must be one of {', '.join(choices)}.")
        return choices[value]

    return narrow


def _number(name: str) -> Callable[[str], Q]:
    def narrow(value: str) -> Q:
        if not (value.isascii() and value.isdigit() and len(value) < 10):
            raise ValueError("Must be a whole number.")
        return Q(**{name: int(value)})

    return narrow


def _score_at_most(value: str) -> Q:
    try:
        score = float(value)
    except ValueError:
        score = -1.0
    if not 0 <= score <= 1:
        raise ValueError("Must be a number from 0 to 1.")
    return Q(score__lte=score)


def _moment(name: str) -> Callable[[str], Q]:
    def narrow(value: str) -> Q:
        at = timezone.now() - SPANS[value] if value in SPANS else _read_moment(value)
        # The day lets PostgreSQL pass over the partitions of others.
        day = partitions.day_of(at)
        return Q(at__gte=at, day__gte=day) if name == "since" else Q(at__lt=at, day__lte=day)

    return narrow


def _read_moment(value: str) -> datetime:
    try:
        at = datetime.fromisoformat(value)
        at = (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        at = None
    if at is None or not FIRST_YEAR <= at.year <= LAST_YEAR:
        raise ValueError(f"Must be a moment, or one of {', '.join(SPANS)}.")
    return at


def _learned(value: str) -> Q:
    if value not in LEARNED:
        raise ValueError(f"Must be one of {', '.join(LEARNED)}.")
    rows = Feedback.objects.filter(project=OuterRef("project"), call=OuterRef("reference"), call_at__isnull=False)
    if value == "low":
        rows = rows.filter(value__lt=LOW)
    elif value == "corrected":
        rows = rows.filter(kind=FeedbackKind.CORRECTION)
    return ~Q(Exists(rows)) if value == "none" else Q(Exists(rows))


class _TextsAt(Func):
    """What is said in a JSON value, by a path, and not the names of its members; as JSON, with quotes escaped."""

    function = "jsonb_path_query_array"
    template = "%(function)s(%(expressions)s, '%(path)s')::text"
    output_field = TextField()


PATHS_OF_TEXTS = {"messages": "$[*].content", "answer": "$.*", "variables": "$.*"}


def _with_text(value: str) -> Q:
    texts = CallText.objects.filter(project=OuterRef("project"), reference=OuterRef("reference"))
    texts = texts.alias(**{f"texts_of_{name}": _TextsAt(name, path=path) for name, path in PATHS_OF_TEXTS.items()})
    # As it stands in JSON: a quote, and the end of a line, are escaped there.
    as_json = json.dumps(value, ensure_ascii=False)[1:-1]
    fits = [Q(**{f"texts_of_{name}__icontains": as_json}) for name in PATHS_OF_TEXTS]
    return Q(Exists(texts.filter(functools.reduce(operator.or_, fits))))


# By the name of a filter; `text` is for those who may read texts.
FILTERS: Mapping[str, Callable[[str], Q]] = {
    "prompt": _equal("version__prompt__name"),
    "version": _number("version__number"),
    "environment": _equal("environment"),
    "route": _equal("route"),
    "state": _one_of(STATES),
    "error": _equal("error__icontains"),
    "format_ok": _one_of(FORMATS),
    "max_score": _score_at_most,
    "label": _equal("label"),
    "subject": _equal("subject"),
    "trace": _equal("trace"),
    "feedback": _learned,
    "text": _with_text,
    "since": _moment("since"),
    "until": _moment("until"),
}


def select(actor: Actor, filters: Mapping[str, str]) -> QuerySet[Call]:
    """Return the calls of the actor's project that pass all filters, the newest first; empty ones are none. Raises
    `request.invalid` with each filter that cannot be."""
    calls = Call.objects.filter(project=actor.project)
    faults = []
    for name, narrow in FILTERS.items():
        value = filters.get(name, "").strip()
        if not value:
            continue
        if name == "text":
            actor.require(Right.EDIT)
        try:
            if len(value) > MAX_VALUE:
                raise ValueError(f"Must have at most {MAX_VALUE} characters.")
            calls = calls.filter(narrow(value))
        except ValueError as error:
            faults.append(Fault(f"?{name}", "invalid", str(error)))
    if faults:
        raise Problem("request.invalid", f"{faults[0].pointer[1:]}: {faults[0].message}", faults=faults)
    return calls.select_related("version__prompt").defer("version__content").order_by("-at", "-id")


@dataclass(frozen=True)
class CallPage:
    """Some calls, the newest first; `older` names the place where the next page begins, empty where there is none."""

    rows: Sequence[Call]
    older: str


def page_of(calls: QuerySet[Call], before: str = "", size: int = PAGE_SIZE) -> CallPage:
    """Return a page of calls before a place in time, by its name."""
    if before:
        at, key = _read_place(before)
        calls = calls.filter(Q(at__lt=at) | Q(at=at, pk__lt=key), at__lte=at, day__lte=partitions.day_of(at))
    rows = list(calls[: size + 1])
    of_page = rows[:size]
    return CallPage(of_page, _place(of_page[-1]) if len(rows) > size else "")


def _read_place(name: str) -> tuple[datetime, int]:
    try:
        if (match := PLACE.fullmatch(name)) is None:
            raise ValueError("A place is a moment and a number.")
        return _read_moment(match["at"]), int(match["id"])
    except ValueError as error:
        sentence = "before: is no place in the log."
        raise Problem("request.invalid", sentence, faults=[Fault("?before", "invalid", sentence)]) from error


def _place(call: Call) -> str:
    return f"{call.at.astimezone(UTC).replace(tzinfo=None).isoformat()}~{call.pk}"
