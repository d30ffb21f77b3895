"""Observations: what services report of their live calls, taken in batches and added up by the day."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Count, F, FloatField, Func, IntegerField, Max, Q, QuerySet, Sum
from django.db.models.functions import Cast, Greatest, Ln, TruncDate
from django.utils import timezone

from core.errors import Fault, Problem
from core.references import DEFAULT_ENVIRONMENT, parse_reference
from evaluations.models import ProviderModel
from evaluations.providers import configuration as providers
from evaluations.providers.chat import Price
from inference.calls.usage_stats import BINS_PER_DOUBLING, Traffic, added
from inference.models import Call, CallDay
from registry.accounts.permissions import Actor, Right
from registry.models import Environment, Project, PromptVersion
from registry.prompts import resolution

MOST_AT_ONCE = 1_000
# What is reported later than that is refused: the day's sums are written by then.
LATEST = timedelta(hours=48)
AHEAD = timedelta(minutes=5)
# A day is added up when nothing of it is taken any more, and calls in the air have arrived.
SETTLED = LATEST + timedelta(hours=2)
KEPT = timedelta(days=90)
LABELS_KEPT = 50
OTHER = "(other)"
LARGEST_TOKENS, LONGEST_MS, DEAREST = 10_000_000, 86_400_000.0, Decimal(10_000)
LN2 = 0.6931471805599453


@dataclass(frozen=True)
class Recorded:
    """How many calls were taken, and how many were known already."""

    taken: int
    known: int


@transaction.atomic
def record(actor: Actor, documents: Sequence[Mapping[str, Any]], *, is_simulation: bool = False) -> Recorded:
    """Take calls as services report them; all of them, or none where something is wrong with one. What was sent before
    (by its `id`) counts once."""
    actor.require(Right.OBSERVE)
    if not 1 <= len(documents) <= MOST_AT_ONCE:
        sentence = f"Send 1 to {MOST_AT_ONCE:,} observations at once."
        raise Problem("request.invalid", sentence, faults=[Fault("/observations", "count", sentence)])
    faults: list[Fault] = []
    versions = _versions(actor.project, documents, faults)
    environments = set(Environment.objects.filter(project=actor.project).values_list("name", flat=True))
    prices = _prices(actor.project, {str(one.get("model") or "") for one in documents})
    now = timezone.now()
    rows: dict[str, Call] = {}
    for place, document in enumerate(documents):
        row = _read(document, place, faults, environments=environments, now=now)
        version = versions.get(str(document.get("prompt")))
        if row is None or version is None:
            continue
        row.project, row.version, row.is_simulation = actor.project, version, is_simulation
        row.cost_usd = _cost(row, prices)
        rows.setdefault(row.reference, row)
    if faults:
        raise Problem("observation.invalid", faults[0].message, faults=faults)
    before = Call.objects.filter(project=actor.project, reference__in=rows).count()
    Call.objects.bulk_create(rows.values(), ignore_conflicts=True, batch_size=500)
    return Recorded(len(rows) - before, len(documents) - len(rows) + before)


def _versions(
    project: Project, documents: Sequence[Mapping[str, Any]], faults: list[Fault]
) -> dict[str, PromptVersion]:
    first: dict[str, int] = {}
    for place, document in enumerate(documents):
        first.setdefault(str(document.get("prompt")), place)
    references = {}
    for text, place in first.items():
        try:
            references[text] = parse_reference(text)
        except Problem as problem:
            faults.append(Fault(f"/observations/{place}/prompt", problem.code, problem.detail))
    found = resolution.resolve_many(project, list(references.values()))
    versions = {}
    for text, one in zip(references, found, strict=True):
        if isinstance(one, Problem):
            faults.append(Fault(f"/observations/{first[text]}/prompt", one.code, one.detail))
        else:
            versions[text] = one
    return versions


def _prices(project: Project, names: set[str]) -> dict[str, Price]:
    """What the named models cost, where exactly one of the project's providers has a model of that name."""
    rows = ProviderModel.objects.filter(provider__project=project, provider__archived_at=None, name__in=names)
    models: dict[str, list[ProviderModel]] = {}
    for model in rows.select_related("provider"):
        models.setdefault(model.name, []).append(model)
    priced = {name: providers.price_of(of_name[0]) for name, of_name in models.items() if len(of_name) == 1}
    return {name: price for name, price in priced.items() if price}


def _cost(row: Call, prices: Mapping[str, Price]) -> Decimal | None:
    """What the service says, else what the tokens cost; nothing where nobody knows."""
    price = prices.get(row.model_name)
    if row.cost_usd is not None or price is None or row.tokens_in is None:
        return row.cost_usd
    return price.of(row.tokens_in, 0, row.tokens_out or 0)


def _read(
    document: Mapping[str, Any], place: int, faults: list[Fault], *, environments: set[str], now: datetime
) -> Call | None:
    """A call as it was sent; what is wrong with it is added to `faults`."""
    count = len(faults)

    def wrong(member: str, sentence: str, code: str = "range") -> None:
        faults.append(Fault(f"/observations/{place}/{member}", code, sentence))

    environment = document.get("environment") or DEFAULT_ENVIRONMENT
    if environment not in environments:
        wrong("environment", f"There is no environment {environment!r}.", "unknown")
    at = document.get("at") or now
    if not now - LATEST <= at <= now + AHEAD:
        wrong("at", "Calls are reported within 48 hours, and not before they happen.")
    for member, most in (
        *(("tokens_in", LARGEST_TOKENS), ("tokens_out", LARGEST_TOKENS), ("latency_ms", LONGEST_MS)),
        *(("cost_usd", DEAREST), ("score", 1)),
    ):
        value = document.get(member)
        if value is not None and not 0 <= value <= most:
            wrong(member, f"Must be from 0 to {most:,}.")
    if len(faults) > count:
        return None
    return Call(
        environment=environment,
        reference=str(document.get("id") or uuid.uuid4()),
        at=at,
        model_name=document.get("model") or "",
        failed=bool(document.get("failed")),
        label=document.get("label") or "",
        **{name: document.get(name) for name in ("latency_ms", "tokens_in", "tokens_out", "cost_usd")},
        **{name: document.get(name) for name in ("format_ok", "score")},
    )


def added_up(rows: QuerySet[Call]) -> dict[tuple[int, str, date, bool], Traffic]:
    """What calls came to, by version, environment and day. Added up in the database."""
    keys = ("version_id", "environment", "day", "is_simulation")
    rows = rows.annotate(day=TruncDate("at", tzinfo=UTC)).order_by()
    sums = rows.values(*keys).annotate(
        n=Count("pk"),
        failures=Count("pk", filter=Q(failed=True)),
        formatted=Count("format_ok"),
        fine=Count("pk", filter=Q(format_ok=True)),
        scored=Count("score"),
        total_score=Sum("score"),
        squares=Sum(F("score") * F("score")),
        timed=Count("latency_ms"),
        latency=Sum("latency_ms"),
        counted=Count("tokens_in"),
        read=Sum("tokens_in"),
        written=Sum("tokens_out", filter=Q(tokens_in__isnull=False)),
        priced=Count("cost_usd"),
        cost=Sum("cost_usd"),
    )
    bins = {name: _bins(rows, keys, name) for name in ("latency_ms", "tokens_in", "tokens_out")}
    labels: dict[Any, dict[str, int]] = {}
    for row in rows.exclude(label="").values(*keys, "label").annotate(n=Count("pk")).order_by("-n", "label"):
        kept = labels.setdefault(tuple(row[key] for key in keys), {})
        name = row["label"] if row["label"] in kept or len(kept) < LABELS_KEPT else OTHER
        kept[name] = kept.get(name, 0) + row["n"]
    found = {}
    for row in sums:
        key = tuple(row[name] for name in keys)
        found[key] = Traffic(
            calls=row["n"],
            failed=row["failures"],
            formatted=row["formatted"],
            format_ok=row["fine"],
            scored=row["scored"],
            score_sum=row["total_score"] or 0.0,
            score_squares=row["squares"] or 0.0,
            timed=row["timed"],
            latency_sum=row["latency"] or 0.0,
            counted=row["counted"],
            tokens_in=row["read"] or 0,
            tokens_out=row["written"] or 0,
            priced=row["priced"],
            cost_usd=float(row["cost"] or 0),
            latencies=bins["latency_ms"].get(key, {}),
            questions=bins["tokens_in"].get(key, {}),
            answers=bins["tokens_out"].get(key, {}),
            labels=labels.get(key, {}),
        )
    return found


def _bins(rows: QuerySet[Call], keys: Sequence[str], member: str) -> dict[Any, dict[int, int]]:
    """A histogram, with the bins of inference.calls.usage_stats."""
    doublings = Ln(Greatest(Cast(F(member), FloatField()), 1.0)) * (BINS_PER_DOUBLING / LN2)
    number = Cast(Func(doublings, function="FLOOR", output_field=FloatField()), IntegerField())
    counted = rows.filter(**{f"{member}__isnull": False}).annotate(bin=number).values(*keys, "bin")
    found: dict[Any, dict[int, int]] = {}
    for row in counted.annotate(n=Count("pk")):
        found.setdefault(tuple(row[key] for key in keys), {})[row["bin"]] = row["n"]
    return found


def stored(document: Mapping[str, Any]) -> Traffic:
    """A day as its row has it."""
    bins = {name: {int(key): n for key, n in document[name].items()} for name in ("latencies", "questions", "answers")}
    return Traffic(**{**document, **bins})


def closed_until() -> date | None:
    """The last day that has been added up; what came later is read from the calls themselves."""
    newest: date | None = CallDay.objects.aggregate(newest=Max("day"))["newest"]
    return newest


def roll_up(now: datetime | None = None) -> int:
    """Add up the days of which nothing more is taken, oldest first; returns how many rows that made. Safe to repeat,
    and for two workers at once: a day is written in one transaction, and once."""
    moment = now or timezone.now()
    last = (moment - SETTLED).date() - timedelta(days=1)
    closed = closed_until()
    first = Call.objects.filter(at__gte=_start(closed + timedelta(days=1))) if closed else Call.objects
    oldest = first.order_by("at").values_list("at", flat=True).first()
    if oldest is None:
        return 0
    made, day = 0, oldest.astimezone(UTC).date()
    while day <= last:
        made += _roll_up_day(day)
        day += timedelta(days=1)
    return made


@transaction.atomic
def _roll_up_day(day: date) -> int:
    rows = Call.objects.filter(at__gte=_start(day), at__lt=_start(day + timedelta(days=1)))
    made = [
        CallDay(
            version_id=version, environment=environment, day=of_day, is_simulation=simulated, traffic=asdict(traffic)
        )
        for (version, environment, of_day, simulated), traffic in _joined(added_up(rows)).items()
    ]
    CallDay.objects.bulk_create(made, ignore_conflicts=True)
    return len(made)


def _joined(
    found: Mapping[tuple[int, str, date, bool], Traffic],
) -> dict[tuple[int, str, date, bool], Traffic]:
    """One row for a version's day: where some calls were simulated, the day counts as that."""
    rows: dict[tuple[int, str, date], list[tuple[bool, Traffic]]] = {}
    for (version, environment, day, simulated), traffic in found.items():
        rows.setdefault((version, environment, day), []).append((simulated, traffic))
    return {
        (*key, any(simulated for simulated, _ in parts)): added(traffic for _, traffic in parts)
        for key, parts in rows.items()
    }


def clear_old(now: datetime | None = None) -> int:
    """Delete calls that are old and added up; returns how many."""
    closed = closed_until()
    if closed is None:
        return 0
    until = min((now or timezone.now()) - KEPT, _start(closed + timedelta(days=1)))
    return Call.objects.filter(at__lt=until).delete()[0]


def _start(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)


def of_versions(
    versions: Iterable[int], environment: str, since: date, until: date
) -> dict[tuple[int, date], tuple[bool, Traffic]]:
    """What versions' calls came to, by version and day, from `since` to `until` inclusive: whether some of it was
    simulated, and the sums. A few hundred rows however many calls there were."""
    keys = list(versions)
    closed = closed_until()
    days = CallDay.objects.filter(version__in=keys, environment=environment, day__gte=since, day__lte=until)
    found = {(row.version_id, row.day): (row.is_simulation, stored(row.traffic)) for row in days}
    fresh = max(since, closed + timedelta(days=1)) if closed else since
    if fresh <= until:
        calls = Call.objects.filter(
            version__in=keys, environment=environment, at__gte=_start(fresh), at__lt=_start(until + timedelta(days=1))
        )
        for (version, _, day, simulated), traffic in _joined(added_up(calls)).items():
            found[version, day] = (simulated, traffic)
    return found


def called_before(versions: Iterable[int], environment: str, day: date) -> set[int]:
    """Those of the versions that had calls before a day."""
    keys = list(versions)
    added_up_days = CallDay.objects.filter(version__in=keys, environment=environment, day__lt=day)
    calls = Call.objects.filter(version__in=keys, environment=environment, at__lt=_start(day))
    return {
        *added_up_days.order_by().values_list("version", flat=True).distinct(),
        *calls.order_by().values_list("version", flat=True).distinct(),
    }
