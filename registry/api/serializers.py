"""The shapes of the API. Input serializers check types only: every rule is in the domain function that is called."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from infra.serializer_fields import Input, ObjectField, SelectorField, Tags, Text
from registry.models import (
    APIKey,
    AuditEntry,
    CheckStatus,
    Environment,
    Membership,
    Prompt,
    PromptVersion,
    Release,
    Review,
    Role,
    Scope,
    VersionCheck,
)

# --- Prompts and versions --------------------------------------------------------------------------------------------


class VersionPoint(serializers.Serializer[Any]):
    number = serializers.IntegerField()
    hash = serializers.CharField(source="content_hash")


class LiveSerializer(serializers.Serializer[Release]):
    environment = serializers.CharField(source="environment.name")
    number = serializers.IntegerField(source="version.number")
    hash = serializers.CharField(source="version.content_hash")
    since = serializers.DateTimeField(source="created_at")


class LatestSerializer(serializers.Serializer[PromptVersion]):
    number = serializers.IntegerField()
    hash = serializers.CharField(source="content_hash")
    author = serializers.CharField(source="author_name")
    message = serializers.CharField()
    created_at = serializers.DateTimeField()


class PromptSerializer(serializers.ModelSerializer[Prompt]):
    archived = serializers.SerializerMethodField()
    created_by = serializers.CharField(source="created_by_name")
    latest = serializers.SerializerMethodField()
    live = LiveSerializer(many=True, source="live_releases")

    class Meta:
        model = Prompt
        fields = ["name", "description", "tags", "archived", "created_by", "created_at", "latest", "live"]

    def get_archived(self, prompt: Prompt) -> bool:
        return prompt.archived_at is not None

    @extend_schema_field({"oneOf": [{"$ref": "#/components/schemas/Latest"}, {"type": "null"}]})
    def get_latest(self, prompt: Prompt) -> dict[str, Any] | None:
        return dict(LatestSerializer(prompt.head).data) if prompt.head else None


class PromptInput(Input):
    name = Text(allow_blank=False)
    description = Text(required=False, default="")
    tags = Tags(required=False, default=list)


class PromptChange(Input):
    description = Text(required=False)
    tags = Tags(required=False)


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


class ExampleSetPointSerializer(serializers.Serializer[Any]):
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

    @extend_schema_field({"oneOf": [{"$ref": "#/components/schemas/ExampleSetPoint"}, {"type": "null"}]})
    def get_example_set(self, version: PromptVersion) -> dict[str, Any] | None:
        return dict(ExampleSetPointSerializer(version.example_set).data) if version.example_set else None

    def get_reference(self, version: PromptVersion) -> str:
        return f"{version.prompt.name}@{version.number}"

    @extend_schema_field({"type": "object", "additionalProperties": {"$ref": "#/components/schemas/Partial"}})
    def get_partials(self, version: PromptVersion) -> dict[str, Any]:
        known: dict[str, PromptVersion] = self.context["partials"]
        waiting = list(version.content.get("includes", {}).values())
        found: dict[str, Any] = {}
        while waiting:
            pinned = waiting.pop()
            if pinned not in found:
                found[pinned] = PartialSerializer(known[pinned]).data
                waiting.extend(known[pinned].content.get("includes", {}).values())
        return found


class CommitInput(Input):
    content = ObjectField()
    message = Text(required=False, default="")
    parent = serializers.IntegerField(  # type: ignore[assignment]  # the base has a property of this name
        required=False, min_value=1, max_value=2**31 - 1
    )


class RenderInput(Input):
    variables = ObjectField(required=False, default=dict)


class MessageSerializer(serializers.Serializer[Any]):
    role = serializers.CharField()
    content = serializers.CharField(allow_blank=True)


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


class BatchInput(Input):
    references = serializers.ListField(child=Text(max_length=400), min_length=1, max_length=100)


class BatchResultSerializer(serializers.Serializer[Any]):
    reference = serializers.CharField(allow_blank=True)
    version = VersionSerializer(required=False)
    problem = ObjectField(required=False)


class BatchSerializer(serializers.Serializer[Any]):
    results = BatchResultSerializer(many=True)


class SnapshotSerializer(serializers.Serializer[Any]):
    environment = serializers.CharField()
    prompts = serializers.DictField(child=VersionSerializer())
    since = serializers.CharField(required=False, help_text="The tag that this is held against.")
    removed = serializers.ListField(
        child=serializers.CharField(), required=False, help_text="Prompts that were live then and are not now."
    )


class DiffSerializer(serializers.Serializer[Any]):
    """`messages` and the member lists are described in registry/content/diff.py."""

    prompt = serializers.CharField()
    old = VersionPoint()
    new = VersionPoint()
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


class UseSerializer(serializers.Serializer[Any]):
    prompt = serializers.CharField()
    number = serializers.IntegerField()
    hash = serializers.CharField()
    included_as = serializers.CharField()


class UsesSerializer(serializers.Serializer[Any]):
    uses = UseSerializer(many=True)
    used_by = UseSerializer(many=True)


class CheckInput(Input):
    name = Text()
    status = serializers.ChoiceField(choices=CheckStatus.choices)
    summary = Text(required=False, default="")
    url = Text(required=False, default="")


class CheckSerializer(serializers.ModelSerializer[VersionCheck]):
    hash = serializers.CharField(source="content_hash")
    recorded_by = serializers.CharField(source="recorded_by_name")

    class Meta:
        model = VersionCheck
        fields = ["hash", "name", "status", "summary", "url", "recorded_by", "created_at"]


# --- Environments, promotions, releases ------------------------------------------------------------------------------


class EnvironmentSerializer(serializers.ModelSerializer[Environment]):
    class Meta:
        model = Environment
        fields = ["name", "position", "protected", "required_approvals", "required_checks"]


class EnvironmentRules(Input):
    protected = serializers.BooleanField(required=False)
    required_approvals = serializers.IntegerField(required=False, min_value=1, max_value=20)
    required_checks = serializers.ListField(child=Text(max_length=100), required=False)


class EnvironmentChange(EnvironmentRules):
    position = serializers.IntegerField(
        required=False, min_value=1, max_value=1_000, help_text="Its place in the order; 1 is the first."
    )


class EnvironmentInput(EnvironmentRules):
    name = Text()


class ReleaseSerializer(serializers.ModelSerializer[Release]):
    environment = serializers.CharField(source="environment.name")
    prompt = serializers.CharField(source="prompt.name")
    version = serializers.IntegerField(source="version.number")
    hash = serializers.CharField(source="version.content_hash")
    promotion = serializers.IntegerField(source="promotion_id", allow_null=True)
    restores = serializers.IntegerField(source="restores_id", allow_null=True)
    by = serializers.CharField(source="by_name")
    sequence = serializers.IntegerField(source="number", help_text="Of this prompt's releases there: 1, 2, 3.")
    override_reason = serializers.CharField(source="promotion.override_reason", default="")

    class Meta:
        model = Release
        fields = [
            *(
                "id",
                "environment",
                "prompt",
                "sequence",
                "version",
                "hash",
                "kind",
                "promotion",
                "restores",
                "reason",
            ),
            *("override_reason", "by", "created_at"),
        ]


class RollbackInput(Input):
    environment = Text()
    to = SelectorField(required=False)
    reason = Text(required=False, default="")


class PromotionInput(Input):
    prompt = Text()
    version = SelectorField()
    environment = Text()
    reason = Text(required=False, default="")


class CommentInput(Input):
    comment = Text(required=False, default="")


class OverrideInput(Input):
    reason = Text()


class NothingInput(Input):
    """A verb that takes nothing."""


class ReviewSerializer(serializers.ModelSerializer[Review]):
    by = serializers.CharField(source="by_name")

    class Meta:
        model = Review
        fields = ["id", "decision", "comment", "by", "created_at"]


class PromotionSummarySerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    prompt = serializers.CharField(source="prompt.name")
    version = serializers.IntegerField(source="version.number")
    hash = serializers.CharField(source="version.content_hash")
    environment = serializers.CharField(source="environment.name")
    status = serializers.CharField()
    reason = serializers.CharField()
    requested_by = serializers.CharField(source="requested_by_name")
    created_at = serializers.DateTimeField()
    decided_at = serializers.DateTimeField(allow_null=True)


class ApprovalsSerializer(serializers.Serializer[Any]):
    needed = serializers.IntegerField()
    given = serializers.ListField(child=serializers.CharField())
    void = serializers.ListField(child=ObjectField())
    changes_requested_by = serializers.ListField(child=serializers.CharField())


class OverrideSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField()
    by = serializers.CharField()


class PromotionSerializer(PromotionSummarySerializer):
    """One promotion with where it stands. `binding` is what an approval given now is bound to; send it back in
    If-Match to approve exactly what you looked at."""

    replaces = VersionPoint(allow_null=True)
    approvals = ApprovalsSerializer()
    checks = serializers.DictField(child=serializers.CharField(), help_text="passed, failed or missing, by name")
    override = OverrideSerializer(allow_null=True)
    release = serializers.IntegerField(allow_null=True)
    binding = serializers.CharField()
    reviews = ReviewSerializer(many=True)


# --- People, keys, audit ---------------------------------------------------------------------------------------------


class MeSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    project = serializers.CharField()
    rights = serializers.ListField(child=serializers.CharField())


class MemberSerializer(serializers.ModelSerializer[Membership]):
    username = serializers.CharField(source="user.username")
    name = serializers.CharField(source="user.display_name")

    class Meta:
        model = Membership
        fields = ["username", "name", "role", "created_at"]


class MemberInput(Input):
    role = serializers.ChoiceField(choices=Role.choices)


class KeySerializer(serializers.ModelSerializer[APIKey]):
    id = serializers.CharField(source="key_id")
    created_by = serializers.CharField(source="created_by.username", default=None, allow_null=True)
    scopes = serializers.ListField(child=serializers.ChoiceField(choices=Scope.choices))

    class Meta:
        model = APIKey
        fields = [
            "id",
            "name",
            "scopes",
            "created_by",
            "created_at",
            "expires_at",
            "revoked_at",
            "last_used_at",
        ]


class IssuedKeySerializer(KeySerializer):
    token = serializers.CharField(help_text="Shown this once.")

    class Meta(KeySerializer.Meta):
        fields = [*KeySerializer.Meta.fields, "token"]


class KeyInput(Input):
    name = Text()
    scopes = serializers.ListField(child=Text(), min_length=1)
    expires_at = serializers.DateTimeField(required=False, allow_null=True, default=None)


class AuditEntrySerializer(serializers.ModelSerializer[AuditEntry]):
    before = ObjectField(allow_null=True)
    after = ObjectField(allow_null=True)

    class Meta:
        model = AuditEntry
        fields = ["id", "actor", "action", "target", "before", "after", "request_id", "created_at"]


class FetchedSerializer(serializers.Serializer[Any]):
    version = serializers.IntegerField(source="version.number")
    hash = serializers.CharField(source="version.content_hash")
    hour = serializers.IntegerField(help_text="Fetches in the last hour, by whole hours.")
    day = serializers.IntegerField()
    month = serializers.IntegerField(help_text="In 30 days.")
    last_at = serializers.DateTimeField()
