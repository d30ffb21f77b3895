"""Serializers of promotions and releases."""

from typing import Any

from rest_framework import serializers

from infra.serializer_fields import Input, ObjectField, SelectorField, Text
from registry.api.serializers.prompts import PinnedChangeSerializer
from registry.api.serializers.versions import VersionIdentitySerializer
from registry.models import Release, Review


class ReleaseSerializer(serializers.ModelSerializer[Release]):
    environment = serializers.CharField(source="environment.name")
    prompt = serializers.CharField(source="prompt.name")
    version = serializers.IntegerField(source="version.number")
    hash = serializers.CharField(source="version.content_hash")
    promotion = serializers.IntegerField(source="promotion_id", allow_null=True)
    restores = serializers.IntegerField(source="restores_id", allow_null=True)
    by = serializers.CharField(source="by_name")
    sequence = serializers.IntegerField(source="number", help_text="1, 2, 3 of the prompt's releases there.")
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


class ContributorSerializer(serializers.Serializer[Any]):
    user = serializers.CharField(source="user.username")
    reasons = serializers.ListField(child=serializers.CharField(), help_text="Why their approval does not count.")


class PromotionSerializer(PromotionSummarySerializer):
    """A promotion with its approvals and checks. `binding` is what an approval given now is bound to; send it back in
    If-Match to approve exactly what you looked at."""

    replaces = VersionIdentitySerializer(allow_null=True)
    approvals = ApprovalsSerializer()
    checks = serializers.DictField(child=serializers.CharField(), help_text="passed, failed or missing, by name")
    override = OverrideSerializer(allow_null=True)
    release = serializers.IntegerField(allow_null=True)
    binding = serializers.CharField()
    contributors = ContributorSerializer(many=True)
    pinned = PinnedChangeSerializer(many=True)
    reviews = ReviewSerializer(many=True)
