"""Webhooks of providers (Standard Webhooks): they shorten the wait for a job's end, and decide nothing."""

from collections.abc import Mapping

from django.utils import timezone
from standardwebhooks.webhooks import Webhook

from core.errors import Problem
from finetunes import tasks
from finetunes.models import FineTune, Tuner
from finetunes.providers.states import DRIVEN
from infra import encryption
from registry.tasks import start

LARGEST = 100_000


def receive(key: int, body: bytes, headers: Mapping[str, str]) -> int:
    """Look at the job that a signed message names, at once; returns how many jobs that are. `finetune.webhook` where
    the message is not signed with the provider's secret, or is older than five minutes."""
    tuner = Tuner.objects.filter(pk=key).exclude(encrypted_webhook_secret="").first()
    if tuner is None or len(body) > LARGEST:
        raise _refused()
    signed = {name.lower(): value for name, value in headers.items()}
    try:
        secret = encryption.decrypt(tuner.encrypted_webhook_secret)
        message = Webhook(secret).verify(body, signed)
    # The package raises its own error, and ValueError or KeyError where a header is none at all.
    except Exception as error:
        raise _refused() from error
    data = message.get("data") if isinstance(message, dict) else None
    named = data.get("id") if isinstance(data, dict) else None
    rows = FineTune.objects.filter(
        model__provider=tuner.provider_id, remote_id=str(named or "-"), state__in=list(DRIVEN)
    )
    keys = list(rows.values_list("pk", flat=True))
    FineTune.objects.filter(pk__in=keys).update(next_poll_at=timezone.now())
    for job in keys:
        start(tasks.advance, job)
    return len(keys)


def _refused() -> Problem:
    return Problem("finetune.webhook", "This message is not signed with the secret that was agreed on.")
