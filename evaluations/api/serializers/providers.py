"""Serializers of providers, their models and prices."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from evaluations.models import Capability, ModelPrice, Provider, ProviderModel
from infra.serializer_fields import Input, Text


class ProviderSerializer(serializers.ModelSerializer[Provider]):
    key = serializers.CharField(source="key_hint", help_text="The key's last characters; it is never shown whole.")
    archived = serializers.SerializerMethodField()

    class Meta:
        model = Provider
        fields = [
            *("name", "base_url", "key", "capabilities", "max_concurrency", "requests_per_minute"),
            *("tokens_per_minute", "timeout_seconds", "is_simulation", "archived", "tested_at", "test_passed"),
            *("test_result", "synced_at", "created_at"),
        ]

    def get_archived(self, provider: Provider) -> bool:
        return provider.archived_at is not None


class ProviderSettings(Input):
    base_url = Text(required=False)
    key = Text(required=False, help_text="With another address it has to be sent again.")
    capabilities = serializers.ListField(child=serializers.ChoiceField(Capability.choices), required=False)
    max_concurrency = serializers.IntegerField(required=False, help_text="Calls in the air at once, 1 to 256.")
    requests_per_minute = serializers.IntegerField(required=False, allow_null=True)
    tokens_per_minute = serializers.IntegerField(required=False, allow_null=True)
    timeout_seconds = serializers.IntegerField(required=False)


class ProviderInput(ProviderSettings):
    name = Text(allow_blank=False)
    base_url = Text(required=False, default="")
    is_simulation = serializers.BooleanField(
        required=False, default=False, help_text="This installation's sandbox: it has no address and no key."
    )


class ProviderTest(Input):
    model = Text(required=False, default="", help_text="Ask this model for a word as well.")


class ModelPriceSerializer(serializers.ModelSerializer[ModelPrice]):
    class Meta:
        model = ModelPrice
        fields = ["valid_from", "input", "cached_input", "cache_write", "output", "source"]


class ProviderModelSerializer(serializers.ModelSerializer[ProviderModel]):
    provider = serializers.CharField(source="provider.name")
    price = serializers.SerializerMethodField()

    class Meta:
        model = ProviderModel
        fields = ["provider", "name", "is_listed", "shutdown_date", "price"]

    @extend_schema_field(ModelPriceSerializer(allow_null=True))
    def get_price(self, model: ProviderModel) -> dict[str, Any] | None:
        prices: list[ModelPrice] = getattr(model, "current_prices", [])
        return dict(ModelPriceSerializer(prices[0]).data) if prices else None


class ProviderModelInput(Input):
    name = Text(allow_blank=False)


class ModelPriceInput(Input):
    """US dollars for a million tokens."""

    model = Text(allow_blank=False)
    input = serializers.DecimalField(max_digits=12, decimal_places=6)
    output = serializers.DecimalField(max_digits=12, decimal_places=6)
    cached_input = serializers.DecimalField(max_digits=12, decimal_places=6, required=False, allow_null=True)
    cache_write = serializers.DecimalField(
        max_digits=12, decimal_places=6, required=False, allow_null=True, help_text="As input where it is not given."
    )
    valid_from = serializers.DateField(required=False, allow_null=True, help_text="Today where it is not given.")
