"""Checks over REST."""

from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response

from registry.accounts.permissions import Right
from registry.api import serializers as shapes
from registry.api.authentication import actor_of
from registry.api.versions import hash_selector
from registry.models import VersionCheck
from registry.promotions import checks
from registry.prompts import resolution


class VersionChecks(generics.GenericAPIView[VersionCheck]):
    queryset = VersionCheck.objects.none()
    serializer_class = shapes.CheckSerializer
    filter_backends = ()
    ordering = ("name", "-id")

    @extend_schema(operation_id="checks_list", responses=shapes.CheckSerializer(many=True))
    def get(self, request: Request, hash: str) -> Response:  # noqa: A002 - the name in the address
        """The newest result of each check on a version's hash."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        version = resolution.resolve_hash(actor.project, hash_selector(hash))
        page = self.paginate_queryset(actor.project.checks.filter(content_hash=version.content_hash).distinct("name"))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(operation_id="checks_record", request=shapes.CheckInput, responses={201: shapes.CheckSerializer})
    def post(self, request: Request, hash: str) -> Response:  # noqa: A002 - the name in the address
        """Record a check's result on a version's hash."""
        asked = shapes.CheckInput.read(request)
        actor = actor_of(request)
        version = resolution.resolve_hash(actor.project, hash_selector(hash))
        check = checks.record(actor, version, **asked)
        return Response(shapes.CheckSerializer(check).data, status=201)
