"""Registering the local engine: a provider with what its server says of itself, and prices that are assumptions."""

import json
import urllib.error
import urllib.request
from typing import Any

from django.conf import settings
from django.db import transaction

from core.errors import Problem
from evaluations.models import Capability, Provider, ProviderKind, ProviderModel
from evaluations.providers import configuration as providers
from finetunes.jobs import provider_settings
from registry.accounts.permissions import Actor, Right

NAME = "local"
# What a host asks for a model of about this size, in US dollars for a million tokens: this machine sends no bill.
PRICES = {"input": "0.1", "cached_input": "0.02", "output": "0.4"}
TUNING_PRICES = {"training": "0.4"}
SOURCE = "assumed: no bill is sent"
TIMEOUT_SECONDS = 30


def register(actor: Actor) -> ProviderModel:
    """Register the local engine as a provider of the actor's project, or update it; returns its base model.

    Prices that were entered stay. Raises `provider.address` where the engine does not run."""
    actor.require(Right.ADMINISTER)
    status = _read_status()
    capabilities = [Capability.CHAT, Capability.JSON_SCHEMA, Capability.TOOLS]
    if not status["tuning_refusal"]:
        capabilities.append(Capability.FINE_TUNING)
    with transaction.atomic():
        provider = Provider.objects.filter(project=actor.project, kind=ProviderKind.LOCAL, archived_at=None).first()
        members: dict[str, Any] = {"max_concurrency": status["slots"], "capabilities": capabilities}
        if provider is None:
            provider = providers.create(actor, name=NAME, kind=ProviderKind.LOCAL, **members)
            # It trains one after the other.
            provider_settings.set_up(actor, provider, max_jobs=1)
        else:
            providers.change(actor, provider, **members)
        model = providers.add_model(actor, provider, status["model"])
        if providers.price_of(model) is None:
            providers.set_price(actor, model, PRICES, source=SOURCE)
        if Capability.FINE_TUNING in capabilities and provider_settings.current_price(model) is None:
            provider_settings.set_price(actor, model, TUNING_PRICES)
    return model


def _read_status() -> dict[str, Any]:
    if not settings.LOCAL_URL:
        raise Problem("provider.address", "The local engine is not running here: `make local` starts it (LOCAL_URL).")
    address = settings.LOCAL_URL.removesuffix("/v1") + "/local/status"
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {settings.LOCAL_KEY}"})  # noqa: S310 - our own server
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - as above
            status: dict[str, Any] = json.load(answer)
            return status
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise Problem(
            "provider.address", f"The local engine at {settings.LOCAL_URL} does not answer: {error}"
        ) from None
