"""Who tunes, and for how much: a provider's dialect, its places for jobs, prices and last days."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from django.db import transaction
from django.utils import timezone

from core.errors import Fault, Problem
from evaluations.models import Capability, Provider, ProviderModel
from evaluations.providers import configuration as providers
from evaluations.providers.chat import CallError, Remedy
from finetunes.models import Tuner, TuningPrice
from finetunes.providers.base import Tuning
from finetunes.providers.states import DIALECTS, Dialect, dialect_of
from infra import encryption
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right

# A base that ends sooner than this is warned of: what is tuned on it ends as well.
SOON = timedelta(days=180)
MOST_TIMEOUTS = 3
Answer = TypeVar("Answer")


def of(provider: Provider) -> Tuner:
    """How a provider tunes; by its address where nobody has said."""
    dialect = dialect_of(provider.base_url, is_simulation=provider.is_simulation)
    return Tuner.objects.get_or_create(provider=provider, defaults={"dialect": dialect.name})[0]


def spoken(tuner: Tuner) -> Dialect:
    return DIALECTS[tuner.dialect]


@transaction.atomic
def set_up(
    actor: Actor,
    provider: Provider,
    *,
    dialect: str | None = None,
    max_jobs: int | None = None,
    webhook_secret: str | None = None,
) -> Tuner:
    """Say how a provider tunes; what is not given stays."""
    actor.require(Right.ADMINISTER)
    of(provider)
    tuner = Tuner.objects.select_for_update().get(provider=provider)
    faults = []
    if dialect is not None and dialect not in DIALECTS:
        faults.append(Fault("/dialect", "choice", f"Must be one of: {', '.join(DIALECTS)}."))
    if max_jobs is not None and not 1 <= max_jobs <= 100:
        faults.append(Fault("/max_jobs", "range", "Must be from 1 to 100."))
    if webhook_secret and not webhook_secret.startswith("whsec_"):
        faults.append(Fault("/webhook_secret", "secret", "A webhook's secret begins with whsec_."))
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
    before = {"dialect": tuner.dialect, "max_jobs": tuner.max_jobs}
    tuner.dialect, tuner.max_jobs = dialect or tuner.dialect, max_jobs or tuner.max_jobs
    if webhook_secret is not None:
        tuner.encrypted_webhook_secret = encryption.encrypt(webhook_secret) if webhook_secret else ""
    tuner.save()
    after = {"dialect": tuner.dialect, "max_jobs": tuner.max_jobs, "webhook": bool(tuner.encrypted_webhook_secret)}
    audit.record(actor, "tuner.set", provider, before=before, after=after)
    return tuner


@transaction.atomic
def set_price(
    actor: Actor, model: ProviderModel, prices: Mapping[str, object], *, valid_from: date | None = None
) -> TuningPrice:
    """What tuning a base costs from a day on: `training`, and `tuned_input` and `tuned_output` where calls of the tuned
    model do not cost what those of the base do. US dollars for a million tokens."""
    actor.require(Right.ADMINISTER)
    tuned = {
        name: None if prices.get(name) in (None, "") else providers.dollars(prices[name], f"/{name}")
        for name in ("tuned_input", "tuned_output")
    }
    made = TuningPrice.objects.create(
        model=model,
        valid_from=valid_from or timezone.now().date(),
        training=providers.dollars(prices.get("training"), "/training"),
        by_name=actor.name,
        **tuned,
    )
    audit.record(actor, "tuning_price.set", model, after={name: str(value) for name, value in prices.items()})
    return made


def price_of(model: ProviderModel) -> TuningPrice | None:
    """What tuning this base costs today; None where nobody has said."""
    rows = TuningPrice.objects.filter(model=model, valid_from__lte=timezone.now().date())
    return rows.order_by("-valid_from", "-id").first()


def require_tunable(model: ProviderModel, day: date | None = None) -> None:
    """Refuses a base that cannot be tuned: out of use, at a provider that does not tune, or that tunes no more."""
    today = day or timezone.now().date()
    providers.require_usable(model)
    if Capability.FINE_TUNING not in model.provider.capabilities:
        sentence = f"{model.provider.name} is not marked as one that tunes; an admin can say so on its page."
        raise Problem("finetune.not_offered", sentence)
    closes = spoken(of(model.provider)).closes
    if closes and today >= closes:
        raise Problem("finetune.closed", f"{model.provider.name} makes no new jobs since {closes}.", closes=str(closes))


def warnings(model: ProviderModel, day: date | None = None) -> list[str]:
    """What ends soon: the base, or the provider's tuning."""
    today = day or timezone.now().date()
    found = []
    closes = spoken(of(model.provider)).closes
    if closes and today < closes:
        found.append(f"{model.provider.name} makes no new jobs from {closes} on: this could not be tuned again.")
    if model.shutdown_date and model.shutdown_date - today < SOON:
        found.append(f"{model.name} is shut down on {model.shutdown_date}, and what is tuned on it as well.")
    return found


def asked(provider: Provider, ask: Callable[[Tuning], Awaitable[Answer]], *, seconds: float | None = None) -> Answer:
    """What a provider answers; CallError where it does not, or not within so many seconds (some times its timeout,
    which counts from byte to byte)."""
    # Imported here: the client is for workers.
    from finetunes.providers.openai_tuning import connected  # noqa: PLC0415

    dialect = spoken(of(provider))

    async def go() -> Answer:
        endpoint = providers.endpoint(provider, 1)
        whole = seconds or MOST_TIMEOUTS * endpoint.timeout_seconds
        try:
            async with asyncio.timeout(whole), connected(endpoint, providers.destinations(), dialect) as tuning:
                return await ask(tuning)
        except TimeoutError:
            raise CallError("call.timeout", "The provider did not finish its answer in time.", Remedy.RETRY) from None

    return asyncio.run(go())


def told(price: TuningPrice | None) -> dict[str, Any] | None:
    """A price as a job keeps it."""
    if price is None:
        return None
    found: dict[str, Decimal | None] = {
        "training": price.training,
        "tuned_input": price.tuned_input,
        "tuned_output": price.tuned_output,
    }
    return {name: None if value is None else str(value) for name, value in found.items()}
