"""Serializers of annotation rounds."""

from typing import Any

from rest_framework import serializers

from evaluations.models import AnnotationRound
from infra.serializer_fields import Input, Text


class AnnotationRoundInput(Input):
    title = Text(allow_blank=False)
    annotators = serializers.IntegerField(required=False, default=1)
    labels = serializers.ListField(child=Text(), required=False, default=list)
    label_member = Text(required=False, default="")
    split = Text(required=False, default="")
    only_unanswered = serializers.BooleanField(required=False, default=False)
    most = serializers.IntegerField(required=False, default=200)


class AgreementSerializer(serializers.Serializer[Any]):
    cases = serializers.IntegerField(help_text="Cases that two users answered.")
    agreed = serializers.IntegerField()
    kappa = serializers.FloatField(allow_null=True, help_text="Cohen's.")
    words = serializers.CharField()


class AnnotationRoundSerializer(serializers.ModelSerializer[AnnotationRound]):
    version = serializers.IntegerField(source="version.number")
    result = serializers.IntegerField(source="result.number", default=None, allow_null=True)
    created_by = serializers.CharField(source="created_by_name")

    class Meta:
        model = AnnotationRound
        fields = [
            *("id", "title", "annotators", "labels", "label_member", "state", "version", "result"),
            *("created_by", "created_at"),
        ]


class AnnotationRoundDetailSerializer(AnnotationRoundSerializer):
    cases = serializers.IntegerField()
    done = serializers.IntegerField()
    disputed = serializers.IntegerField()
    agreement = AgreementSerializer()

    class Meta(AnnotationRoundSerializer.Meta):
        fields = [*AnnotationRoundSerializer.Meta.fields, "cases", "done", "disputed", "agreement"]
