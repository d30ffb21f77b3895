"""Fine-tuning settings and prices of providers, over REST."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from evaluations.providers import configuration as providers
from finetunes.api import serializers
from finetunes.jobs import provider_settings
from finetunes.models import FineTuningSettings
from registry.accounts.permissions import Right
from registry.api.base import ProjectView


def fine_tuning_document(fine_tuning: FineTuningSettings) -> dict[str, Any]:
    return {
        "provider": fine_tuning.provider.name,
        "protocol": fine_tuning.protocol,
        "max_jobs": fine_tuning.max_jobs,
        "webhook": f"/hooks/fine-tunes/{fine_tuning.pk}" if fine_tuning.encrypted_webhook_secret else None,
        "closes": provider_settings.protocol_for(fine_tuning).closes,
    }


class ProviderTuning(ProjectView):
    write_right = Right.ADMINISTER

    @extend_schema(operation_id="providers_tuning", responses=serializers.FineTuningSettingsSerializer)
    def get(self, request: Request, name: str) -> Response:
        """Read how a provider tunes."""
        settings = provider_settings.settings_for(providers.get_provider(self.actor.project, name))
        return Response(serializers.FineTuningSettingsSerializer(fine_tuning_document(settings)).data)

    @extend_schema(
        operation_id="providers_set_tuning",
        request=serializers.FineTuningSettingsInput,
        responses=serializers.FineTuningSettingsSerializer,
    )
    def patch(self, request: Request, name: str) -> Response:
        """Set how a provider tunes; what is not sent stays."""
        body = serializers.FineTuningSettingsInput.read(request)
        settings = provider_settings.set_up(self.actor, providers.get_provider(self.actor.project, name), **body)
        return Response(serializers.FineTuningSettingsSerializer(fine_tuning_document(settings)).data)


class ProviderTuningPrices(ProjectView):
    write_right = Right.ADMINISTER

    @extend_schema(
        operation_id="providers_set_tuning_price",
        request=serializers.FineTuningPriceInput,
        responses={201: serializers.FineTuningPriceInput},
    )
    def post(self, request: Request, name: str) -> Response:
        """Set what tuning a base costs from today on, and what its tuned models cost."""
        body = serializers.FineTuningPriceInput.read(request)
        provider = providers.get_provider(self.actor.project, name)
        model = providers.get_model(self.actor.project, f"{provider.name}/{body['model']}")
        price = provider_settings.set_price(self.actor, model, body)
        document = {"model": model.name, **(provider_settings.price_as_dict(price) or {})}
        return Response(serializers.FineTuningPriceInput(document).data, status=201)
