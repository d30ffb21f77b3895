"""Serializers of readiness and leakage reports."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from evaluations.api.serializers.datasets import CaseSerializer
from evaluations.models import Finding, Report
from infra.serializer_fields import Input, ObjectField, Text


class ReportSerializer(serializers.ModelSerializer[Report]):
    result = ObjectField()

    class Meta:
        model = Report
        fields = ["id", "kind", "state", "progress", "result", "error", "created_at", "finished_at"]


class LeakageSerializer(serializers.Serializer[Any]):
    report = ReportSerializer(allow_null=True)
    leaked = serializers.IntegerField(help_text="Test cases that something else shows.")
    blocks_fine_tuning = serializers.BooleanField()
    reason = serializers.CharField()
    override = ObjectField(allow_null=True)


class FindingExampleSerializer(serializers.Serializer[Any]):
    set = serializers.CharField()
    number = serializers.IntegerField()
    position = serializers.IntegerField()
    input = serializers.CharField()


class FindingSerializer(serializers.ModelSerializer[Finding]):
    held_out = CaseSerializer(help_text="The case that ought to stay unseen.")
    other = CaseSerializer(allow_null=True)
    example = serializers.SerializerMethodField()

    class Meta:
        model = Finding
        fields = ["id", "kind", "score", "is_leak", "held_out", "other", "example"]

    @extend_schema_field(FindingExampleSerializer(allow_null=True))
    def get_example(self, finding: Finding) -> dict[str, Any] | None:
        examples: dict[tuple[int | None, int | None], dict[str, Any]] = self.context["examples"]
        return examples.get((finding.example_set_id, finding.position))


class LeakageOverrideInput(Input):
    reason = Text()
