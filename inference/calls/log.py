"""Log of live calls: services report them in batches, and they are added up as they come."""

import logging
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.utils import timezone

from core.errors import Fault, Problem
from core.references import DEFAULT_ENVIRONMENT, parse_reference
from evaluations.models import ProviderModel
from evaluations.providers import configuration as providers
from evaluations.providers.prices import Price, TokenUsage
from inference.calls import exposures, reading, storage
from inference.models import CallText, RollupSpan, UsageRollup
from inference.texts import keeping
from inference.texts.policy import KeptTexts, policy_of
from inference.usage import rollups
from inference.usage.stats import UsageStats, sum_usage
from registry.accounts.permissions import Actor, Right
from registry.models import Environment, Project, PromptVersion
from registry.prompts import resolution
from registry.prompts.versions import renderer_pool

logger = logging.getLogger(__name__)

MAX_BATCH_SIZE = 1_000
MAX_FAULTS = 200
# Calls that are reported later are refused: they would change what was read of a time long over.
MAX_DELAY = timedelta(hours=48)
MAX_AHEAD = timedelta(minutes=5)
# Of the row, whose names differ from those of reports.
SAME_NAMES = (
    *("failed", "error", "latency_ms", "time_to_first_token_ms", *reading.TOKENS, "format_ok", "score", "label"),
    *("finish_reason", "subject", "trace", "metadata"),
)


@dataclass(frozen=True)
class RecordedCalls:
    """Numbers of calls that were recorded, and that had been recorded before; and of the texts that came with the
    recorded ones, how many were kept."""

    recorded: int
    repeated: int
    texts: int = 0
    kept_texts: int = 0


@dataclass(frozen=True)
class _Row:
    """A call to be stored, and what came of its text."""

    call: dict[str, Any]
    text: Mapping[str, Any] | None


def record(
    actor: Actor, documents: Sequence[Mapping[str, Any]], *, is_simulation: bool = False, within: str = "/calls"
) -> RecordedCalls:
    """Record calls as services report them (inference.calls.reading); all of them, or none where one has a fault.

    A call that was sent before (by its `id`) counts once. `within` is the JSON pointer to the list in what was sent.
    """
    actor.require(Right.OBSERVE)
    if not 1 <= len(documents) <= MAX_BATCH_SIZE:
        sentence = f"Send 1 to {MAX_BATCH_SIZE:,} calls at once."
        raise Problem("request.invalid", sentence, faults=[Fault(within, "count", sentence)])
    rows, faults = _read(actor, documents, within, is_simulation=is_simulation)
    if faults:
        raise Problem("observation.invalid", faults[0].message, faults=faults[:MAX_FAULTS])
    return _store(actor, rows, len(documents))


def record_readable(actor: Actor, documents: Sequence[Mapping[str, Any]]) -> tuple[RecordedCalls, Counter[str]]:
    """Record the calls that have no fault; returns them counted, and how many others have which fault first."""
    actor.require(Right.OBSERVE)
    documents, exposure_faults = _without_odd_exposures(actor, documents)
    rows, faults = _read(actor, documents, "")
    first: dict[str, str] = {}
    for fault in faults:
        place, _, member = fault.pointer.strip("/").partition("/")
        first.setdefault(place, fault.code if "." in fault.code else f"{member}.{fault.code}")
    return _store(actor, rows, len(rows)), Counter(first.values()) + exposure_faults


def _without_odd_exposures(
    actor: Actor, documents: Sequence[Mapping[str, Any]]
) -> tuple[list[Mapping[str, Any]], Counter[str]]:
    """Return calls without the exposures that have a fault, and how many of these: the call itself is none the less
    one."""
    if not any("experiment" in document for document in documents):
        return list(documents), Counter()
    _, faults = _read(actor, documents, "")
    odd: dict[int, str] = {}
    for fault in faults:
        place, _, member = fault.pointer.strip("/").partition("/")
        if member.split("/")[0] == "experiment":
            odd.setdefault(int(place), f"experiment.{fault.code}")
    calls = [
        {name: value for name, value in call.items() if name != "experiment"} if place in odd else call
        for place, call in enumerate(documents)
    ]
    return calls, Counter(odd.values())


def _store(actor: Actor, rows: Sequence[_Row], sent: int) -> RecordedCalls:
    """Store calls, and of the texts that came with them those that the project keeps: cleaned before, or not at all."""
    texts = {row.call["reference"]: row.text for row in rows if row.text}
    policy = policy_of(actor.project) if texts else KeptTexts()
    sampled = {reference: text for reference, text in texts.items() if keeping.is_sampled(reference, policy)}
    clean: dict[str, Mapping[str, Any]] = {}
    if sampled:
        try:
            values = keeping.cleaned(list(sampled.values()), policy, renderer_pool(), owner=actor.project.pk)
            clean = dict(zip(sampled, values, strict=True))
        except Problem as problem:
            logger.warning("calls.texts_not_kept texts=%d %s", len(sampled), problem.code)
    with transaction.atomic():
        new = storage.store([row.call for row in rows])
        if clean and not policy_of(actor.project).share:
            # Somebody has just said that nothing is to be kept.
            clean = {}
        rows_of_texts = [
            CallText(project=actor.project, **{name: call[name] for name in ("reference", "at", "subject")}, **text)
            for call in new
            if (text := clean.get(call["reference"])) and not call.get("is_forgotten")
        ]
        CallText.objects.bulk_create(rows_of_texts, ignore_conflicts=True)
    with_text = sum(call["reference"] in texts for call in new)
    return RecordedCalls(len(new), sent - len(new), with_text, len(rows_of_texts))


def _read(
    actor: Actor, documents: Sequence[Mapping[str, Any]], within: str, *, is_simulation: bool = False
) -> tuple[list[_Row], list[Fault]]:
    """Return the rows of the calls that have no fault, and the faults of the others."""
    faults: list[Fault] = []
    calls = reading.read_calls(documents, within, faults)
    versions = _versions(actor.project, calls, within, faults)
    runs = exposures.runs_of_calls(actor.project, calls)
    environments = set(Environment.objects.filter(project=actor.project).values_list("name", flat=True))
    now = timezone.now()
    readable = []
    for place, call in enumerate(calls):
        if call is None:
            continue
        own_faults = list(_faults_now(call, f"{within}/{place}", environments=environments, now=now))
        if call["prompt"] in versions:
            own_faults += exposures.faults_of(call, versions[call["prompt"]], runs, f"{within}/{place}")
        faults += own_faults
        if not own_faults and call["prompt"] in versions:
            readable.append(call)
    prices = _prices(actor.project, {call["model"] for call in readable})
    members: dict[str, Any] = {"project": actor.project.pk, "is_simulation": is_simulation}
    members["key"] = actor.key.key_id if actor.key else ""
    return [_row(call, versions[call["prompt"]].pk, prices, now, members) for call in readable], faults


def _versions(
    project: Project, calls: Sequence[Mapping[str, Any] | None], within: str, faults: list[Fault]
) -> dict[str, PromptVersion]:
    """Return the versions that calls name, by the name; where there is none, each of its calls has the fault."""
    places: dict[str, list[int]] = {}
    for place, call in enumerate(calls):
        if call is not None:
            places.setdefault(call["prompt"], []).append(place)
    references = {}

    def refuse(text: str, problem: Problem) -> None:
        faults.extend(Fault(f"{within}/{place}/prompt", problem.code, problem.detail) for place in places[text])

    for text in places:
        try:
            references[text] = parse_reference(text)
        except Problem as problem:
            refuse(text, problem)
    resolved = resolution.resolve_many(project, list(references.values()))
    versions = {}
    for text, version in zip(references, resolved, strict=True):
        if isinstance(version, Problem):
            refuse(text, version)
        else:
            versions[text] = version
    return versions


def _faults_now(call: Mapping[str, Any], pointer: str, *, environments: set[str], now: datetime) -> Iterable[Fault]:
    """Return what is wrong with a call here and now."""
    environment = call["environment"] or DEFAULT_ENVIRONMENT
    if environment not in environments:
        yield Fault(f"{pointer}/environment", "unknown", f"There is no environment {environment!r}.")
    if not now - MAX_DELAY <= (call["at"] or now) <= now + MAX_AHEAD:
        sentence = "Calls are reported within 48 hours, and not before they happen."
        yield Fault(f"{pointer}/at", "range", sentence)


def _prices(project: Project, names: set[str]) -> dict[str, Price]:
    """Return the prices of models, where exactly one of the project's providers has a model of that name."""
    rows = ProviderModel.objects.filter(provider__project=project, provider__archived_at=None, name__in=names)
    models: dict[str, list[ProviderModel]] = {}
    for model in rows.select_related("provider"):
        models.setdefault(model.name, []).append(model)
    priced = {name: providers.price_of(of_name[0]) for name, of_name in models.items() if len(of_name) == 1}
    return {name: price for name, price in priced.items() if price}


def _row(
    call: Mapping[str, Any], version: int, prices: Mapping[str, Price], now: datetime, members: Mapping[str, Any]
) -> _Row:
    row = storage.new_call(
        **members,
        version=version,
        environment=call["environment"] or DEFAULT_ENVIRONMENT,
        reference=call["id"] or str(uuid.uuid4()),
        at=call["at"] or now,
        model_name=call["model"],
        cost_usd=_cost_of_call(call, prices),
        **exposures.members_of(call),
        **{name: call[name] for name in SAME_NAMES},
    )
    return _Row(row, call["text"])


def _cost_of_call(call: Mapping[str, Any], prices: Mapping[str, Price]) -> Decimal | None:
    """Return the cost as reported, else the price of the tokens; None where it is not known."""
    price, reported = prices.get(call["model"]), call["cost_usd"]
    if isinstance(reported, Decimal):
        return reported
    if price is None or call["tokens_in"] is None:
        return None
    return price.of(TokenUsage(**{name: call[name] or 0 for name in reading.TOKENS}))


def usage_of_versions(
    versions: Iterable[int], environment: str, since: date, until: date
) -> dict[tuple[int, date], tuple[bool, UsageStats]]:
    """Return versions' usage by version and day (UTC), from `since` to `until` inclusive: whether some of it was
    simulated, and the sums."""
    rows = rollups.between(
        _start_of_day(since),
        _start_of_day(until + timedelta(days=1)),
        version__in=list(versions),
        environment=environment,
    )
    by_day: dict[tuple[int, date], list[UsageRollup]] = {}
    for row in rows:
        day = rollups.start_of(row.start, RollupSpan.DAY).date()
        by_day.setdefault((row.version_id, day), []).append(row)
    return {
        name: (any(row.is_simulation for row in group), sum_usage(map(rollups.usage_in, group)))
        for name, group in by_day.items()
    }


def versions_called_before(versions: Iterable[int], environment: str, day: date) -> set[int]:
    """Return those of the versions that had calls before a day."""
    rows = UsageRollup.objects.filter(version__in=list(versions), environment=environment, start__lt=_start_of_day(day))
    return set(rows.order_by().values_list("version", flat=True).distinct())


def _start_of_day(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)
