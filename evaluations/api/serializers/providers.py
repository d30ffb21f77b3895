"""Serializers of providers, their models and prices."""

from dataclasses import asdict
from datetime import date
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from core.model_settings import EFFORTS
from evaluations.models import Capability, ModelPrice, Provider, ProviderKind, ProviderModel
from evaluations.providers import profiles
from evaluations.providers.presets import PROTOCOL_CHOICES
from infra.serializer_fields import Input, Text
from registry.content.model_profiles.facts import SAMPLING


class ProviderCheckSerializer(serializers.Serializer[dict[str, Any]]):
    """One thing that a test tried, such as `streamed` or `tools`."""

    name = serializers.CharField()
    passed = serializers.BooleanField()
    detail = serializers.CharField()


class ProviderSerializer(serializers.ModelSerializer[Provider]):
    key = serializers.CharField(source="key_hint", help_text="The key's last characters; it is never shown whole.")
    archived = serializers.SerializerMethodField()
    test_checks = ProviderCheckSerializer(many=True)

    class Meta:
        model = Provider
        fields = [
            *("name", "base_url", "protocol", "key", "capabilities", "max_concurrency", "requests_per_minute"),
            *("tokens_per_minute", "timeout_seconds", "kind", "is_simulation", "archived", "tested_at", "test_passed"),
            *("test_result", "test_checks", "synced_at", "created_at"),
        ]

    def get_archived(self, provider: Provider) -> bool:
        return provider.archived_at is not None


class ProviderSettings(Input):
    base_url = Text(required=False)
    key = Text(required=False, help_text="With another address it has to be sent again.")
    protocol = serializers.ChoiceField(PROTOCOL_CHOICES, required=False, help_text="The wire that it speaks.")
    capabilities = serializers.ListField(child=serializers.ChoiceField(Capability.choices), required=False)
    max_concurrency = serializers.IntegerField(required=False, help_text="Calls in the air at once, 1 to 256.")
    requests_per_minute = serializers.IntegerField(required=False, allow_null=True)
    tokens_per_minute = serializers.IntegerField(required=False, allow_null=True)
    timeout_seconds = serializers.IntegerField(required=False)


class ProviderInput(ProviderSettings):
    name = Text(allow_blank=False)
    base_url = Text(required=False, default="")
    preset = Text(
        required=False,
        default="",
        help_text="A known provider: its address, protocol and capabilities are taken where none are given.",
    )
    kind = serializers.ChoiceField(
        ProviderKind.choices,
        required=False,
        default=ProviderKind.REMOTE,
        help_text="This installation's sandbox or local engine has no address and no key.",
    )
    is_simulation = serializers.BooleanField(required=False, default=False, help_text="The same as the kind sandbox.")


class ProviderTest(Input):
    model = Text(required=False, default="", help_text="Ask this model for a word as well.")


class ModelPriceSerializer(serializers.ModelSerializer[ModelPrice]):
    class Meta:
        model = ModelPrice
        fields = ["valid_from", "input", "cached_input", "cache_write", "output", "source"]


class ModelProfileSerializer(serializers.Serializer[dict[str, Any]]):
    """What a model takes, as published and as corrected here; null where it is not known."""

    vendor = serializers.CharField()
    max_input_tokens = serializers.IntegerField(allow_null=True)
    max_output_tokens = serializers.IntegerField(allow_null=True)
    endpoints = serializers.ListField(child=serializers.CharField())
    supports_images = serializers.BooleanField(allow_null=True)
    supports_tools = serializers.BooleanField(allow_null=True)
    supports_schema = serializers.BooleanField(allow_null=True)
    efforts = serializers.ListField(child=serializers.CharField(), allow_null=True)
    default_effort = serializers.CharField(allow_null=True)
    sampling = serializers.CharField(allow_null=True, help_text="always, never or without_reasoning")
    supports_prefill = serializers.BooleanField(allow_null=True)
    has_adaptive_thinking = serializers.BooleanField(allow_null=True)
    shutdown_date = serializers.DateField(allow_null=True)
    successor = serializers.CharField()
    refuses = serializers.ListField(child=serializers.CharField())


class ProviderModelSerializer(serializers.ModelSerializer[ProviderModel]):
    provider = serializers.CharField(source="provider.name")
    price = serializers.SerializerMethodField()
    shutdown_date = serializers.SerializerMethodField(help_text="By its provider's own list, else as published.")
    profile = serializers.SerializerMethodField()
    corrections = serializers.DictField(help_text="What people here know better than the published facts.")
    refused_settings = serializers.DictField(help_text="Settings that it was seen to refuse, which nobody has settled.")
    archived = serializers.SerializerMethodField()

    class Meta:
        model = ProviderModel
        fields = [
            *("provider", "name", "is_listed", "shutdown_date", "price", "profile", "corrections"),
            *("refused_settings", "archived"),
        ]

    def get_archived(self, model: ProviderModel) -> bool:
        return model.archived_at is not None

    def get_shutdown_date(self, model: ProviderModel) -> date | None:
        return profiles.end_of(model)

    @extend_schema_field(ModelProfileSerializer)
    def get_profile(self, model: ProviderModel) -> dict[str, Any]:
        return asdict(profiles.profile_of(model))

    @extend_schema_field(ModelPriceSerializer(allow_null=True))
    def get_price(self, model: ProviderModel) -> dict[str, Any] | None:
        prices: list[ModelPrice] = getattr(model, "current_prices", [])
        return dict(ModelPriceSerializer(prices[0]).data) if prices else None


class ProviderModelInput(Input):
    name = Text(allow_blank=False)


class ProviderModelArchive(Input):
    model = Text(allow_blank=False)
    is_archived = serializers.BooleanField(required=False, default=True, help_text="False: restored.")


class ModelCorrections(Input):
    """What is known better than the published facts; what is not given is as published."""

    model = Text(allow_blank=False)
    is_like = Text(required=False, help_text="The model that stands behind this name, such as that of a deployment.")
    sampling = serializers.ChoiceField(SAMPLING, required=False)
    efforts = serializers.ListField(child=serializers.ChoiceField(EFFORTS), required=False)
    refuses = serializers.ListField(child=Text(), required=False, help_text="Settings that it refuses, by name.")
    supports_images = serializers.BooleanField(required=False)
    supports_tools = serializers.BooleanField(required=False)
    supports_schema = serializers.BooleanField(required=False)
    supports_prefill = serializers.BooleanField(required=False)
    max_input_tokens = serializers.IntegerField(required=False)
    max_output_tokens = serializers.IntegerField(required=False)
    shutdown_date = serializers.DateField(required=False)
    successor = Text(required=False)


class ModelRefusalDecision(Input):
    model = Text(allow_blank=False)
    setting = Text(allow_blank=False)
    is_confirmed = serializers.BooleanField(
        help_text="True: the model refuses it always. False: it was about something else."
    )


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
