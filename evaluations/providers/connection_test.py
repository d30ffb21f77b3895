"""Testing a provider: what it lists, and what one of its models does with each thing that Cuebook may ask of it."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from typing import Any

from django.db import transaction
from django.utils import timezone

from core.errors import Problem
from evaluations.models import Provider, ProviderKind, ProviderModel
from evaluations.providers import configuration, profiles
from evaluations.providers.base import ChatClient
from evaluations.providers.chat import CallError, ChatRequest, Completion
from registry.content.model_profiles.facts import UNKNOWN, ModelProfile

MAX_MODELS = 2_000
MAX_DETAIL_LENGTH = 300
TEST_TOKENS = 16
# Enough for a model that thinks before it writes one word.
PROBE_TOKENS = 1_024
HELLO = [{"role": "user", "content": "Say hello."}]
SCHEMA = {
    "type": "object",
    "properties": {"greeting": {"type": "string"}},
    "required": ["greeting"],
    "additionalProperties": False,
}
FORM = {"type": "json_schema", "json_schema": {"name": "greeting", "schema": SCHEMA, "strict": True}}
TOOL = {
    "type": "function",
    "function": {
        "name": "get_time",
        "description": "The time in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
ASKS_FOR_TOOL = [{"role": "user", "content": "What time is it in Lisbon? Use the tool."}]


@dataclass(frozen=True)
class Check:
    """One thing that was tried: whether it worked, and what came of it."""

    name: str
    passed: bool
    detail: str


@dataclass
class _Attempt:
    """What asking a provider brought; `models` is None where it lists none, `slots` where it does not say."""

    # The models that the project has of it already.
    added: Set[str] = frozenset()
    models: list[dict[str, Any]] | None = None
    slots: int | None = None
    passed: bool = False
    summary: str = ""
    checks: list[Check] = field(default_factory=list)
    refusals: list[CallError] = field(default_factory=list)


def check_connection(provider: Provider, model: str = "") -> Provider:
    """Ask a provider for its models, and one of them for a word, a stream, JSON by a schema and a call of a tool; save
    the outcome and the models."""
    attempt = _Attempt(added=frozenset(provider.models.values_list("name", flat=True)))
    outcome, is_first = "", provider.synced_at is None
    row = provider.models.filter(name=model).first() if model else None
    try:
        if row and row.archived_at:
            raise Problem("model.archived", f"{row} is archived; restore it to ask it.")
        asyncio.run(_try_calls(provider, model, profiles.profile_of(row) if row else UNKNOWN, attempt))
        # What the provider lists is known also where the model did not answer.
        if attempt.models is not None:
            _save_models(provider, attempt.models)
        outcome = f"{attempt.summary}{_save_slots(provider, attempt.slots, is_first)}"
    except CallError as error:
        outcome = f"{error.detail} ({error.code})"
        attempt.checks.append(Check("reached", passed=False, detail=outcome))
    except Problem as problem:
        outcome = problem.detail
    if row:
        for refusal in attempt.refusals:
            profiles.note_refusal(row, refusal)
    provider.tested_at, provider.test_passed, provider.test_result = (
        timezone.now(),
        attempt.passed,
        outcome[:1_000],
    )
    provider.test_checks = [{**asdict(each), "detail": each.detail[:MAX_DETAIL_LENGTH]} for each in attempt.checks]
    provider.save(update_fields=["tested_at", "test_passed", "test_result", "test_checks"])
    return provider


async def _try_calls(provider: Provider, model: str, profile: ModelProfile, attempt: _Attempt) -> None:
    # Imported here: only workers make calls, and a web process should not load the client's 60 MB.
    from evaluations.providers.protocols import open_chat  # noqa: PLC0415

    reached = configuration.endpoint(provider)
    is_private = configuration.destinations().is_private(reached.base_url)
    # With the provider's own time-out: a server that is slow is not one that is gone.
    async with open_chat(replace(reached, connections=1), configuration.destinations()) as chat:
        listed, attempt.summary = None, "It lists no models."
        try:
            attempt.models = listed = _visible(provider, await chat.models(), attempt.added)
            attempt.summary = f"It has {len(listed)} model{'s' if len(listed) != 1 else ''}."
        except CallError as error:
            # Servers that only chat answer 404 to GET /models.
            if error.code != "call.unknown_model" or not model:
                raise
        attempt.checks += [
            Check("reached", passed=True, detail=""),
            Check("listed", passed=listed is not None, detail=attempt.summary),
        ]
        attempt.slots = await chat.slots() if is_private else None
        if not model:
            attempt.passed = True
            return
        try:
            answer = await _say_hello(chat, model, profile, attempt)
        except CallError as error:
            attempt.summary = f"{attempt.summary} {model}: {error.detail} ({error.code})"
            attempt.checks.append(Check("asked", passed=False, detail=f"{error.detail} ({error.code})"))
            return
        attempt.passed = True
        attempt.summary = f"{attempt.summary} {_spoken(model, answer)}"
        attempt.checks.append(Check("asked", passed=True, detail=f"{answer.latency_ms:,.0f} ms"))
        attempt.checks.append(_usage_check(answer))
        for name, probe in (("streamed", _stream), ("structured output", _structured), ("tools", _tools)):
            attempt.checks.append(await _probe(name, probe(chat, model, profile), attempt))


def _spoken(model: str, answer: Completion) -> str:
    spoken = f"{model} answered in {answer.latency_ms:,.0f} ms: {answer.text[:100]!r}."
    if answer.model and not configuration.is_same_model(model, answer.model):
        # Some servers answer to any name.
        spoken += f" The server says that it was {answer.model[:100]}: is {model} a model that it has?"
    return spoken


def _usage_check(answer: Completion) -> Check:
    if answer.is_usage_estimated:
        return Check("usage told", passed=False, detail="It tells no tokens: they are estimated here.")
    return Check("usage told", passed=True, detail=f"{answer.tokens_in:,} tokens in, {answer.tokens_out:,} out")


async def _probe(name: str, probe: Any, attempt: _Attempt) -> Check:
    try:
        passed, detail = await probe
    except CallError as error:
        attempt.refusals += [error] if error.setting else []
        return Check(name, passed=False, detail=error.detail)
    return Check(name, passed=passed, detail=detail)


async def _say_hello(chat: ChatClient, model: str, profile: ModelProfile, attempt: _Attempt) -> Completion:
    """Ask for a word, by the name of the limit that the model takes: newer ones refuse the older."""
    limits: Sequence[Mapping[str, Any]] = (
        {"max_output_tokens": TEST_TOKENS},
        {"max_completion_tokens": TEST_TOKENS},
        {},
    )
    for number, limit in enumerate(limits, start=1):
        try:
            return await chat.complete(ChatRequest(model, HELLO, limit, profile=profile))
        except CallError as error:
            is_about_limit = error.code in ("call.refused", "call.setting_refused") and "max" in error.detail
            if number == len(limits) or not is_about_limit:
                attempt.refusals += [error] if error.setting else []
                raise
    raise AssertionError("the last attempt returns or raises")


async def _stream(chat: ChatClient, model: str, profile: ModelProfile) -> tuple[bool, str]:
    started, first, pieces = time.perf_counter(), 0.0, 0
    async for piece in chat.stream(ChatRequest(model, HELLO, profile=profile)):
        if isinstance(piece, str):
            pieces += 1
            first = first or (time.perf_counter() - started) * 1000
    number = f"{pieces} piece{'s' if pieces != 1 else ''}"
    return pieces > 0, f"{number}, the first after {first:,.0f} ms" if pieces else "no piece of text"


async def _structured(chat: ChatClient, model: str, profile: ModelProfile) -> tuple[bool, str]:
    answer = await chat.complete(ChatRequest(model, HELLO, {}, FORM, profile=profile))
    try:
        document = json.loads(answer.text)
    except ValueError:
        return False, f"It took the schema and answered no JSON: {answer.text[:60]!r}"
    is_kept = isinstance(document, dict) and isinstance(document.get("greeting"), str) and len(document) == 1
    return is_kept, "" if is_kept else f"It took the schema and did not keep it: {answer.text[:60]!r}"


async def _tools(chat: ChatClient, model: str, profile: ModelProfile) -> tuple[bool, str]:
    # Some take tools over Chat Completions only while they do not reason.
    settings = {"reasoning": {"effort": "none"}} if profile.refuses_tools_while_reasoning else {}
    answer = await chat.complete(ChatRequest(model, ASKS_FOR_TOOL, settings, None, [TOOL], profile))
    calls = answer.tool_calls or ()
    if not calls:
        return False, f"It took the tool and did not call it: {answer.text[:60]!r}"
    return True, f"called {calls[0]['name']}"


def _save_slots(provider: Provider, slots: int | None, is_first: bool) -> str:
    """Take over how many calls a server takes at a time the first time that it is heard, unless somebody has set
    another number; return a sentence."""
    if slots is None:
        return ""
    slots = min(slots, configuration.MAX_CONCURRENCY)
    if is_first and provider.max_concurrency == configuration.PRIVATE_CONCURRENCY:
        provider.max_concurrency = slots
        provider.save(update_fields=["max_concurrency"])
    are = "call" if slots == 1 else "calls"
    if provider.max_concurrency > slots:
        return f" It takes {slots} {are} at a time, and {provider.max_concurrency} are set here: the others will wait."
    return f" It takes {slots} {are} at a time."


def _visible(provider: Provider, listed: Sequence[dict[str, Any]], added: Set[str]) -> list[dict[str, Any]]:
    """Return what a provider lists for its project. What comes with the installation serves all projects: a tuned model
    is `added` to the project of its job, and to no other."""
    if provider.kind == ProviderKind.REMOTE:
        return list(listed)
    return [row for row in listed if row["name"] in added or not str(row["name"]).startswith("ft:")]


@transaction.atomic
def _save_models(provider: Provider, listed: Sequence[Mapping[str, Any]]) -> None:
    """Save a provider's own list: new models, models that are gone, and shutdown dates."""
    existing = {model.name: model for model in ProviderModel.objects.select_for_update().filter(provider=provider)}
    shutdown_dates = {str(listing["name"]): _read_day(listing.get("shutdown_date")) for listing in listed[:MAX_MODELS]}
    new_models = [ProviderModel(provider=provider, name=name) for name in shutdown_dates if name not in existing]
    ProviderModel.objects.bulk_create(new_models)
    for model in [*existing.values(), *new_models]:
        model.is_listed = model.name in shutdown_dates
        # A list without a shutdown date does not delete a known one.
        model.shutdown_date = shutdown_dates.get(model.name) or model.shutdown_date
    ProviderModel.objects.bulk_update([*existing.values(), *new_models], ["is_listed", "shutdown_date"], batch_size=500)
    configuration.add_list_prices(new_models, "price list")
    provider.synced_at = timezone.now()
    provider.save(update_fields=["synced_at"])


def _read_day(text: object) -> date | None:
    try:
        return date.fromisoformat(str(text)[:10])
    except ValueError:
        return None
