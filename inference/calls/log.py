"""Log of live calls: services report them in batches, and they are added up by the day."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
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
from evaluations.providers.prices import Price, TokenUsage
from inference.calls.usage_stats import BINS_PER_DOUBLING, UsageStats, sum_usage
from inference.models import Call, CallDay
from registry.accounts.permissions import Actor, Right
from registry.models import Environment, Project, PromptVersion
from registry.prompts import resolution

MAX_BATCH_SIZE = 1_000
# Calls that are reported later are refused: the day's sums are written by then.
MAX_DELAY = timedelta(hours=48)
MAX_AHEAD = timedelta(minutes=5)
# A day is added up when none of its calls is accepted any more, and those in flight have arrived.
ROLL_UP_DELAY = MAX_DELAY + timedelta(hours=2)
RETENTION = timedelta(days=90)
MAX_LABELS = 50
OTHER_LABEL = "(other)"
MAX_TOKENS, MAX_LATENCY_MS, MAX_COST_USD = 10_000_000, 86_400_000.0, Decimal(10_000)
LN2 = 0.6931471805599453
TOKENS = tuple(member.name for member in fields(TokenUsage))
# Members that are parts of another.
TOKEN_PARTS = {("tokens_cached", "tokens_cache_write"): "tokens_in", ("tokens_reasoning",): "tokens_out"}


@dataclass(frozen=True)
class RecordedCalls:
    """Numbers of calls that were recorded, and that had been recorded before."""

    recorded: int
    repeated: int


@transaction.atomic
def record(actor: Actor, documents: Sequence[Mapping[str, Any]], *, is_simulation: bool = False) -> RecordedCalls:
    """Record calls as services report them; all of them, or none where one has a fault. A call that was sent before (by
    its `id`) counts once."""
    actor.require(Right.OBSERVE)
    if not 1 <= len(documents) <= MAX_BATCH_SIZE:
        sentence = f"Send 1 to {MAX_BATCH_SIZE:,} calls at once."
        raise Problem("request.invalid", sentence, faults=[Fault("/observations", "count", sentence)])
    faults: list[Fault] = []
    versions = _versions(actor.project, documents, faults)
    environments = set(Environment.objects.filter(project=actor.project).values_list("name", flat=True))
    prices = _prices(actor.project, {str(document.get("model") or "") for document in documents})
    now = timezone.now()
    rows: dict[str, Call] = {}
    for place, document in enumerate(documents):
        row = _read_call(document, place, faults, environments=environments, now=now)
        version = versions.get(str(document.get("prompt")))
        if row is None or version is None:
            continue
        row.project, row.version, row.is_simulation = actor.project, version, is_simulation
        row.cost_usd = _cost_of_call(row, prices)
        rows.setdefault(row.reference, row)
    if faults:
        raise Problem("observation.invalid", faults[0].message, faults=faults)
    before = Call.objects.filter(project=actor.project, reference__in=rows).count()
    Call.objects.bulk_create(rows.values(), ignore_conflicts=True, batch_size=500)
    return RecordedCalls(len(rows) - before, len(documents) - len(rows) + before)


def _versions(
    project: Project, documents: Sequence[Mapping[str, Any]], faults: list[Fault]
) -> dict[str, PromptVersion]:
    first: dict[str, int] = {}
    for position, document in enumerate(documents):
        first.setdefault(str(document.get("prompt")), position)
    references = {}
    for text, position in first.items():
        try:
            references[text] = parse_reference(text)
        except Problem as problem:
            faults.append(Fault(f"/observations/{position}/prompt", problem.code, problem.detail))
    resolved = resolution.resolve_many(project, list(references.values()))
    versions = {}
    for text, version in zip(references, resolved, strict=True):
        if isinstance(version, Problem):
            faults.append(Fault(f"/observations/{first[text]}/prompt", version.code, version.detail))
        else:
            versions[text] = version
    return versions


def _prices(project: Project, names: set[str]) -> dict[str, Price]:
    """Return the prices of models, where exactly one of the project's providers has a model of that name."""
    rows = ProviderModel.objects.filter(provider__project=project, provider__archived_at=None, name__in=names)
    models: dict[str, list[ProviderModel]] = {}
    for model in rows.select_related("provider"):
        models.setdefault(model.name, []).append(model)
    priced = {name: providers.price_of(of_name[0]) for name, of_name in models.items() if len(of_name) == 1}
    return {name: price for name, price in priced.items() if price}


def _cost_of_call(row: Call, prices: Mapping[str, Price]) -> Decimal | None:
    """Return the cost as reported, else the price of the tokens; None where it is not known."""
    price = prices.get(row.model_name)
    if row.cost_usd is not None or price is None or row.tokens_in is None:
        return row.cost_usd
    return price.of(TokenUsage(**{name: getattr(row, name) or 0 for name in TOKENS}))


def _read_call(
    document: Mapping[str, Any], position: int, faults: list[Fault], *, environments: set[str], now: datetime
) -> Call | None:
    """Read a call from a request; its faults are added to `faults`."""
    count = len(faults)

    def wrong(member: str, sentence: str, code: str = "range") -> None:
        faults.append(Fault(f"/observations/{position}/{member}", code, sentence))

    environment = document.get("environment") or DEFAULT_ENVIRONMENT
    if environment not in environments:
        wrong("environment", f"There is no environment {environment!r}.", "unknown")
    at = document.get("at") or now
    if not now - MAX_DELAY <= at <= now + MAX_AHEAD:
        wrong("at", "Calls are reported within 48 hours, and not before they happen.")
    for member, maximum in (
        *((name, MAX_TOKENS) for name in TOKENS),
        *(("latency_ms", MAX_LATENCY_MS), ("cost_usd", MAX_COST_USD), ("score", 1)),
    ):
        value = document.get(member)
        if value is not None and not 0 <= value <= maximum:
            wrong(member, f"Must be from 0 to {maximum:,}.")
    for members, whole in TOKEN_PARTS.items():
        parts = sum(document.get(member) or 0 for member in members)
        if parts > max(0, document.get(whole) or 0):
            wrong(members[0], f"{' and '.join(members)} are a part of {whole}.")
    if len(faults) > count:
        return None
    return Call(
        environment=environment,
        reference=str(document.get("id") or uuid.uuid4()),
        at=at,
        model_name=document.get("model") or "",
        failed=bool(document.get("failed")),
        label=document.get("label") or "",
        **{name: document.get(name) for name in ("latency_ms", *TOKENS, "cost_usd")},
        **{name: document.get(name) for name in ("format_ok", "score")},
    )


def usage_by_day(rows: QuerySet[Call]) -> dict[tuple[int, str, date, bool], UsageStats]:
    """Add up calls by version, environment and day, in the database."""
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
        cached=Sum("tokens_cached"),
        written=Sum("tokens_out", filter=Q(tokens_in__isnull=False)),
        reasoning=Sum("tokens_reasoning"),
        priced=Count("cost_usd"),
        cost=Sum("cost_usd"),
    )
    bins = {name: _histograms(rows, keys, name) for name in ("latency_ms", "tokens_in", "tokens_out")}
    labels: dict[Any, dict[str, int]] = {}
    for row in rows.exclude(label="").values(*keys, "label").annotate(n=Count("pk")).order_by("-n", "label"):
        label_counts = labels.setdefault(tuple(row[key] for key in keys), {})
        name = row["label"] if row["label"] in label_counts or len(label_counts) < MAX_LABELS else OTHER_LABEL
        label_counts[name] = label_counts.get(name, 0) + row["n"]
    stats_by_day = {}
    for row in sums:
        key = tuple(row[name] for name in keys)
        stats_by_day[key] = UsageStats(
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
            tokens_cached=row["cached"] or 0,
            tokens_out=row["written"] or 0,
            tokens_reasoning=row["reasoning"] or 0,
            priced=row["priced"],
            cost_usd=float(row["cost"] or 0),
            latencies=bins["latency_ms"].get(key, {}),
            questions=bins["tokens_in"].get(key, {}),
            answers=bins["tokens_out"].get(key, {}),
            labels=labels.get(key, {}),
        )
    return stats_by_day


def _histograms(rows: QuerySet[Call], keys: Sequence[str], member: str) -> dict[Any, dict[int, int]]:
    """Compute histograms, with the bins of inference.calls.usage_stats."""
    doublings = Ln(Greatest(Cast(F(member), FloatField()), 1.0)) * (BINS_PER_DOUBLING / LN2)
    number = Cast(Func(doublings, function="FLOOR", output_field=FloatField()), IntegerField())
    counted = rows.filter(**{f"{member}__isnull": False}).annotate(bin=number).values(*keys, "bin")
    histograms: dict[Any, dict[int, int]] = {}
    for row in counted.annotate(n=Count("pk")):
        histograms.setdefault(tuple(row[key] for key in keys), {})[row["bin"]] = row["n"]
    return histograms


def usage_from_dict(document: Mapping[str, Any]) -> UsageStats:
    """Read the usage of a day from its row."""
    bins = {name: {int(key): n for key, n in document[name].items()} for name in ("latencies", "questions", "answers")}
    return UsageStats(**{**document, **bins})


def last_rolled_up_day() -> date | None:
    """Return the last day that has been added up; later usage is read from the calls themselves."""
    newest: date | None = CallDay.objects.aggregate(newest=Max("day"))["newest"]
    return newest


def roll_up(now: datetime | None = None) -> int:
    """Add up the days whose calls are not accepted any more, oldest first; returns the number of new rows. Safe to
    repeat, and for two workers at once: a day is written in one transaction, and once."""
    moment = now or timezone.now()
    last = (moment - ROLL_UP_DELAY).date() - timedelta(days=1)
    closed = last_rolled_up_day()
    first = Call.objects.filter(at__gte=_start_of_day(closed + timedelta(days=1))) if closed else Call.objects
    oldest = first.order_by("at").values_list("at", flat=True).first()
    if oldest is None:
        return 0
    row_count, day = 0, oldest.astimezone(UTC).date()
    while day <= last:
        row_count += _roll_up_day(day)
        day += timedelta(days=1)
    return row_count


@transaction.atomic
def _roll_up_day(day: date) -> int:
    calls = Call.objects.filter(at__gte=_start_of_day(day), at__lt=_start_of_day(day + timedelta(days=1)))
    rows = [
        CallDay(version_id=version, environment=environment, day=of_day, is_simulation=simulated, usage=asdict(stats))
        for (version, environment, of_day, simulated), stats in _merge_simulated(usage_by_day(calls)).items()
    ]
    CallDay.objects.bulk_create(rows, ignore_conflicts=True)
    return len(rows)


def _merge_simulated(
    by_simulation: Mapping[tuple[int, str, date, bool], UsageStats],
) -> dict[tuple[int, str, date, bool], UsageStats]:
    """Merge usage to one row for a version's day: where some calls were simulated, the day counts as simulated."""
    rows: dict[tuple[int, str, date], list[tuple[bool, UsageStats]]] = {}
    for (version, environment, day, simulated), stats in by_simulation.items():
        rows.setdefault((version, environment, day), []).append((simulated, stats))
    return {
        (*key, any(simulated for simulated, _ in parts)): sum_usage(stats for _, stats in parts)
        for key, parts in rows.items()
    }


def clear_old(now: datetime | None = None) -> int:
    """Delete old calls that are added up; returns their number."""
    closed = last_rolled_up_day()
    if closed is None:
        return 0
    until = min((now or timezone.now()) - RETENTION, _start_of_day(closed + timedelta(days=1)))
    return Call.objects.filter(at__lt=until).delete()[0]


def _start_of_day(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)


def usage_of_versions(
    versions: Iterable[int], environment: str, since: date, until: date
) -> dict[tuple[int, date], tuple[bool, UsageStats]]:
    """Return versions' usage by version and day, from `since` to `until` inclusive: whether some of it was simulated,
    and the sums. A few hundred rows however many calls there were."""
    keys = list(versions)
    closed = last_rolled_up_day()
    days = CallDay.objects.filter(version__in=keys, environment=environment, day__gte=since, day__lte=until)
    stats_by_day = {(row.version_id, row.day): (row.is_simulation, usage_from_dict(row.usage)) for row in days}
    first_open_day = max(since, closed + timedelta(days=1)) if closed else since
    if first_open_day <= until:
        calls = Call.objects.filter(
            version__in=keys,
            environment=environment,
            at__gte=_start_of_day(first_open_day),
            at__lt=_start_of_day(until + timedelta(days=1)),
        )
        for (version, _, day, simulated), stats in _merge_simulated(usage_by_day(calls)).items():
            stats_by_day[version, day] = (simulated, stats)
    return stats_by_day


def versions_called_before(versions: Iterable[int], environment: str, day: date) -> set[int]:
    """Return those of the versions that had calls before a day."""
    keys = list(versions)
    added_up_days = CallDay.objects.filter(version__in=keys, environment=environment, day__lt=day)
    calls = Call.objects.filter(version__in=keys, environment=environment, at__lt=_start_of_day(day))
    return {
        *added_up_days.order_by().values_list("version", flat=True).distinct(),
        *calls.order_by().values_list("version", flat=True).distinct(),
    }
