"""Comparisons over REST."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from evaluations import tasks
from evaluations.api import measuring as shapes
from evaluations.comparisons import pairwise
from evaluations.models import Comparison
from evaluations.runs import lifecycle as runs
from registry.accounts.permissions import Right
from registry.api.authentication import actor_of
from registry.tasks import start


def comparison_document(comparison: Comparison) -> dict[str, Any]:
    return dict(shapes.ComparisonSerializer(comparison).data)


class ComparisonList(generics.GenericAPIView[Comparison]):
    queryset = Comparison.objects.none()
    serializer_class = shapes.ComparisonSerializer
    filter_backends = ()
    ordering = ("-id",)

    @extend_schema(operation_id="comparisons_list", responses=shapes.ComparisonSerializer(many=True))
    def get(self, request: Request) -> Response:
        """Comparisons, newest first."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        rows = Comparison.objects.filter(project=actor.project)
        return self.get_paginated_response(self.get_serializer(self.paginate_queryset(rows), many=True).data)

    @extend_schema(
        operation_id="comparisons_create", request=shapes.ComparisonInput, responses={201: shapes.ComparisonSerializer}
    )
    def post(self, request: Request) -> Response:
        """Hold two runs on the same cases against each other: does the candidate do better than the baseline?"""
        asked = shapes.ComparisonInput.read(request)
        actor = actor_of(request)
        sides = (runs.numbered(actor.project, asked[side]) for side in ("baseline", "candidate"))
        made = pairwise.create(actor, *sides, margin=asked["margin"])
        start(tasks.compare_runs, made.pk)
        headers = {"Location": f"/api/v1/comparisons/{made.pk}"}
        return Response(comparison_document(pairwise.numbered(actor.project, made.pk)), status=201, headers=headers)


class ComparisonDetail(APIView):
    @extend_schema(operation_id="comparisons_read", responses=shapes.ComparisonSerializer)
    def get(self, request: Request, key: int) -> Response:
        """A comparison, with its verdict when it is done."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        return Response(comparison_document(pairwise.numbered(actor.project, key)))
