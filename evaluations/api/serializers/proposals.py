"""Serializers of proposals and of cases that a model writes."""

from typing import Any

from rest_framework import serializers

from evaluations.models import CaseProposal, Synthesis
from infra.serializer_fields import Input, ObjectField, Text


class ProposalsInput(Input):
    cases = serializers.ListField(child=serializers.JSONField(), min_length=1)
    origin = Text(help_text="Where they come from: a live call, or a model that wrote them.")


class ProposalSerializer(serializers.ModelSerializer[CaseProposal]):
    case = ObjectField(source="document")
    findings = serializers.ListField(child=ObjectField())
    proposed_by = serializers.CharField(source="proposed_by_name")
    decided_by = serializers.CharField(source="decided_by_name")
    version = serializers.IntegerField(source="version.number", default=None, allow_null=True)

    class Meta:
        model = CaseProposal
        fields = [
            *("id", "case", "origin", "state", "findings", "proposed_by", "created_at"),
            *("decided_by", "decided_at", "reason", "version"),
        ]


class SynthesisInput(Input):
    model = Text(allow_blank=False, help_text="provider/model: a stronger one than what is measured.")
    count = serializers.IntegerField(help_text="How many cases, 1 to 200.")
    about = Text(required=False, default="", help_text="Their purpose, and what is missing.")
    variables = serializers.ListField(
        child=Text(), required=False, default=list, help_text="The dataset's own where it is empty."
    )
    budget_usd = serializers.DecimalField(max_digits=12, decimal_places=6, required=False, allow_null=True)


class SynthesisSerializer(serializers.ModelSerializer[Synthesis]):
    dataset = serializers.CharField(source="dataset.name")
    model = serializers.CharField()
    count = serializers.IntegerField(source="requested")
    variables = serializers.ListField(child=serializers.CharField())
    is_simulation = serializers.BooleanField(source="model.provider.is_simulation")
    by = serializers.CharField(source="by_name")

    class Meta:
        model = Synthesis
        fields = [
            *("id", "dataset", "model", "is_simulation", "count", "about", "variables", "budget_usd", "state"),
            *("proposed", "refused", "calls", "cost_usd", "error", "by", "created_at", "finished_at"),
        ]


class AcceptProposalsInput(Input):
    ids = serializers.ListField(child=serializers.IntegerField(min_value=1, max_value=2**63 - 1), min_length=1)
    edited = serializers.DictField(
        child=serializers.JSONField(), required=False, default=dict, help_text="Cases by proposal id, where edited."
    )


class RejectProposalsInput(Input):
    ids = serializers.ListField(child=serializers.IntegerField(min_value=1, max_value=2**63 - 1), min_length=1)
    reason = Text(required=False, default="")


class CountSerializer(serializers.Serializer[Any]):
    count = serializers.IntegerField()
