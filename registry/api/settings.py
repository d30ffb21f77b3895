"""A project's environments, members, keys and audit trail over REST."""

from dataclasses import replace

from django.db import transaction
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.errors import Problem
from core.references import quoted
from registry.accounts import api_keys, projects
from registry.accounts.permissions import Right
from registry.api import serializers as shapes
from registry.api.authentication import actor_of
from registry.api.filters import AuditFilter
from registry.models import APIKey, AuditEntry, Environment, Membership, Role, User
from registry.promotions import environments
from registry.promotions.environments import Rules


class Me(APIView):
    @extend_schema(operation_id="me", responses=shapes.MeSerializer)
    def get(self, request: Request) -> Response:
        """Who you are here and what you may do."""
        actor = actor_of(request)
        return Response(
            {
                "name": actor.name,
                "project": actor.project.slug,
                "rights": sorted(right.value for right in actor.rights),
            }
        )


class EnvironmentList(generics.GenericAPIView[Environment]):
    queryset = Environment.objects.none()
    serializer_class = shapes.EnvironmentSerializer
    filter_backends = ()
    ordering = ("position", "id")

    @extend_schema(operation_id="environments_list", responses=shapes.EnvironmentSerializer(many=True))
    def get(self, request: Request) -> Response:
        """The project's environments in their order."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        page = self.paginate_queryset(Environment.objects.filter(project=actor.project))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(
        operation_id="environments_create",
        request=shapes.EnvironmentInput,
        responses={201: shapes.EnvironmentSerializer},
    )
    def post(self, request: Request) -> Response:
        """Add an environment after the others."""
        asked = shapes.EnvironmentInput.read(request)
        name = asked.pop("name")
        rules = replace(Rules(protected=False, required_approvals=1, required_checks=()), **asked)
        created = environments.create(actor_of(request), name=name, rules=rules)
        return Response(shapes.EnvironmentSerializer(created).data, status=201)


class EnvironmentDetail(APIView):
    @extend_schema(operation_id="environments_read", responses=shapes.EnvironmentSerializer)
    def get(self, request: Request, environment: str) -> Response:
        """One environment and its rules."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        return Response(shapes.EnvironmentSerializer(environments.named(actor.project, environment)).data)

    @extend_schema(
        operation_id="environments_change",
        request=shapes.EnvironmentChange,
        responses=shapes.EnvironmentSerializer,
    )
    def patch(self, request: Request, environment: str) -> Response:
        """Change an environment's rules or its place; approvals given under other rules are void."""
        asked = shapes.EnvironmentChange.read(request)
        actor = actor_of(request)
        row = environments.named(actor.project, environment)
        position = asked.pop("position", None)
        with transaction.atomic():
            environments.change_rules(actor, row, replace(Rules.of(row), **asked))
            if position:
                environments.move(actor, row, to=position)
        changed = environments.named(actor.project, environment)
        return Response(shapes.EnvironmentSerializer(changed).data)

    @extend_schema(operation_id="environments_remove", responses={204: None})
    def delete(self, request: Request, environment: str) -> Response:
        """Remove an environment that nothing was released to or proposed for."""
        actor = actor_of(request)
        environments.remove(actor, environments.named(actor.project, environment))
        return Response(status=204)


class MemberList(generics.GenericAPIView[Membership]):
    queryset = Membership.objects.none()
    serializer_class = shapes.MemberSerializer
    filter_backends = ()
    ordering = ("id",)

    @extend_schema(operation_id="members_list", responses=shapes.MemberSerializer(many=True))
    def get(self, request: Request) -> Response:
        """The project's people and their roles."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        page = self.paginate_queryset(Membership.objects.filter(project=actor.project).select_related("user"))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)


class MemberDetail(APIView):
    @extend_schema(operation_id="members_set", request=shapes.MemberInput, responses=shapes.MemberSerializer)
    def put(self, request: Request, username: str) -> Response:
        """Make somebody a member, or give a member another role."""
        asked = shapes.MemberInput.read(request)
        actor = actor_of(request)
        actor.require(Right.ADMINISTER)
        membership = projects.set_member(actor, user=_user(username), role=Role(asked["role"]))
        return Response(shapes.MemberSerializer(membership).data)

    @extend_schema(operation_id="members_remove", responses={204: None})
    def delete(self, request: Request, username: str) -> Response:
        """Take somebody's access away."""
        actor = actor_of(request)
        actor.require(Right.ADMINISTER)
        projects.remove_member(actor, user=_user(username))
        return Response(status=204)


def _user(username: str) -> User:
    user = User.objects.filter(username=username).first()
    if user is None:
        raise Problem("member.unknown_user", f"There is nobody named {quoted(username)}.")
    return user


class KeyList(generics.GenericAPIView[APIKey]):
    queryset = APIKey.objects.none()
    serializer_class = shapes.KeySerializer
    filter_backends = ()
    ordering = ("-id",)

    @extend_schema(operation_id="keys_list", responses=shapes.KeySerializer(many=True))
    def get(self, request: Request) -> Response:
        """The project's keys, without their secrets."""
        actor = actor_of(request)
        actor.require(Right.ADMINISTER)
        page = self.paginate_queryset(APIKey.objects.filter(project=actor.project).select_related("created_by"))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(operation_id="keys_issue", request=shapes.KeyInput, responses={201: shapes.IssuedKeySerializer})
    def post(self, request: Request) -> Response:
        """Make a key; its token is in this answer and nowhere else."""
        asked = shapes.KeyInput.read(request)
        key, token = api_keys.issue(actor_of(request), **asked)
        return Response(
            {**shapes.KeySerializer(key).data, "token": token},
            status=201,
            headers={"Cache-Control": "no-store"},
        )


class KeyRevoke(APIView):
    @extend_schema(operation_id="keys_revoke", request=shapes.NothingInput, responses=shapes.KeySerializer)
    def post(self, request: Request, key_id: str) -> Response:
        """End a key for good."""
        actor = actor_of(request)
        actor.require(Right.ADMINISTER)
        key = APIKey.objects.filter(project=actor.project, key_id=key_id).first()
        if key is None:
            raise Problem("not_found", "There is no such key.")
        api_keys.revoke(actor, key)
        key.refresh_from_db()
        return Response(shapes.KeySerializer(key).data)


class AuditList(generics.GenericAPIView[AuditEntry]):
    queryset = AuditEntry.objects.none()
    serializer_class = shapes.AuditEntrySerializer
    filterset_class = AuditFilter
    ordering = ("-id",)

    def get_queryset(self) -> QuerySet[AuditEntry]:
        return AuditEntry.objects.filter(project=actor_of(self.request).project)

    @extend_schema(operation_id="audit_list", responses=shapes.AuditEntrySerializer(many=True))
    def get(self, request: Request) -> Response:
        """Who changed what, newest first."""
        actor_of(request).require(Right.SEE)
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)
