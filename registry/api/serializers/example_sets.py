"""Serializers of example sets."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from core import example_selection
from infra.serializer_fields import Input, Text
from registry.models import ExampleSet

MAX_EXAMPLES_SEARCHED = 100


class ExampleSetVersionSummarySerializer(serializers.Serializer[Any]):
    number = serializers.IntegerField()
    hash = serializers.CharField(source="content_hash")
    size = serializers.IntegerField()
    message = serializers.CharField()
    author = serializers.CharField(source="author_name")
    created_at = serializers.DateTimeField()


class ExampleSetSerializer(serializers.ModelSerializer[ExampleSet]):
    archived = serializers.SerializerMethodField()
    created_by = serializers.CharField(source="created_by_name")
    latest = serializers.SerializerMethodField()

    class Meta:
        model = ExampleSet
        fields = ["name", "description", "archived", "created_by", "created_at", "latest"]

    def get_archived(self, example_set: ExampleSet) -> bool:
        return example_set.archived_at is not None

    @extend_schema_field(ExampleSetVersionSummarySerializer(allow_null=True))
    def get_latest(self, example_set: ExampleSet) -> dict[str, Any] | None:
        return dict(ExampleSetVersionSummarySerializer(example_set.head).data) if example_set.head else None


class ExampleSerializer(serializers.Serializer[Any]):
    input = serializers.CharField()
    output = serializers.CharField()
    note = serializers.CharField(required=False)
    tags = serializers.ListField(child=serializers.CharField(), required=False)


class EmbeddingSerializer(serializers.Serializer[Any]):
    embedder = serializers.CharField()
    state = serializers.CharField()
    done = serializers.IntegerField(help_text="Of the version's examples.")
    error = serializers.CharField()


class ExampleSetVersionSerializer(ExampleSetVersionSummarySerializer):
    """A version with all its examples in order, in the normal form that the hash is of (docs/hash.md)."""

    name = serializers.CharField(source="example_set.name")
    embeddings = EmbeddingSerializer(many=True)
    examples = ExampleSerializer(many=True)


class ExampleSetInput(Input):
    name = Text(allow_blank=False)
    description = Text(required=False, default="")


class ExampleSetChange(Input):
    description = Text()


class ExamplesInput(Input):
    examples = serializers.ListField(child=serializers.JSONField())
    message = Text(required=False, default="")


class ExampleSearchInput(Input):
    query = Text(allow_blank=False)
    k = serializers.IntegerField(
        required=False, default=example_selection.DEFAULT_K, min_value=1, max_value=MAX_EXAMPLES_SEARCHED
    )
    version = Text(required=False, default="latest")
    embedder = Text(required=False, allow_null=True, default=None, help_text="Default: this installation's.")
    per_label = serializers.IntegerField(
        required=False, allow_null=True, default=None, min_value=1, help_text="The most of one label."
    )
    token_budget = serializers.IntegerField(required=False, allow_null=True, default=None, min_value=1)


class ExampleMatchSerializer(serializers.Serializer[Any]):
    position = serializers.IntegerField()
    input = serializers.CharField()
    output = serializers.CharField()
    tags = serializers.ListField(child=serializers.CharField())
    label = serializers.CharField()  # type: ignore[assignment]  # the base has a property of this name
    tokens = serializers.IntegerField()
    score = serializers.FloatField(allow_null=True)
    why = serializers.CharField()


class ExampleSearchSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    number = serializers.IntegerField()
    hash = serializers.CharField()
    embedder = serializers.CharField()
    results = ExampleMatchSerializer(many=True)
