"""A project's environments, members, keys and audit trail over REST."""

from dataclasses import replace

from django.db import transaction
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from infra.serializer_fields import EmptyInput
from registry.accounts import api_keys, invitations, key_limits, projects
from registry.accounts.key_limits import LIMIT_NAMES, DailyLimits, DayUsage
from registry.accounts.permissions import Right
from registry.api.base import ProjectListView, ProjectView
from registry.api.filters import AuditFilter
from registry.api.serializers import settings as serializers
from registry.models import APIKey, AuditEntry, Environment, Invitation, Membership, Role
from registry.promotions import environments
from registry.promotions.environments import Rules


class Me(ProjectView):
    # Every key can read its own rights, so that a service can report what it may not do.
    read_right = None

    @extend_schema(operation_id="me", responses=serializers.MeSerializer)
    def get(self, request: Request) -> Response:
        """Read your name, project and rights."""
        return Response(
            {
                "name": self.actor.name,
                "project": self.actor.project.slug,
                "rights": sorted(right.value for right in self.actor.rights),
            }
        )


class EnvironmentList(ProjectListView[Environment]):
    queryset = Environment.objects.none()
    serializer_class = serializers.EnvironmentSerializer
    ordering = ("position", "id")
    write_right = Right.ADMINISTER

    @extend_schema(operation_id="environments_list", responses=serializers.EnvironmentSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List the project's environments in their order."""
        return self.page(Environment.objects.filter(project=self.actor.project))

    @extend_schema(
        operation_id="environments_create",
        request=serializers.EnvironmentInput,
        responses={201: serializers.EnvironmentSerializer},
    )
    def post(self, request: Request) -> Response:
        """Add an environment after the others."""
        body = serializers.EnvironmentInput.read(request)
        name = body.pop("name")
        rules = replace(Rules(protected=False, required_approvals=1, required_checks=()), **body)
        created = environments.create(self.actor, name=name, rules=rules)
        return Response(serializers.EnvironmentSerializer(created).data, status=201)


class EnvironmentDetail(ProjectView):
    write_right = Right.ADMINISTER

    @extend_schema(operation_id="environments_read", responses=serializers.EnvironmentSerializer)
    def get(self, request: Request, environment: str) -> Response:
        """Read an environment and its rules."""
        return Response(
            serializers.EnvironmentSerializer(environments.get_environment(self.actor.project, environment)).data
        )

    @extend_schema(
        operation_id="environments_change",
        request=serializers.EnvironmentChange,
        responses=serializers.EnvironmentSerializer,
    )
    def patch(self, request: Request, environment: str) -> Response:
        """Change an environment's rules or its place; approvals given under other rules are void."""
        body = serializers.EnvironmentChange.read(request)
        row = environments.get_environment(self.actor.project, environment)
        position = body.pop("position", None)
        with transaction.atomic():
            environments.change_rules(self.actor, row, replace(Rules.of(row), **body))
            if position:
                environments.move(self.actor, row, to=position)
        changed = environments.get_environment(self.actor.project, environment)
        return Response(serializers.EnvironmentSerializer(changed).data)

    @extend_schema(operation_id="environments_remove", responses={204: None})
    def delete(self, request: Request, environment: str) -> Response:
        """Remove an environment that nothing was released to or proposed for."""
        environments.remove(self.actor, environments.get_environment(self.actor.project, environment))
        return Response(status=204)


class MemberList(ProjectListView[Membership]):
    queryset = Membership.objects.none()
    serializer_class = serializers.MemberSerializer
    ordering = ("id",)

    @extend_schema(operation_id="members_list", responses=serializers.MemberSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List the project's members and their roles."""
        return self.page(Membership.objects.filter(project=self.actor.project).select_related("user"))


class MemberDetail(ProjectView):
    write_right = Right.ADMINISTER

    @extend_schema(
        operation_id="members_set",
        request=serializers.MemberInput,
        responses={200: serializers.MemberSerializer, 202: serializers.InvitationSerializer},
    )
    def put(self, request: Request, username: str) -> Response:
        """Change a member's role; invite whoever is no member (202), who becomes one by accepting."""
        role = Role(serializers.MemberInput.read(request)["role"])
        if not Membership.objects.filter(project=self.actor.project, user__username=username).exists():
            invitation = invitations.invite(self.actor, username=username, role=role)
            return Response(serializers.InvitationSerializer(invitation).data, status=202)
        user = projects.get_member(self.actor.project, username)
        membership = projects.set_member(self.actor, user=user, role=role)
        return Response(serializers.MemberSerializer(membership).data)

    @extend_schema(operation_id="members_remove", responses={204: None})
    def delete(self, request: Request, username: str) -> Response:
        """Remove a member."""
        self.actor.require(Right.ADMINISTER)
        projects.remove_member(self.actor, user=projects.get_member(self.actor.project, username))
        return Response(status=204)


class InvitationList(ProjectListView[Invitation]):
    queryset = Invitation.objects.none()
    serializer_class = serializers.InvitationSerializer
    ordering = ("-id",)
    read_right = Right.ADMINISTER

    @extend_schema(operation_id="invitations_list", responses=serializers.InvitationSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List the project's open invitations."""
        return self.page(invitations.open_invitations(self.actor.project))


class InvitationDetail(ProjectView):
    write_right = Right.ADMINISTER

    @extend_schema(operation_id="invitations_withdraw", responses={204: None})
    def delete(self, request: Request, number: int) -> Response:
        """Withdraw an invitation."""
        invitations.withdraw(self.actor, invitations.get_invitation(self.actor.project, number))
        return Response(status=204)


class KeyList(ProjectListView[APIKey]):
    queryset = APIKey.objects.none()
    serializer_class = serializers.KeySerializer
    ordering = ("-id",)
    read_right = Right.ADMINISTER
    write_right = Right.ADMINISTER

    @extend_schema(operation_id="keys_list", responses=serializers.KeySerializer(many=True))
    def get(self, request: Request) -> Response:
        """List the project's keys, without their secrets."""
        return self.page(APIKey.objects.filter(project=self.actor.project).select_related("owner", "created_by"))

    @extend_schema(
        operation_id="keys_issue", request=serializers.KeyInput, responses={201: serializers.IssuedKeySerializer}
    )
    def post(self, request: Request) -> Response:
        """Issue a key; its token is in this answer and nowhere else."""
        body = serializers.KeyInput.read(request)
        named_owner = body.pop("owner", self.actor.user.username if self.actor.user else None)
        owner = api_keys.get_owner(self.actor.project, named_owner) if named_owner else None
        limits = DailyLimits(**{name: body.pop(name, None) for name in LIMIT_NAMES})
        key, token = api_keys.issue(self.actor, **body, owner=owner, limits=limits)
        return Response(
            {**serializers.KeySerializer(key).data, "token": token},
            status=201,
            headers={"Cache-Control": "no-store"},
        )


class KeyDetail(ProjectView):
    read_right = Right.ADMINISTER
    write_right = Right.ADMINISTER

    @extend_schema(operation_id="keys_read", responses=serializers.KeyUsageSerializer)
    def get(self, request: Request, key_id: str) -> Response:
        """Read a key, with what it has asked of the inference service today (UTC)."""
        key = api_keys.get_key(self.actor.project, key_id)
        usage = key_limits.usage_today(self.actor.project).get(key.pk, DayUsage())
        return Response({**serializers.KeySerializer(key).data, "today": serializers.DayUsageSerializer(usage).data})

    @extend_schema(operation_id="keys_limit", request=serializers.KeyLimitsInput, responses=serializers.KeySerializer)
    def patch(self, request: Request, key_id: str) -> Response:
        """Set what a key may ask of the inference service on a day; null takes a limit away, what is left out stays."""
        body = serializers.KeyLimitsInput.read(request)
        key = api_keys.get_key(self.actor.project, key_id)
        limits = replace(key_limits.limits_of(key), **body)
        return Response(serializers.KeySerializer(key_limits.set_limits(self.actor, key, limits)).data)


class KeyRevoke(ProjectView):
    write_right = Right.ADMINISTER

    @extend_schema(operation_id="keys_revoke", request=EmptyInput, responses=serializers.KeySerializer)
    def post(self, request: Request, key_id: str) -> Response:
        """Revoke a key for good."""
        key = api_keys.get_key(self.actor.project, key_id)
        api_keys.revoke(self.actor, key)
        key.refresh_from_db()
        return Response(serializers.KeySerializer(key).data)


class AuditList(ProjectListView[AuditEntry]):
    queryset = AuditEntry.objects.none()
    serializer_class = serializers.AuditEntrySerializer
    filterset_class = AuditFilter
    ordering = ("-id",)

    def get_queryset(self) -> QuerySet[AuditEntry]:
        return AuditEntry.objects.filter(project=self.actor.project)

    @extend_schema(operation_id="audit_list", responses=serializers.AuditEntrySerializer(many=True))
    def get(self, request: Request) -> Response:
        """List changes and who made them, newest first."""
        return self.page(self.get_queryset())
