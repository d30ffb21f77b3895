"""Serializers of versions and their checks."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from infra.serializer_fields import ContentField, Input, ObjectField, Text
from registry.models import CheckStatus, PromptVersion, VersionCheck


class VersionIdentitySerializer(serializers.Serializer[Any]):
    number = serializers.IntegerField()
    hash = serializers.CharField(source="content_hash")


class VersionSummarySerializer(serializers.ModelSerializer[PromptVersion]):
    prompt = serializers.CharField(source="prompt.name")
    hash = serializers.CharField(source="content_hash")
    author = serializers.CharField(source="author_name")
    parent = serializers.IntegerField(  # type: ignore[assignment]  # the base has a property of this name
        source="parent.number", default=None, allow_null=True
    )
    environments = serializers.ListField(child=serializers.CharField(), source="live_in")

    class Meta:
        model = PromptVersion
        fields = ["prompt", "number", "hash", "message", "author", "parent", "created_at", "environments"]


class ExampleSetIdentitySerializer(serializers.Serializer[Any]):
    """The version of an example set that a prompt picks from; `GET /example-sets/versions/{hash}` has it."""

    name = serializers.CharField(source="example_set.name")
    number = serializers.IntegerField()
    hash = serializers.CharField(source="content_hash")


class PartialSerializer(serializers.Serializer[PromptVersion]):
    prompt = serializers.CharField(source="prompt.name")
    number = serializers.IntegerField()
    content = ObjectField()


class VersionSerializer(VersionSummarySerializer):
    """A version as services fetch it. `partials` has what it includes, by hash, so that it can be rendered locally."""

    reference = serializers.SerializerMethodField()
    content = ObjectField()
    partials = serializers.SerializerMethodField()
    example_set = serializers.SerializerMethodField()

    class Meta(VersionSummarySerializer.Meta):
        fields = [*VersionSummarySerializer.Meta.fields, "reference", "content", "partials", "example_set"]

    @extend_schema_field(ExampleSetIdentitySerializer(allow_null=True))
    def get_example_set(self, version: PromptVersion) -> dict[str, Any] | None:
        return dict(ExampleSetIdentitySerializer(version.example_set).data) if version.example_set else None

    def get_reference(self, version: PromptVersion) -> str:
        return f"{version.prompt.name}@{version.number}"

    @extend_schema_field(serializers.DictField(child=PartialSerializer()))
    def get_partials(self, version: PromptVersion) -> dict[str, Any]:
        by_hash: dict[str, PromptVersion] = self.context["partials"]
        waiting = list(version.content.get("includes", {}).values())
        partials: dict[str, Any] = {}
        while waiting:
            pinned = waiting.pop()
            if pinned not in partials:
                partials[pinned] = PartialSerializer(by_hash[pinned]).data
                waiting.extend(by_hash[pinned].content.get("includes", {}).values())
        return partials


class ExposureSerializer(serializers.Serializer[Any]):
    """What the calls of a fetched version say to be a part of an experiment: `experiment` of `POST /calls`."""

    run = serializers.IntegerField()
    step = serializers.IntegerField()
    arm = serializers.CharField()


class FetchedVersionSerializer(VersionSerializer):
    """A version, and the arm that it is where it was fetched for a subject of an experiment."""

    experiment = ExposureSerializer(required=False)

    class Meta(VersionSerializer.Meta):
        fields = [*VersionSerializer.Meta.fields, "experiment"]


class CommitInput(Input):
    content = ObjectField()
    message = Text(required=False, default="")
    parent = serializers.IntegerField(  # type: ignore[assignment]  # the base has a property of this name
        required=False, min_value=1, max_value=2**31 - 1
    )
    expected_hash = Text(
        required=False,
        allow_blank=False,
        max_length=71,
        help_text="Refuse the commit unless the content, with what it includes now, has this hash.",
    )


class RenderInput(Input):
    variables = ObjectField(required=False, default=dict)


class MessageSerializer(serializers.Serializer[Any]):
    role = serializers.CharField()
    content = ContentField(required=False, help_text="A text, or a list of parts: texts and images.")
    tool_calls = serializers.ListField(child=ObjectField(), required=False)
    tool_call_id = serializers.CharField(required=False)


class RenderedSerializer(serializers.Serializer[Any]):
    prompt = serializers.CharField()
    number = serializers.IntegerField()
    hash = serializers.CharField()
    messages = MessageSerializer(many=True)
    model = ObjectField()
    response_format = ObjectField()
    tools = serializers.ListField(child=ObjectField(), required=False)
    text = serializers.CharField(required=False, allow_blank=True)
    examples = ObjectField(
        required=False,
        help_text="Which examples were picked, in their order, and why.",
    )


class VersionUseSerializer(serializers.Serializer[Any]):
    prompt = serializers.CharField()
    number = serializers.IntegerField()
    hash = serializers.CharField()
    included_as = serializers.CharField()


class VersionUsesSerializer(serializers.Serializer[Any]):
    uses = VersionUseSerializer(many=True)
    used_by = VersionUseSerializer(many=True)


class CheckInput(Input):
    name = Text()
    status = serializers.ChoiceField(choices=CheckStatus.choices)
    summary = Text(required=False, default="")
    url = Text(required=False, default="")


class CheckSerializer(serializers.ModelSerializer[VersionCheck]):
    hash = serializers.CharField(source="content_hash")
    prompt = serializers.CharField(
        source="prompt.name", default=None, allow_null=True, help_text="What a gate measured; null: the content itself."
    )
    environment = serializers.CharField(
        source="environment.name", default=None, allow_null=True, help_text="What the gate guards."
    )
    recorded_by = serializers.CharField(source="recorded_by_name")

    class Meta:
        model = VersionCheck
        fields = ["hash", "name", "prompt", "environment", "status", "summary", "url", "recorded_by", "created_at"]
