"""Lineups and model sweeps over REST."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from evaluations import tasks
from evaluations.api import measuring as shapes
from evaluations.comparisons import sweeps
from evaluations.models import Lineup
from evaluations.runs import lifecycle as runs
from registry.accounts.permissions import Right
from registry.api.authentication import actor_of
from registry.api.serializers import NothingInput
from registry.tasks import start


def lineup_document(lineup: Lineup) -> dict[str, Any]:
    return dict(shapes.LineupSerializer(lineup).data)


def _made(lineup: Lineup) -> Response:
    headers = {"Location": f"/api/v1/lineups/{lineup.pk}"}
    return Response(lineup_document(sweeps.numbered(lineup.project, lineup.pk)), status=201, headers=headers)


class LineupList(generics.GenericAPIView[Lineup]):
    queryset = Lineup.objects.none()
    serializer_class = shapes.LineupSerializer
    filter_backends = ()
    ordering = ("-id",)

    @extend_schema(operation_id="lineups_list", responses=shapes.LineupSerializer(many=True))
    def get(self, request: Request) -> Response:
        """Lineups and sweeps, newest first."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        rows = sweeps.loaded().filter(project=actor.project).order_by("-id")
        return self.get_paginated_response(self.get_serializer(self.paginate_queryset(rows), many=True).data)

    @extend_schema(operation_id="lineups_create", request=shapes.LineupInput, responses={201: shapes.LineupSerializer})
    def post(self, request: Request) -> Response:
        """Put runs on the same cases side by side."""
        asked = shapes.LineupInput.read(request)
        actor = actor_of(request)
        chosen = [runs.numbered(actor.project, key) for key in asked["runs"][: sweeps.MOST + 1]]
        made = sweeps.create(actor, chosen, margin=asked["margin"], levels=asked.get("levels"))
        start(tasks.line_up, made.pk)
        return _made(made)


class SweepList(APIView):
    @extend_schema(operation_id="sweeps_create", request=shapes.SweepInput, responses={201: shapes.LineupSerializer})
    def post(self, request: Request) -> Response:
        """Run one version with several models and temperatures under one budget, and put the runs side by side."""
        asked = shapes.SweepInput.read(request)
        actor = actor_of(request)
        how = {"budget_usd": asked.get("budget_usd"), "margin": asked["margin"], "levels": asked.get("levels")}
        made = sweeps.sweep(actor, sweeps.asked_for(actor.project, asked), **how)
        for run in made.swept_runs.order_by("id"):
            tasks.drive_soon(run)
        return _made(made)


class SweepEstimate(APIView):
    @extend_schema(operation_id="sweeps_estimate", request=shapes.SweepInput, responses=shapes.SweepEstimateSerializer)
    def post(self, request: Request) -> Response:
        """What a sweep would ask, and about what it costs. Nothing is started."""
        asked = shapes.SweepInput.read(request)
        actor = actor_of(request)
        actor.require(Right.SEE)
        grid = sweeps.asked_for(actor.project, asked)
        return Response(sweeps.estimated(actor.project, grid, asked.get("budget_usd")))


class LineupDetail(APIView):
    @extend_schema(operation_id="lineups_read", responses=shapes.LineupSerializer)
    def get(self, request: Request, key: int) -> Response:
        """A lineup: its runs, and when they are over, what to choose."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        return Response(lineup_document(sweeps.numbered(actor.project, key)))


class LineupCancel(APIView):
    @extend_schema(operation_id="lineups_cancel", request=NothingInput, responses=shapes.LineupSerializer)
    def post(self, request: Request, key: int) -> Response:
        """End the runs of a sweep that are under way."""
        actor = actor_of(request)
        return Response(lineup_document(sweeps.cancel(actor, sweeps.numbered(actor.project, key))))


class LineupResume(APIView):
    @extend_schema(operation_id="lineups_resume", request=shapes.ResumeInput, responses=shapes.LineupSerializer)
    def post(self, request: Request, key: int) -> Response:
        """Go on with the runs of a sweep that ended early."""
        asked = shapes.ResumeInput.read(request)
        actor = actor_of(request)
        lineup = sweeps.numbered(actor.project, key)
        resumed, went_on = sweeps.resume(actor, lineup, budget_usd=asked.get("budget_usd"))
        for run in went_on:
            tasks.drive_soon(run)
        return Response(lineup_document(resumed))
