"""Releases over REST: what was live, and going back."""

from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from registry.accounts.permissions import Right
from registry.api import serializers as shapes
from registry.api.authentication import actor_of
from registry.api.filters import ReleaseFilter
from registry.api.versions import IF_MATCH, select
from registry.delivery import caching
from registry.models import Release
from registry.promotions import environments, releases
from registry.prompts import lifecycle as prompts


class ReleaseList(generics.GenericAPIView[Release]):
    queryset = Release.objects.none()
    serializer_class = shapes.ReleaseSerializer
    filterset_class = ReleaseFilter
    ordering = ("-id",)

    @extend_schema(operation_id="releases_list", responses=shapes.ReleaseSerializer(many=True))
    def get(self, request: Request, name: str) -> Response:
        """What was live where and when, newest first."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        prompt = prompts.named(actor.project, name)
        rows = Release.objects.filter(prompt=prompt)
        rows = rows.select_related("environment", "prompt", "version", "promotion").defer("version__content")
        page = self.paginate_queryset(self.filter_queryset(rows))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)


class PromptRollback(APIView):
    @extend_schema(
        operation_id="prompts_rollback",
        request=shapes.RollbackInput,
        responses=shapes.ReleaseSerializer,
        parameters=[IF_MATCH],
    )
    def post(self, request: Request, name: str) -> Response:
        """Make an earlier released version live again; without `to`, the one before what is live."""
        asked = shapes.RollbackInput.read(request)
        actor = actor_of(request)
        prompt = prompts.named(actor.project, name)
        environment = environments.named(actor.project, asked["environment"])
        target = select(actor.project, name, asked["to"]) if "to" in asked else None
        release = releases.roll_back(
            actor,
            prompt,
            environment,
            to=target,
            reason=asked["reason"],
            expected_live=caching.expected(request),
        )
        return Response(shapes.ReleaseSerializer(release).data)
