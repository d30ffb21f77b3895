"""Providers: servers that speak OpenAI's protocol, their models and prices."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Case, F, OuterRef, QuerySet, Subquery, When
from django.utils import timezone

from core.errors import Fault, Problem
from core.references import is_prompt_name, quoted
from evaluations.models import Capability, ModelPrice, Provider, ProviderKind, ProviderModel, Run
from evaluations.providers import profiles
from evaluations.providers.chat import Endpoint
from evaluations.providers.list_prices import SOURCE, list_price
from evaluations.providers.outbound import Destinations
from evaluations.providers.presets import PRESETS, PROTOCOLS, get_preset
from evaluations.providers.prices import Price
from infra import encryption
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.models import Project

MAX_NAME_LENGTH = 60
MAX_KEY_LENGTH = 2_000
MAX_CONCURRENCY = 256
# A server of one's own bears few calls at once, until it says how many.
PRIVATE_CONCURRENCY = 2
# Two processors answer long questions slowly, and callers wait for each other.
LOCAL_TIMEOUT_SECONDS = 300
MAX_TIMEOUT_SECONDS = 600
NOT_ITS_OWN = "What comes with this installation has no address and no key of its own."
DEFAULT_PROTOCOL = "openai_chat"
# Settings of a provider that may be changed; the key is apart, because it is never shown.
SETTINGS = (
    *("base_url", "protocol", "capabilities", "max_concurrency", "requests_per_minute", "tokens_per_minute"),
    "timeout_seconds",
)


def destinations() -> Destinations:
    """Return the servers that this installation may send requests to."""
    return Destinations(
        [
            *settings.PROVIDER_PRIVATE_HOSTS,
            urlsplit(settings.SANDBOX_URL).netloc,
            urlsplit(settings.LOCAL_URL).netloc,
        ]
    )


def get_provider(project: Project, name: str) -> Provider:
    """Return the project's provider of that name, or raise `provider.not_found`."""
    provider = Provider.objects.filter(project=project, name=name).first()
    if provider is None:
        raise Problem("provider.not_found", f"There is no provider {quoted(name)} in {project.slug}.")
    provider.project = project
    return provider


def offered_models(project: Project) -> QuerySet[ProviderModel]:
    """Return the models that forms offer: the one that was evaluated last first, which is the form's default, and those
    that were fine-tuned after all others."""
    models = ProviderModel.objects.filter(provider__project=project, provider__archived_at=None, archived_at=None)
    newest = Run.objects.filter(model=OuterRef("pk")).order_by("-id").values("id")[:1]
    is_tuned = Case(When(name__startswith="ft:", then=True), default=False)
    # A tuned model is measured as soon as it is there: that says nothing of what the next form is for.
    order = (is_tuned, F("last_run").desc(nulls_last=True), "provider", "name")
    return models.select_related("provider").annotate(last_run=Subquery(newest)).order_by(*order)


def get_model(project: Project, reference: str) -> ProviderModel:
    """Return a model by `provider/model`, or raise `model.not_found`."""
    provider, slash, model = reference.partition("/")
    models = ProviderModel.objects.filter(provider__project=project, provider__name=provider, name=model)
    provider_model = models.select_related("provider__project").first() if slash else None
    if provider_model is None:
        raise Problem("model.not_found", f"There is no model {quoted(reference)}; models are named provider/model.")
    return provider_model


@transaction.atomic
def create(
    actor: Actor,
    *,
    name: str,
    base_url: str = "",
    key: str = "",
    kind: str = ProviderKind.REMOTE,
    preset: str = "",
    **changes: Any,
) -> Provider:
    """Create a provider. Its key is encrypted, and never shown again. This installation's sandbox and its local engine
    have no address and no key of their own. A preset gives the address, protocol and capabilities that are not said."""
    actor.require(Right.ADMINISTER)
    if preset:
        starting_point = get_preset(preset)
        if starting_point is None:
            sentence = f"Must be one of: {', '.join(each.name for each in PRESETS)}."
            raise Problem("request.invalid", sentence, faults=[Fault("/preset", "choice", sentence)])
        base_url = base_url or starting_point.base_url
        changes = {"protocol": starting_point.protocol, "capabilities": list(starting_point.capabilities), **changes}
    if not is_prompt_name(name) or len(name) > MAX_NAME_LENGTH:
        sentence = "A provider's name is lower-case letters and digits in words joined by . - or _."
        raise Problem("provider.invalid_name", sentence, faults=[Fault("/name", "name", sentence)])
    provider = Provider(
        project=actor.project,
        name=name,
        base_url=base_url.rstrip("/"),
        kind=kind,
        created_by_name=actor.name,
        capabilities=[Capability.CHAT, Capability.JSON_SCHEMA, Capability.TOOLS],
    )
    if kind == ProviderKind.LOCAL:
        # What it cannot tune it refuses by name.
        provider.capabilities.append(Capability.FINE_TUNING)
        provider.timeout_seconds = LOCAL_TIMEOUT_SECONDS
        provider.max_concurrency = PRIVATE_CONCURRENCY
    _apply_settings(provider, {"base_url": base_url, **changes})
    is_remote = kind == ProviderKind.REMOTE
    if "max_concurrency" not in changes and is_remote and destinations().is_private(provider.base_url):
        provider.max_concurrency = PRIVATE_CONCURRENCY
    _set_key(provider, key)
    try:
        with transaction.atomic():
            provider.save()
    except IntegrityError as error:
        raise _taken(provider, error) from None
    audit.record(actor, "provider.created", provider, after=_settings_as_dict(provider))
    return provider


@transaction.atomic
def change(actor: Actor, provider: Provider, *, key: str | None = None, **changes: Any) -> Provider:
    """Change a provider's settings; without a `key` the old one stays."""
    actor.require(Right.ADMINISTER)
    locked = _lock(provider)
    before = _settings_as_dict(locked)
    if changes.get("base_url", locked.base_url).rstrip("/") != locked.base_url and key is None and locked.encrypted_key:
        # Otherwise anybody who may write an address could have the key sent there.
        sentence = "With another address the key has to be entered again."
        raise Problem("provider.key_needed", sentence, faults=[Fault("/key", "required", sentence)])
    _apply_settings(locked, changes)
    if key is not None:
        _set_key(locked, key)
    locked.save()
    after = _settings_as_dict(locked)
    if before != after:
        audit.record(actor, "provider.changed", locked, before=before, after=after)
    return locked


@transaction.atomic
def archive(actor: Actor, provider: Provider) -> Provider:
    """Archive a provider, and delete its key."""
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
        try:
            with transaction.atomic():
                locked.save(update_fields=["archived_at"])
        except IntegrityError as error:
            raise _taken(locked, error) from None
        audit.record(actor, "provider.restored", locked)
    return locked


def _taken(provider: Provider, error: IntegrityError) -> Problem:
    """Return what to say where a constraint refuses a provider."""
    if "provider_local_once" in str(error):
        return Problem("provider.name_taken", "This project has the local engine already; archive that one first.")
    return Problem("provider.name_taken", f"There is a provider {quoted(provider.name)} already.")


@transaction.atomic
def add_model(actor: Actor, provider: Provider, name: str) -> ProviderModel:
    """Add a model that the provider does not list, or has not listed yet; one that is archived is restored."""
    actor.require(Right.ADMINISTER)
    name = name.strip()
    if not 1 <= len(name) <= 200 or not name.isprintable():
        raise Problem("model.invalid_name", "A model's name has 1 to 200 characters.")
    model, created = ProviderModel.objects.get_or_create(provider=provider, name=name)
    if created:
        audit.record(actor, "model.added", model)
        add_list_prices([model], actor.name)
    return restore_model(actor, model) if model.archived_at else model


@transaction.atomic
def archive_model(actor: Actor, model: ProviderModel) -> ProviderModel:
    """Archive a model, such as one with a typing error in its name: nothing offers it, and nothing asks it."""
    actor.require(Right.ADMINISTER)
    locked = (
        ProviderModel.objects.select_for_update(no_key=True, of=("self",)).select_related("provider").get(pk=model.pk)
    )
    if not locked.archived_at:
        locked.archived_at = timezone.now()
        locked.save(update_fields=["archived_at"])
        audit.record(actor, "model.archived", locked)
    return locked


@transaction.atomic
def restore_model(actor: Actor, model: ProviderModel) -> ProviderModel:
    actor.require(Right.ADMINISTER)
    locked = (
        ProviderModel.objects.select_for_update(no_key=True, of=("self",)).select_related("provider").get(pk=model.pk)
    )
    if locked.archived_at:
        locked.archived_at = None
        locked.save(update_fields=["archived_at"])
        audit.record(actor, "model.restored", locked)
    return locked


@transaction.atomic
def set_price(
    actor: Actor,
    model: ProviderModel,
    prices: Mapping[str, object],
    *,
    valid_from: date | None = None,
    source: str = "entered",
) -> ModelPrice:
    """Set a model's price from a day on (today), in US dollars for a million tokens: `input`, `output` and, where they
    differ, `cached_input` and `cache_write`. Older prices stay. `source` says on pages where it comes from."""
    actor.require(Right.ADMINISTER)
    fresh, out = read_dollars(prices.get("input"), "/input"), read_dollars(prices.get("output"), "/output")
    cached = prices.get("cached_input")
    cached = fresh if cached in (None, "") else read_dollars(cached, "/cached_input")
    written = prices.get("cache_write")
    cache_write = None if written in (None, "") else read_dollars(written, "/cache_write")
    price = ModelPrice.objects.create(
        model=model,
        valid_from=valid_from or timezone.now().date(),
        input=fresh,
        cached_input=cached,
        output=out,
        cache_write=cache_write,
        source=source,
        by_name=actor.name,
    )
    after = {"input": str(fresh), "cached_input": str(cached), "output": str(out), "from": str(price.valid_from)}
    after |= {} if cache_write is None else {"cache_write": str(cache_write)}
    audit.record(actor, "price.set", model, after=after)
    return price


def price_of(model: ProviderModel, day: date | None = None) -> Price | None:
    """Return a model's price on a day; None where it is unknown."""
    rows = ModelPrice.objects.filter(model=model, valid_from__lte=day or timezone.now().date())
    price = rows.order_by("-valid_from", "-id").first()
    return Price(price.input, price.cached_input, price.output, price.cache_write) if price else None


def require_usable(
    model: ProviderModel, content: Mapping[str, Any] | None = None, parameters: Mapping[str, Any] | None = None
) -> None:
    """Raise `provider.archived` or `model.shut_down` where a model cannot be called, and `provider.capability` or
    `model.refuses` where its provider or itself does not take what the content of a version asks for; `parameters`
    are settings in place of the content's own."""
    if model.provider.archived_at:
        raise Problem("provider.archived", f"{model.provider.name} is archived; restore it, and enter its key again.")
    if model.archived_at:
        raise Problem("model.archived", f"{model} is archived; restore it to ask it.")
    end = profiles.end_of(model)
    if end and end <= timezone.now().date():
        sentence = f"{model.name} was shut down on {end}; choose another model."
        raise Problem("model.shut_down", sentence, shutdown_date=str(end))
    needed = [Capability.CHAT]
    if content is not None and content.get("response", {}).get("format") == "json_schema":
        needed.append(Capability.JSON_SCHEMA)
    if content is not None and content.get("tools"):
        needed.append(Capability.TOOLS)
    for capability in needed:
        if capability not in model.provider.capabilities:
            sentence = f"{model.provider.name} does not offer what this needs: {capability.label.lower()}."
            hint = "If it does, an admin can say so in the provider's settings."
            raise Problem("provider.capability", f"{sentence} {hint}", capability=capability.value)
    if content is not None:
        profiles.require_accepted(model, content, parameters)


def endpoint(provider: Provider, connections: int | None = None) -> Endpoint:
    """Return a provider's endpoint with its decrypted key, for the time of a call."""
    match provider.kind:
        case ProviderKind.SANDBOX:
            base_url, key = settings.SANDBOX_URL, settings.SANDBOX_KEY
            sentence = "The sandbox is not running here (SANDBOX_URL)."
        case ProviderKind.LOCAL:
            base_url, key = settings.LOCAL_URL, settings.LOCAL_KEY
            sentence = "The local engine is not running here: `make local` starts it (LOCAL_URL)."
        case _:
            base_url, key, sentence = provider.base_url, encryption.decrypt(provider.encrypted_key), ""
    if sentence and not base_url:
        raise Problem("provider.address", sentence)
    return Endpoint(
        base_url,
        key,
        float(provider.timeout_seconds),
        connections or provider.max_concurrency,
        provider.protocol,
    )


def is_same_model(requested: str, answered: str) -> bool:
    """Return whether the model that answered is the one that was asked for: the same, or a dated version of it."""
    requested, answered = (name.rpartition("/")[2].lower() for name in (requested, answered))
    return answered.startswith(requested) or requested.startswith(answered)


def add_list_prices(models: Sequence[ProviderModel], by: str) -> None:
    """Give models the prices that are published for their server, where there are any."""
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
                    cache_write=price.cache_write,
                    source=SOURCE,
                    by_name=by,
                )
            )
    ModelPrice.objects.bulk_create(rows)


def _lock(provider: Provider) -> Provider:
    locked = Provider.objects.select_for_update().get(pk=provider.pk)
    locked.project = provider.project
    return locked


def _set_key(provider: Provider, key: str) -> None:
    key = key.strip()
    if key and provider.kind != ProviderKind.REMOTE:
        raise Problem("request.invalid", NOT_ITS_OWN, faults=[Fault("/key", "unknown", NOT_ITS_OWN)])
    if len(key) > MAX_KEY_LENGTH or not (key.isascii() and key.isprintable()):
        sentence = "A key is at most 2,000 printable ASCII characters."
        raise Problem("request.invalid", sentence, faults=[Fault("/key", "key", sentence)])
    provider.encrypted_key = encryption.encrypt(key)
    provider.key_hint = key[-4:] if len(key) >= 12 else ""


def _apply_settings(provider: Provider, changes: Mapping[str, Any]) -> None:
    faults: list[Fault] = []
    for name in SETTINGS:
        if name in changes:
            setattr(provider, name, changes[name])
    provider.base_url = str(provider.base_url).strip().rstrip("/")
    is_own = provider.kind != ProviderKind.REMOTE
    if is_own and changes.get("base_url"):
        faults.append(Fault("/base_url", "unknown", NOT_ITS_OWN))
    if provider.kind not in ProviderKind.values:
        faults.append(Fault("/kind", "choice", f"Must be one of: {', '.join(ProviderKind.values)}."))
    if not is_own:
        destinations().require(provider.base_url)
    provider.capabilities = sorted(set(provider.capabilities))
    unknown = [capability for capability in provider.capabilities if capability not in Capability.values]
    if unknown:
        faults.append(Fault("/capabilities", "choice", f"Must be of: {', '.join(Capability.values)}."))
    if provider.protocol not in PROTOCOLS:
        faults.append(Fault("/protocol", "choice", f"Must be one of: {', '.join(PROTOCOLS)}."))
    if is_own and provider.protocol != DEFAULT_PROTOCOL:
        sentence = f"{provider.get_kind_display()} speaks {DEFAULT_PROTOCOL}."
        faults.append(Fault("/protocol", "choice", sentence))
    if "{" in provider.base_url:
        faults.append(Fault("/base_url", "address", "Fill in what stands in braces in the address."))
    for name, low, high in (
        ("max_concurrency", 1, MAX_CONCURRENCY),
        ("timeout_seconds", 1, MAX_TIMEOUT_SECONDS),
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


def read_dollars(value: object, pointer: str) -> Decimal:
    """Read US dollars for a million tokens from user input."""
    try:
        amount = Decimal(str(value).strip())
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or not 0 <= amount <= 100_000:
        sentence = "Must be US dollars for a million tokens, from 0 to 100,000."
        raise Problem("request.invalid", sentence, faults=[Fault(pointer, "range", sentence)])
    return round(amount, 6)


def _settings_as_dict(provider: Provider) -> dict[str, Any]:
    """Return the settings for the audit log, with only the end of the key."""
    return {**{name: getattr(provider, name) for name in SETTINGS}, "key": provider.key_hint}
