"""Serializers of a project's environments, members, keys and audit trail."""

from typing import Any

from rest_framework import serializers

from infra.serializer_fields import Input, ObjectField, Text
from registry.models import APIKey, AuditEntry, Environment, Invitation, Membership, Role, Scope


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


class InvitationSerializer(serializers.ModelSerializer[Invitation]):
    by = serializers.CharField(source="by_name")

    class Meta:
        model = Invitation
        fields = ["id", "username", "role", "state", "by", "created_at", "expires_at"]


class MemberInput(Input):
    role = serializers.ChoiceField(choices=Role.choices)


class KeySerializer(serializers.ModelSerializer[APIKey]):
    id = serializers.CharField(source="key_id")
    owner = serializers.CharField(
        source="owner.username", default=None, allow_null=True, help_text="Who holds it; null for a service's key."
    )
    created_by = serializers.CharField(source="created_by.username", default=None, allow_null=True)
    scopes = serializers.ListField(child=serializers.ChoiceField(choices=Scope.choices))

    class Meta:
        model = APIKey
        fields = [
            "id",
            "name",
            "scopes",
            "owner",
            "environment",
            "max_requests_a_day",
            "max_tokens_a_day",
            "max_dollars_a_day",
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


class KeyLimitsInput(Input):
    max_requests_a_day = serializers.IntegerField(
        required=False, allow_null=True, help_text="Of the inference service."
    )
    max_tokens_a_day = serializers.IntegerField(required=False, allow_null=True)
    max_dollars_a_day = serializers.DecimalField(12, 4, required=False, allow_null=True)


class DayUsageSerializer(serializers.Serializer[Any]):
    requests = serializers.IntegerField()
    tokens = serializers.IntegerField()
    dollars = serializers.DecimalField(18, 8)


class KeyUsageSerializer(KeySerializer):
    today = DayUsageSerializer()

    class Meta(KeySerializer.Meta):
        fields = [*KeySerializer.Meta.fields, "today"]


class KeyInput(KeyLimitsInput):
    name = Text()
    scopes = serializers.ListField(child=Text(), min_length=1)
    expires_at = serializers.DateTimeField(required=False, allow_null=True, default=None)
    owner = Text(
        required=False,
        allow_null=True,
        allow_blank=False,
        help_text="The member who holds it; null: a service does. Default: who asks.",
    )
    environment = Text(
        required=False, help_text="Where its calls of the inference service go that name none; default: production."
    )


class AuditEntrySerializer(serializers.ModelSerializer[AuditEntry]):
    before = ObjectField(allow_null=True)
    after = ObjectField(allow_null=True)

    class Meta:
        model = AuditEntry
        fields = ["id", "actor", "action", "target", "before", "after", "request_id", "created_at"]
