"""How providers tune, what that costs, and the webhooks that they may send."""

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.errors import Problem
from evaluations.providers import configuration as providers
from finetunes.api import shapes
from finetunes.api import webhooks
from finetunes.jobs import provider_settings
from finetunes.models import Tuner
from registry.accounts.permissions import Right
from registry.api.authentication import actor_of


def tuner_document(tuner: Tuner) -> dict[str, Any]:
    return {
        "provider": tuner.provider.name,
        "dialect": tuner.dialect,
        "max_jobs": tuner.max_jobs,
        "webhook": f"/hooks/fine-tunes/{tuner.pk}" if tuner.encrypted_webhook_secret else None,
        "closes": provider_settings.spoken(tuner).closes,
    }


class ProviderTuning(APIView):
    @extend_schema(operation_id="providers_tuning", responses=shapes.TunerSerializer)
    def get(self, request: Request, name: str) -> Response:
        """How a provider tunes."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        found = provider_settings.of(providers.named(actor.project, name))
        return Response(shapes.TunerSerializer(tuner_document(found)).data)

    @extend_schema(operation_id="providers_set_tuning", request=shapes.TunerInput, responses=shapes.TunerSerializer)
    def patch(self, request: Request, name: str) -> Response:
        """Say how a provider tunes; what is not sent stays."""
        asked = shapes.TunerInput.read(request)
        actor = actor_of(request)
        found = provider_settings.set_up(actor, providers.named(actor.project, name), **asked)
        return Response(shapes.TunerSerializer(tuner_document(found)).data)


class ProviderTuningPrices(APIView):
    @extend_schema(
        operation_id="providers_set_tuning_price",
        request=shapes.TuningPriceInput,
        responses={201: shapes.TuningPriceInput},
    )
    def post(self, request: Request, name: str) -> Response:
        """What tuning a base costs from today on, and what its tuned models do."""
        asked = shapes.TuningPriceInput.read(request)
        actor = actor_of(request)
        model = providers.model_named(actor.project, f"{providers.named(actor.project, name).name}/{asked['model']}")
        made = provider_settings.set_price(actor, model, asked)
        told = {"model": model.name, **(provider_settings.told(made) or {})}
        return Response(shapes.TuningPriceInput(told).data, status=201)


@csrf_exempt
@require_POST
def webhook(request: HttpRequest, key: int) -> HttpResponse:
    """A provider says that a job has ended: it is looked at now. What it says is not believed, only that it spoke."""
    try:
        webhooks.receive(key, request.body, request.headers)
    except Problem as problem:
        return JsonResponse(problem.as_document(), status=problem.kind.status, content_type="application/problem+json")
    return HttpResponse(status=204)
