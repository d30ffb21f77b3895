"""Serializers of prompts, and of what is read for many of them at once."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from infra.serializer_fields import Input, ObjectField, Tags, Text
from registry.api.serializers.versions import VersionIdentitySerializer, VersionSerializer
from registry.content import diff
from registry.models import Prompt, PromptVersion, Release
from registry.prompts.pinned import PinnedChange


class LiveVersionSerializer(serializers.Serializer[Release]):
    environment = serializers.CharField(source="environment.name")
    number = serializers.IntegerField(source="version.number")
    hash = serializers.CharField(source="version.content_hash")
    since = serializers.DateTimeField(source="created_at")


class LatestVersionSerializer(serializers.Serializer[PromptVersion]):
    number = serializers.IntegerField()
    hash = serializers.CharField(source="content_hash")
    author = serializers.CharField(source="author_name")
    message = serializers.CharField()
    created_at = serializers.DateTimeField()


class PromptSerializer(serializers.ModelSerializer[Prompt]):
    archived = serializers.SerializerMethodField()
    created_by = serializers.CharField(source="created_by_name")
    latest = serializers.SerializerMethodField()
    live = LiveVersionSerializer(many=True, source="live_releases")

    class Meta:
        model = Prompt
        fields = ["name", "description", "tags", "archived", "created_by", "created_at", "latest", "live"]

    def get_archived(self, prompt: Prompt) -> bool:
        return prompt.archived_at is not None

    @extend_schema_field(LatestVersionSerializer(allow_null=True))
    def get_latest(self, prompt: Prompt) -> dict[str, Any] | None:
        return dict(LatestVersionSerializer(prompt.head).data) if prompt.head else None


class PromptInput(Input):
    name = Text(allow_blank=False)
    description = Text(required=False, default="")
    tags = Tags(required=False, default=list)


class PromptChange(Input):
    description = Text(required=False)
    tags = Tags(required=False)


class BatchInput(Input):
    references = serializers.ListField(child=Text(max_length=400), min_length=1, max_length=100)


class BatchResultSerializer(serializers.Serializer[Any]):
    reference = serializers.CharField(allow_blank=True)
    version = VersionSerializer(required=False)
    problem = ObjectField(required=False)


class BatchSerializer(serializers.Serializer[Any]):
    results = BatchResultSerializer(many=True)


class ArmSerializer(serializers.Serializer[Any]):
    arm = serializers.CharField()
    hash = serializers.CharField()
    weight = serializers.IntegerField(required=False, help_text="In basis points of all subjects; none of a baseline.")


class SplitSerializer(serializers.Serializer[Any]):
    """What subjects are assigned by (core/assignment.py; tests/vectors/assignment.json)."""

    run = serializers.IntegerField()
    step = serializers.IntegerField()
    salt = serializers.CharField()
    baseline = ArmSerializer()
    challengers = ArmSerializer(many=True)
    stopped = serializers.ListField(child=serializers.CharField())


class SnapshotSerializer(serializers.Serializer[Any]):
    environment = serializers.CharField()
    prompts = serializers.DictField(child=VersionSerializer())
    since = serializers.CharField(required=False, help_text="The ETag that this is compared with.")
    removed = serializers.ListField(
        child=serializers.CharField(), required=False, help_text="Prompts that were live then and are not now."
    )
    experiments = serializers.DictField(
        child=SplitSerializer(), required=False, help_text="By the prompt's name, where they were asked for."
    )
    arms = serializers.DictField(
        child=VersionSerializer(), required=False, help_text="The versions of all arms, by their hashes."
    )


class PinnedChangeSerializer(serializers.Serializer[Any]):
    """What the newer version pins and the older does not, with the difference of its content."""

    kind = serializers.ChoiceField(choices=["prompt", "examples"])
    name = serializers.CharField()
    old = serializers.CharField(source="old_label", help_text="The version that the older one pins; empty for none.")
    new = serializers.CharField(source="new_label")
    left_out = serializers.IntegerField(help_text="How many examples are not in `diff`.")
    diff = serializers.SerializerMethodField()

    @extend_schema_field(ObjectField())
    def get_diff(self, change: PinnedChange) -> dict[str, Any]:
        return diff.diff(change.old_content, change.new_content)


class DiffSerializer(serializers.Serializer[Any]):
    """`messages` and the member lists are described in registry/content/diff.py."""

    prompt = serializers.CharField()
    old = VersionIdentitySerializer()
    new = VersionIdentitySerializer()
    identical = serializers.BooleanField()
    added = serializers.IntegerField()
    removed = serializers.IntegerField()
    messages = serializers.ListField(child=ObjectField())
    settings = serializers.ListField(child=ObjectField())
    response = serializers.ListField(child=ObjectField())
    variables = serializers.ListField(child=ObjectField())
    tools = serializers.ListField(child=ObjectField())
    examples = serializers.ListField(child=ObjectField())
    includes = serializers.ListField(child=ObjectField())
    pinned = PinnedChangeSerializer(many=True)


class FetchCountsSerializer(serializers.Serializer[Any]):
    version = serializers.IntegerField(source="version.number")
    hash = serializers.CharField(source="version.content_hash")
    hour = serializers.IntegerField(help_text="Fetches in the last hour, by whole hours.")
    day = serializers.IntegerField()
    month = serializers.IntegerField(help_text="In 30 days.")
    last_at = serializers.DateTimeField()
