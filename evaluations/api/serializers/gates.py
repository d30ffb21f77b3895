"""Serializers of gates and SLAs."""

from rest_framework import serializers

from evaluations.api.serializers.runs import SCORERS_HELP
from evaluations.models import SLA, Gate, GateRun, Split
from infra.serializer_fields import AnyField, Input, ObjectField, SelectorField, Text


class GateInput(Input):
    environment = Text(allow_blank=False)
    name = Text(allow_blank=False, help_text="The check that it records on versions.")
    prompts = Text(required=False, default="", help_text="A prompt's name, or the start of names: support.")
    dataset = Text(allow_blank=False, help_text="name@version; without a version the newest of now, which it keeps.")
    split = serializers.ChoiceField(Split.choices, required=False, default="test")
    model = Text(allow_blank=False, help_text="provider/model")
    scorers = serializers.ListField(child=AnyField(), help_text=SCORERS_HELP)
    repetitions = serializers.IntegerField(required=False, default=1, min_value=1, max_value=20)
    min_quality = serializers.FloatField(required=False, allow_null=True)
    quality_scorer = Text(
        max_length=100,
        required=False,
        help_text="The scorer that has to reach min_quality; the mean of all that judge quality where empty.",
    )
    not_worse = serializers.BooleanField(required=False, default=True)
    margin = serializers.FloatField(required=False, default=0.02)
    keeps_slas = serializers.BooleanField(required=False, default=True)
    budget_usd = serializers.DecimalField(max_digits=12, decimal_places=6, required=False, allow_null=True)


class GateCasesInput(Input):
    version = SelectorField(help_text="The version of the gate's dataset: a number, `latest` or a hash.")


class GateSerializer(serializers.ModelSerializer[Gate]):
    environment = serializers.CharField(source="environment.name")
    dataset = serializers.CharField(source="dataset.name")
    dataset_version = serializers.IntegerField(source="dataset_version.number")
    model = serializers.SerializerMethodField()
    scorers = serializers.ListField(child=ObjectField())
    created_by = serializers.CharField(source="created_by_name")

    class Meta:
        model = Gate
        fields = [
            *("id", "environment", "name", "prompts", "dataset", "dataset_version", "split", "model"),
            *("scorers", "repetitions"),
            *(
                "min_quality",
                "quality_scorer",
                "not_worse",
                "margin",
                "keeps_slas",
                "budget_usd",
                "created_by",
                "created_at",
            ),
        ]

    def get_model(self, gate: Gate) -> str:
        return str(gate.model)


class GateRunSerializer(serializers.ModelSerializer[GateRun]):
    prompt = serializers.CharField(source="version.prompt.name")
    version = serializers.IntegerField(source="version.number")
    dataset_version = serializers.IntegerField(source="dataset_version.number")
    reasons = serializers.ListField(child=ObjectField())

    class Meta:
        model = GateRun
        fields = [
            *("id", "state", "prompt", "version", "dataset_version", "run", "baseline", "comparison", "reasons"),
            *("created_at", "finished_at"),
        ]


class SLASerializer(serializers.ModelSerializer[SLA]):
    class Meta:
        model = SLA
        fields = ["p99_latency_ms", "concurrency", "cost_per_call_usd", "format_adherence", "quality"]


class SLAInput(Input):
    p99_latency_ms = serializers.IntegerField(required=False, allow_null=True)
    concurrency = serializers.IntegerField(
        required=False,
        allow_null=True,
        help_text="The calls in flight with which a latency counts; gates measure with as many. Any where it is null.",
    )
    cost_per_call_usd = serializers.DecimalField(max_digits=12, decimal_places=6, required=False, allow_null=True)
    format_adherence = serializers.FloatField(required=False, allow_null=True)
    quality = serializers.FloatField(required=False, allow_null=True)
