"""Serializers of prompts imported from other products."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from infra.serializer_fields import Input, Text
from registry.interop.importers.convert import SOURCES


@extend_schema_field(OpenApiTypes.ANY)
class DocumentField(serializers.JSONField):
    """The other product's document: JSON as it is, or JSON or YAML as text."""


class PromptImportInput(Input):
    source = serializers.ChoiceField(choices=SOURCES)  # type: ignore[assignment]  # the base has a property of this name
    document = DocumentField()
    names = serializers.DictField(child=Text(), required=False, default=dict)
    dataset = Text(required=False, default="")
    dry_run = serializers.BooleanField(required=False, default=False)


class ImportedVersionSerializer(serializers.Serializer[Any]):
    source = serializers.CharField()  # type: ignore[assignment]  # the base has a property of this name
    number = serializers.IntegerField()
    hash = serializers.CharField()
    is_new = serializers.BooleanField()
    labels = serializers.ListField(child=serializers.CharField())
    notes = serializers.ListField(child=serializers.CharField())


class RefusalSerializer(serializers.Serializer[Any]):
    code = serializers.CharField()
    detail = serializers.CharField()


class ImportedPromptSerializer(serializers.Serializer[Any]):
    source = serializers.CharField()  # type: ignore[assignment]  # the base has a property of this name
    name = serializers.CharField()
    outcome = serializers.ChoiceField(choices=("created", "changed", "known", "refused"))
    versions = ImportedVersionSerializer(many=True)
    refusal = RefusalSerializer(allow_null=True)


class ImportedTestsSerializer(serializers.Serializer[Any]):
    dataset = serializers.CharField()
    count = serializers.IntegerField()
    left_out = serializers.ListField(child=serializers.CharField())
    address = serializers.CharField(allow_null=True)


class PromptImportSerializer(serializers.Serializer[Any]):
    dry_run = serializers.BooleanField()
    prompts = ImportedPromptSerializer(many=True)
    tests = ImportedTestsSerializer(allow_null=True)
