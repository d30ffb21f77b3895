"""Providers: servers that speak OpenAI's protocol, their models, and what those cost."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from core.errors import Fault, Problem
from core.references import is_prompt_name, quoted
from evaluations.models import Capability, ModelPrice, Provider, ProviderModel
from evaluations.providers.chat import CallError, ChatRequest, Endpoint, Price
from evaluations.providers.list_prices import SOURCE, list_price
from evaluations.providers.outbound import Destinations
from infra import encryption
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.models import Project

LONGEST_NAME = 60
LONGEST_KEY = 2_000
MOST_MODELS = 2_000
MOST_CONCURRENCY = 256
LONGEST_TIMEOUT = 600
# A call that only shows that the connection works.
TEST_SECONDS = 20.0
TEST_TOKENS = 16
# What may be changed of a provider, with the key apart: it is never shown.
SETTINGS = (
    *("base_url", "capabilities", "max_concurrency", "requests_per_minute", "tokens_per_minute", "timeout_seconds"),
)


def destinations() -> Destinations:
    """Where this installation lets requests go."""
    return Destinations([*settings.PROVIDER_PRIVATE_HOSTS, urlsplit(settings.SANDBOX_URL).netloc])


def named(project: Project, name: str) -> Provider:
    """The project's provider of that name, or `provider.not_found`."""
    found = Provider.objects.filter(project=project, name=name).first()
    if found is None:
        raise Problem("provider.not_found", f"There is no provider {quoted(name)} in {project.slug}.")
    found.project = project
    return found


def model_named(project: Project, reference: str) -> ProviderModel:
    """A model by `provider/model`; `model.not_found` where the project has none such."""
    provider, slash, model = reference.partition("/")
    models = ProviderModel.objects.filter(provider__project=project, provider__name=provider, name=model)
    found = models.select_related("provider__project").first() if slash else None
    if found is None:
        raise Problem("model.not_found", f"There is no model {quoted(reference)}; models are named provider/model.")
    return found


@transaction.atomic
def create(
    actor: Actor, *, name: str, base_url: str = "", key: str = "", is_simulation: bool = False, **given: Any
) -> Provider:
    """A server that may be asked. Its key is encrypted, and shown to nobody again. A simulation is this installation's
    sandbox: it has no address and no key of its own."""
    actor.require(Right.ADMINISTER)
    if not is_prompt_name(name) or len(name) > LONGEST_NAME:
        sentence = "A provider's name is lower-case letters and digits in words joined by . - or _."
        raise Problem("provider.invalid_name", sentence, faults=[Fault("/name", "name", sentence)])
    made = Provider(
        project=actor.project,
        name=name,
        base_url=base_url.rstrip("/"),
        is_simulation=is_simulation,
        created_by_name=actor.name,
        capabilities=[Capability.CHAT, Capability.JSON_SCHEMA],
    )
    _set(made, {"base_url": base_url, **given})
    _set_key(made, key)
    try:
        with transaction.atomic():
            made.save()
    except IntegrityError:
        raise Problem("provider.name_taken", f"There is a provider {quoted(name)} already.") from None
    audit.record(actor, "provider.created", made, after=_told(made))
    return made


@transaction.atomic
def change(actor: Actor, provider: Provider, *, key: str | None = None, **given: Any) -> Provider:
    """Give a provider other settings; a key that is not given stays."""
    actor.require(Right.ADMINISTER)
    locked = _lock(provider)
    before = _told(locked)
    if given.get("base_url", locked.base_url).rstrip("/") != locked.base_url and key is None and locked.encrypted_key:
        # Whoever may write an address could otherwise have the key sent there.
        sentence = "With another address the key has to be entered again."
        raise Problem("provider.key_needed", sentence, faults=[Fault("/key", "required", sentence)])
    _set(locked, given)
    if key is not None:
        _set_key(locked, key)
    locked.save()
    after = _told(locked)
    if before != after:
        audit.record(actor, "provider.changed", locked, before=before, after=after)
    return locked


@transaction.atomic
def archive(actor: Actor, provider: Provider) -> Provider:
    """Take a provider out of use, and forget its key."""
    actor.require(Right.ADMINISTER)
    locked = _lock(provider)
    if not locked.archived_at:
        locked.archived_at, locked.encrypted_key, locked.key_hint = timezone.now(), "", ""
        locked.save(update_fields=["archived_at", "encrypted_key", "key_hint"])
        audit.record(actor, "provider.archived", locked)
    return locked


@transaction.atomic
def restore(actor: Actor, provider: Provider) -> Provider:
    actor.require(Right.ADMINISTER)
    locked = _lock(provider)
    if locked.archived_at:
        locked.archived_at = None
        locked.save(update_fields=["archived_at"])
        audit.record(actor, "provider.restored", locked)
    return locked


@transaction.atomic
def add_model(actor: Actor, provider: Provider, name: str) -> ProviderModel:
    """A model that the provider does not list, or that nobody has asked it for yet."""
    actor.require(Right.ADMINISTER)
    name = name.strip()
    if not 1 <= len(name) <= 200 or not name.isprintable():
        raise Problem("model.invalid_name", "A model's name has 1 to 200 characters.")
    made, created = ProviderModel.objects.get_or_create(provider=provider, name=name)
    if created:
        audit.record(actor, "model.added", made)
        _price_by_list([made], actor.name)
    return made


@transaction.atomic
def set_price(
    actor: Actor,
    model: ProviderModel,
    prices: Mapping[str, object],
    *,
    valid_from: date | None = None,
) -> ModelPrice:
    """What a model costs from a day on (today), in US dollars for a million tokens: `input`, `output` and, where it
    differs, `cached_input`. Older prices stay."""
    actor.require(Right.ADMINISTER)
    fresh, out = dollars(prices.get("input"), "/input"), dollars(prices.get("output"), "/output")
    cached = prices.get("cached_input")
    cached = fresh if cached in (None, "") else dollars(cached, "/cached_input")
    made = ModelPrice.objects.create(
        model=model,
        valid_from=valid_from or timezone.now().date(),
        input=fresh,
        cached_input=cached,
        output=out,
        source="entered",
        by_name=actor.name,
    )
    after = {"input": str(fresh), "cached_input": str(cached), "output": str(out), "from": str(made.valid_from)}
    audit.record(actor, "price.set", model, after=after)
    return made


def price_of(model: ProviderModel, day: date | None = None) -> Price | None:
    """What a model costs on a day; None where nobody has said."""
    rows = ModelPrice.objects.filter(model=model, valid_from__lte=day or timezone.now().date())
    found = rows.order_by("-valid_from", "-id").first()
    return Price(found.input, found.cached_input, found.output) if found else None


def require_usable(model: ProviderModel) -> None:
    """`provider.archived` or `model.shut_down` where a model cannot be asked."""
    if model.provider.archived_at:
        raise Problem("provider.archived", f"{model.provider.name} is archived; restore it, and enter its key again.")
    if model.shutdown_date and model.shutdown_date <= timezone.now().date():
        sentence = f"{model.name} was shut down on {model.shutdown_date}; choose another model."
        raise Problem("model.shut_down", sentence, shutdown_date=str(model.shutdown_date))


def endpoint(provider: Provider, connections: int | None = None) -> Endpoint:
    """How to reach a provider, with its key in the clear: for the time of a call."""
    simulated = provider.is_simulation
    if simulated and not settings.SANDBOX_URL:
        raise Problem("provider.address", "The sandbox does not run here (SANDBOX_URL).")
    return Endpoint(
        settings.SANDBOX_URL if simulated else provider.base_url,
        settings.SANDBOX_KEY if simulated else encryption.decrypt(provider.encrypted_key),
        float(provider.timeout_seconds),
        connections or provider.max_concurrency,
    )


def try_out(provider: Provider, model: str = "") -> Provider:
    """Ask a provider for its models, and one of them for a word; keep what came of it. Its models are known then."""
    passed, told = False, ""
    try:
        listed, told = asyncio.run(_ask(provider, model))
        _keep_models(provider, listed)
        passed = True
    except CallError as error:
        told = f"{error.detail} ({error.code})"
    except Problem as problem:
        told = problem.detail
    provider.tested_at, provider.test_passed, provider.test_result = timezone.now(), passed, told[:1_000]
    provider.save(update_fields=["tested_at", "test_passed", "test_result"])
    return provider


async def _ask(provider: Provider, model: str) -> tuple[list[dict[str, Any]], str]:
    # Imported here: the client is for workers, which call; a web process has no use for its 60 MB.
    from evaluations.providers.openai_chat import connected  # noqa: PLC0415

    reached = endpoint(provider)
    short = Endpoint(reached.base_url, reached.api_key, min(reached.timeout_seconds, TEST_SECONDS), 1)
    async with connected(short, destinations()) as chat:
        listed = await chat.models()
        told = f"It has {len(listed)} model{'s' if len(listed) != 1 else ''}."
        if not model:
            return listed, told
        request = ChatRequest(model, [{"role": "user", "content": "Say hello."}], {"max_tokens": TEST_TOKENS})
        answer = await chat.complete(request)
    return listed, f"{told} {model} answered in {answer.latency_ms:,.0f} ms: {answer.text[:100]!r}"


@transaction.atomic
def _keep_models(provider: Provider, listed: Sequence[Mapping[str, Any]]) -> None:
    """Take over a provider's own list: new models, which are gone, and until when each lasts."""
    there = {one.name: one for one in ProviderModel.objects.select_for_update().filter(provider=provider)}
    named = {str(one["name"]): _day(one.get("shutdown_date")) for one in listed[:MOST_MODELS]}
    made = [ProviderModel(provider=provider, name=name) for name in named if name not in there]
    ProviderModel.objects.bulk_create(made)
    for model in [*there.values(), *made]:
        model.is_listed = model.name in named
        # A list that says nothing of the end does not take back what is known.
        model.shutdown_date = named.get(model.name) or model.shutdown_date
    ProviderModel.objects.bulk_update([*there.values(), *made], ["is_listed", "shutdown_date"], batch_size=500)
    _price_by_list(made, "price list")
    provider.synced_at = timezone.now()
    provider.save(update_fields=["synced_at"])


def _price_by_list(models: Sequence[ProviderModel], by: str) -> None:
    rows = []
    for model in models:
        price = list_price(model.provider.base_url, model.name)
        if price:
            rows.append(
                ModelPrice(
                    model=model,
                    valid_from=timezone.now().date(),
                    input=price.input,
                    cached_input=price.cached_input,
                    output=price.output,
                    source=SOURCE,
                    by_name=by,
                )
            )
    ModelPrice.objects.bulk_create(rows)


def _day(text: object) -> date | None:
    try:
        return date.fromisoformat(str(text)[:10])
    except ValueError:
        return None


def _lock(provider: Provider) -> Provider:
    locked = Provider.objects.select_for_update().get(pk=provider.pk)
    locked.project = provider.project
    return locked


def _set_key(provider: Provider, key: str) -> None:
    key = key.strip()
    if len(key) > LONGEST_KEY or not (key.isascii() and key.isprintable()):
        sentence = "A key is at most 2,000 printable ASCII characters."
        raise Problem("request.invalid", sentence, faults=[Fault("/key", "key", sentence)])
    provider.encrypted_key = encryption.encrypt(key)
    provider.key_hint = key[-4:] if len(key) >= 12 else ""


def _set(provider: Provider, given: Mapping[str, Any]) -> None:
    faults: list[Fault] = []
    for name in SETTINGS:
        if name in given:
            setattr(provider, name, given[name])
    provider.base_url = str(provider.base_url).strip().rstrip("/")
    if not provider.is_simulation:
        destinations().require(provider.base_url)
    provider.capabilities = sorted(set(provider.capabilities))
    unknown = [one for one in provider.capabilities if one not in Capability.values]
    if unknown:
        faults.append(Fault("/capabilities", "choice", f"Must be of: {', '.join(Capability.values)}."))
    for name, low, high in (
        ("max_concurrency", 1, MOST_CONCURRENCY),
        ("timeout_seconds", 1, LONGEST_TIMEOUT),
        ("requests_per_minute", 1, 10_000_000),
        ("tokens_per_minute", 1, 2_000_000_000),
    ):
        value = getattr(provider, name)
        if value is None and name.endswith("per_minute"):
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            faults.append(Fault(f"/{name}", "range", f"Must be a whole number from {low:,} to {high:,}."))
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)


def dollars(value: object, pointer: str) -> Decimal:
    """US dollars for a million tokens, as somebody wrote them."""
    try:
        found = Decimal(str(value).strip())
    except InvalidOperation:
        found = Decimal(-1)
    if not found.is_finite() or not 0 <= found <= 100_000:
        sentence = "Must be US dollars for a million tokens, from 0 to 100,000."
        raise Problem("request.invalid", sentence, faults=[Fault(pointer, "range", sentence)])
    return round(found, 6)


def _told(provider: Provider) -> dict[str, Any]:
    """What the audit log keeps: of the key only its end."""
    return {**{name: getattr(provider, name) for name in SETTINGS}, "key": provider.key_hint}
