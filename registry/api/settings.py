"""A project's environments, members, keys and audit trail over REST."""

from dataclasses import replace

from django.db import transaction
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from core.errors import Problem
from core.references import quoted
from infra.serializer_fields import EmptyInput
from registry.accounts import api_keys, projects
from registry.accounts.permissions import Right
from registry.api.base import ProjectListView, ProjectView
from registry.api.filters import AuditFilter
from registry.api.serializers import settings as serializers
from registry.models import APIKey, AuditEntry, Environment, Membership, Role, User
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

    @extend_schema(operation_id="members_set", request=serializers.MemberInput, responses=serializers.MemberSerializer)
    def put(self, request: Request, username: str) -> Response:
        """Add a user as a member, or change a member's role."""
        body = serializers.MemberInput.read(request)
        membership = projects.set_member(self.actor, user=_get_user(username), role=Role(body["role"]))
        return Response(serializers.MemberSerializer(membership).data)

    @extend_schema(operation_id="members_remove", responses={204: None})
    def delete(self, request: Request, username: str) -> Response:
        """Remove a member."""
        projects.remove_member(self.actor, user=_get_user(username))
        return Response(status=204)


def _get_user(username: str) -> User:
    user = User.objects.filter(username=username).first()
    if user is None:
        raise Problem("member.unknown_user", f"There is no user {quoted(username)}.")
    return user


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
        owner = _get_user(named_owner) if named_owner else None
        key, token = api_keys.issue(self.actor, **body, owner=owner)
        return Response(
            {**serializers.KeySerializer(key).data, "token": token},
            status=201,
            headers={"Cache-Control": "no-store"},
        )


class KeyRevoke(ProjectView):
    write_right = Right.ADMINISTER

    @extend_schema(operation_id="keys_revoke", request=EmptyInput, responses=serializers.KeySerializer)
    def post(self, request: Request, key_id: str) -> Response:
        """Revoke a key for good."""
        key = APIKey.objects.filter(project=self.actor.project, key_id=key_id).first()
        if key is None:
            raise Problem("not_found", "There is no such key.")
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
