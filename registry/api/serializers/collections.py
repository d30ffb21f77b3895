"""Serializers of collections and their documents."""

from typing import Any

from rest_framework import serializers

from infra.serializer_fields import Input, ObjectField, Text
from registry.models import Collection, DocumentRevision
from registry.retrieval.collections import LANGUAGES


class CollectionInput(Input):
    name = Text()
    description = Text(required=False, default="")
    language = serializers.ChoiceField(LANGUAGES, required=False, default="english", help_text="How words are read.")
    embedder = Text(required=False, default="", help_text="The installation's own where it is left out.")
    chunk_tokens = serializers.IntegerField(required=False, default=400)
    overlap_tokens = serializers.IntegerField(required=False, default=60)


class CollectionSerializer(serializers.ModelSerializer[Collection]):
    chunks = serializers.IntegerField(source="chunk_count", default=0, help_text="Those that can be found now.")
    changed_at = serializers.DateTimeField(allow_null=True, default=None)
    embedding = serializers.CharField(
        source="embedding.state", allow_null=True, default=None, help_text="pending, running, done or failed."
    )

    class Meta:
        model = Collection
        fields = [
            *("name", "description", "language", "embedder", "chunk_tokens", "overlap_tokens", "chunks"),
            *("changed_at", "embedding", "created_by_name", "created_at", "archived_at"),
        ]


class DocumentSerializer(serializers.ModelSerializer[DocumentRevision]):
    path = serializers.CharField(source="document.path")
    revision = serializers.IntegerField(source="number")
    metadata = ObjectField()

    class Meta:
        model = DocumentRevision
        fields = ["path", "revision", "title", "sha256", "media_type", "size", "metadata", "author_name", "at"]


class DocumentDetailSerializer(DocumentSerializer):
    text = serializers.CharField(help_text="What was read from the file, as Markdown.")

    class Meta(DocumentSerializer.Meta):
        fields = [*DocumentSerializer.Meta.fields, "text"]


class PutDocumentSerializer(DocumentSerializer):
    outcome = serializers.ChoiceField(["created", "updated", "unchanged"])

    class Meta(DocumentSerializer.Meta):
        fields = ["outcome", *DocumentSerializer.Meta.fields]


class SearchInput(Input):
    query = Text()
    k = serializers.IntegerField(required=False, default=5, min_value=1, max_value=100)
    min_score = serializers.FloatField(required=False, default=0, min_value=0, max_value=1, help_text="Of meaning.")
    token_budget = serializers.IntegerField(required=False, allow_null=True, default=None, min_value=1)
    neighbours = serializers.IntegerField(required=False, default=0, min_value=0, max_value=10)
    filter = ObjectField(required=False, default=dict, help_text="Metadata that documents have to have.")
    as_of = serializers.DateTimeField(
        required=False, allow_null=True, default=None, help_text="Among what documents said then; now where left out."
    )


class HitSerializer(serializers.Serializer[Any]):
    source = serializers.CharField()  # type: ignore[assignment]  # a member; the metaclass takes it away
    revision = serializers.IntegerField()
    chunk = serializers.IntegerField()
    title = serializers.CharField()
    start = serializers.IntegerField()
    end = serializers.IntegerField()
    tokens = serializers.IntegerField()
    score = serializers.FloatField(help_text="Joined by reciprocal rank fusion.")
    meaning = serializers.FloatField(allow_null=True, help_text="The cosine; null where this half did not find it.")
    meaning_rank = serializers.IntegerField(allow_null=True)
    words = serializers.FloatField(allow_null=True, help_text="The rank of full text.")
    words_rank = serializers.IntegerField(allow_null=True)
    metadata = ObjectField()
    text = serializers.CharField()


class SearchSerializer(serializers.Serializer[Any]):
    chunks = HitSerializer(many=True)
