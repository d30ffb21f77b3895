"""Webhooks of providers (Standard Webhooks): they shorten the wait for a job's end, and decide nothing."""

from collections.abc import Mapping

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from standardwebhooks.webhooks import Webhook

from core.errors import Problem
from finetunes import tasks
from finetunes.models import FineTune, FineTuningSettings
from finetunes.providers.states import WORKER_STATES
from infra import encryption
from infra.work import start

MAX_BODY_BYTES = 100_000


def receive(key: int, body: bytes, headers: Mapping[str, str]) -> int:
    """Look at the job that a signed message names, at once, and return how many jobs that are. `finetune.webhook` where
    the message is not signed with the provider's secret, or is older than five minutes."""
    fine_tuning = FineTuningSettings.objects.filter(pk=key).exclude(encrypted_webhook_secret="").first()
    if fine_tuning is None or len(body) > MAX_BODY_BYTES:
        raise _refusal()
    signed = {name.lower(): value for name, value in headers.items()}
    try:
        secret = encryption.decrypt(fine_tuning.encrypted_webhook_secret)
        message = Webhook(secret).verify(body, signed)
    # The package raises its own error, and ValueError or KeyError where a header is malformed.
    except Exception as error:
        raise _refusal() from error
    data = message.get("data") if isinstance(message, dict) else None
    remote_id = data.get("id") if isinstance(data, dict) else None
    rows = FineTune.objects.filter(
        model__provider=fine_tuning.provider_id, remote_id=str(remote_id or "-"), state__in=list(WORKER_STATES)
    )
    keys = list(rows.values_list("pk", flat=True))
    FineTune.objects.filter(pk__in=keys).update(next_poll_at=timezone.now())
    for job in keys:
        start(tasks.advance, job)
    return len(keys)


def _refusal() -> Problem:
    return Problem("finetune.webhook", "This message is not signed with the provider's webhook secret.")


@csrf_exempt
@require_POST
def webhook(request: HttpRequest, key: int) -> HttpResponse:
    """Take a provider's message that a job has ended: the job is looked at now. Nothing else in it is believed."""
    try:
        receive(key, request.body, request.headers)
    except Problem as problem:
        return JsonResponse(problem.as_document(), status=problem.kind.status, content_type="application/problem+json")
    return HttpResponse(status=204)
