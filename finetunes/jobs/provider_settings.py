"""Fine-tuning settings of providers: protocol, slots for jobs, prices and last days."""

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
from finetunes.models import FineTuningPrice, FineTuningSettings
from finetunes.providers.base import TuningClient, TuningProtocol
from finetunes.providers.protocols import PROTOCOLS, protocol_of
from infra import encryption
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right

# Users are warned of a base that is shut down sooner than this: models tuned on it end as well.
SHUTDOWN_NOTICE = timedelta(days=180)
MAX_TIMEOUTS = 3
Answer = TypeVar("Answer")


def settings_for(provider: Provider) -> FineTuningSettings:
    """Return a provider's settings; by default its protocol is guessed from its address."""
    protocol = protocol_of(provider.base_url, provider.kind)
    return FineTuningSettings.objects.get_or_create(provider=provider, defaults={"protocol": protocol.name})[0]


def protocol_for(fine_tuning: FineTuningSettings) -> TuningProtocol:
    return PROTOCOLS[fine_tuning.protocol]


@transaction.atomic
def set_up(
    actor: Actor,
    provider: Provider,
    *,
    protocol: str | None = None,
    max_jobs: int | None = None,
    webhook_secret: str | None = None,
) -> FineTuningSettings:
    """Change a provider's settings; missing members stay as they are."""
    actor.require(Right.ADMINISTER)
    settings_for(provider)
    fine_tuning = FineTuningSettings.objects.select_for_update().get(provider=provider)
    faults = []
    if protocol is not None and protocol not in PROTOCOLS:
        faults.append(Fault("/protocol", "choice", f"Must be one of: {', '.join(PROTOCOLS)}."))
    if max_jobs is not None and not 1 <= max_jobs <= 100:
        faults.append(Fault("/max_jobs", "range", "Must be from 1 to 100."))
    if webhook_secret and not webhook_secret.startswith("whsec_"):
        faults.append(Fault("/webhook_secret", "secret", "A webhook's secret begins with whsec_."))
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
    before = {"protocol": fine_tuning.protocol, "max_jobs": fine_tuning.max_jobs}
    fine_tuning.protocol, fine_tuning.max_jobs = protocol or fine_tuning.protocol, max_jobs or fine_tuning.max_jobs
    if webhook_secret is not None:
        fine_tuning.encrypted_webhook_secret = encryption.encrypt(webhook_secret) if webhook_secret else ""
    fine_tuning.save()
    after = {
        "protocol": fine_tuning.protocol,
        "max_jobs": fine_tuning.max_jobs,
        "webhook": bool(fine_tuning.encrypted_webhook_secret),
    }
    audit.record(actor, "fine_tuning.set", provider, before=before, after=after)
    return fine_tuning


@transaction.atomic
def set_price(
    actor: Actor, model: ProviderModel, prices: Mapping[str, object], *, valid_from: date | None = None
) -> FineTuningPrice:
    """Set the price of tuning a base from a day on: `training`, and `tuned_input` and `tuned_output` where calls of the
    tuned model have other prices than those of the base. US dollars for a million tokens."""
    actor.require(Right.ADMINISTER)
    tuned = {
        name: None if prices.get(name) in (None, "") else providers.read_dollars(prices[name], f"/{name}")
        for name in ("tuned_input", "tuned_output")
    }
    price = FineTuningPrice.objects.create(
        model=model,
        valid_from=valid_from or timezone.now().date(),
        training=providers.read_dollars(prices.get("training"), "/training"),
        by_name=actor.name,
        **tuned,
    )
    audit.record(actor, "tuning_price.set", model, after={name: str(value) for name, value in prices.items()})
    return price


def current_price(model: ProviderModel) -> FineTuningPrice | None:
    """Return today's price of tuning this base; None where there is none."""
    rows = FineTuningPrice.objects.filter(model=model, valid_from__lte=timezone.now().date())
    return rows.order_by("-valid_from", "-id").first()


def require_tunable(model: ProviderModel, day: date | None = None) -> None:
    """Refuse a base that cannot be tuned: out of use, or at a provider that does not tune, or no longer does."""
    today = day or timezone.now().date()
    providers.require_usable(model)
    if Capability.FINE_TUNING not in model.provider.capabilities:
        sentence = f"{model.provider.name} is not set up for fine-tuning; an admin can change that on its page."
        raise Problem("finetune.not_offered", sentence)
    closes = protocol_for(settings_for(model.provider)).closes
    if closes and today >= closes:
        raise Problem(
            "finetune.closed", f"{model.provider.name} accepts no new jobs since {closes}.", closes=str(closes)
        )


def shutdown_warnings(model: ProviderModel, day: date | None = None) -> list[str]:
    """Warn of what ends soon: the base, or the provider's tuning."""
    today = day or timezone.now().date()
    sentences = []
    closes = protocol_for(settings_for(model.provider)).closes
    if closes and today < closes:
        sentences.append(f"{model.provider.name} accepts no new jobs from {closes} on: this could not be tuned again.")
    if model.shutdown_date and model.shutdown_date - today < SHUTDOWN_NOTICE:
        sentences.append(f"{model.name} is shut down on {model.shutdown_date}, and what is tuned on it as well.")
    return sentences


def call_provider(
    provider: Provider, call: Callable[[TuningClient], Awaitable[Answer]], *, seconds: float | None = None
) -> Answer:
    """Call a provider and return its answer; raises CallError where there is none within so many seconds (by default
    some times its timeout, which counts from byte to byte)."""
    protocol = protocol_for(settings_for(provider))

    async def go() -> Answer:
        endpoint = providers.endpoint(provider, 1)
        total_seconds = seconds or MAX_TIMEOUTS * endpoint.timeout_seconds
        try:
            async with asyncio.timeout(total_seconds), protocol.connect(endpoint, providers.destinations()) as tuning:
                return await call(tuning)
        except TimeoutError:
            raise CallError("call.timeout", "The provider did not finish its answer in time.", Remedy.RETRY) from None

    return asyncio.run(go())


def price_as_dict(price: FineTuningPrice | None) -> dict[str, Any] | None:
    """Return a price as a job stores it."""
    if price is None:
        return None
    prices: dict[str, Decimal | None] = {
        "training": price.training,
        "tuned_input": price.tuned_input,
        "tuned_output": price.tuned_output,
    }
    return {name: None if value is None else str(value) for name, value in prices.items()}
