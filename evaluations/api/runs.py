"""Runs over REST: estimate, start, watch, read, and judge again."""

from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.errors import Fault, Problem
from evaluations import tasks
from evaluations.api import measuring as shapes
from evaluations.models import Result, Run
from evaluations.runs import export, planning
from evaluations.runs import lifecycle as runs
from evaluations.scorers import all_scorers
from registry.accounts.permissions import Right
from registry.api.authentication import actor_of
from registry.api.serializers import NothingInput


def run_document(run: Run) -> dict[str, Any]:
    return dict(shapes.RunSerializer(run).data)


class ScorerList(APIView):
    @extend_schema(operation_id="evaluations_scorers", responses=shapes.ScorerSerializer(many=True))
    def get(self, request: Request) -> Response:
        """What outputs can be judged by."""
        actor_of(request).require(Right.SEE)
        listed = [{"name": name, **vars(scorer)} for name, scorer in all_scorers().items()]
        return Response(shapes.ScorerSerializer(listed, many=True).data)


class RunList(generics.GenericAPIView[Run]):
    queryset = Run.objects.none()
    serializer_class = shapes.RunSerializer
    filter_backends = ()
    ordering = ("-id",)

    @extend_schema(
        operation_id="evaluations_list",
        parameters=[
            OpenApiParameter("prompt", str, description="Runs of this prompt."),
            OpenApiParameter("dataset", str, description="Runs on this dataset."),
            OpenApiParameter("state", str, description="pending, running, done, stopped, cancelled or failed."),
        ],
        responses=shapes.RunSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """Runs, newest first."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        rows: QuerySet[Run] = runs.loaded().filter(project=actor.project)
        wanted = {
            "version__prompt__name": request.query_params.get("prompt"),
            "dataset_version__dataset__name": request.query_params.get("dataset"),
            "state": request.query_params.get("state"),
        }
        rows = rows.filter(**{name: value for name, value in wanted.items() if value}).order_by("-id")
        return self.get_paginated_response(self.get_serializer(self.paginate_queryset(rows), many=True).data)

    @extend_schema(operation_id="evaluations_create", request=shapes.RunInput, responses={201: shapes.RunSerializer})
    def post(self, request: Request) -> Response:
        """Measure a version on a dataset. What is measured is frozen now; workers do the rest."""
        actor = actor_of(request)
        made = runs.create(actor, planning.asked_for(actor.project, shapes.RunInput.read(request)))
        tasks.drive_soon(made)
        return _started(made)


def _started(run: Run) -> Response:
    headers = {"Location": f"/api/v1/evaluations/{run.pk}"}
    return Response(run_document(runs.numbered(run.project, run.pk)), status=201, headers=headers)


class RunEstimate(APIView):
    @extend_schema(operation_id="evaluations_estimate", request=shapes.RunInput, responses=shapes.EstimateSerializer)
    def post(self, request: Request) -> Response:
        """What a run would ask, and about how many tokens and dollars that takes. Nothing is started."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        return Response(runs.estimated(actor.project, planning.asked_for(actor.project, shapes.RunInput.read(request))))


class RunDetail(APIView):
    @extend_schema(operation_id="evaluations_read", responses=shapes.RunSerializer)
    def get(self, request: Request, key: int) -> Response:
        """A run: how it goes, and its figures when it is over."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        return Response(run_document(runs.numbered(actor.project, key)))


class RunCancel(APIView):
    @extend_schema(operation_id="evaluations_cancel", request=NothingInput, responses=shapes.RunSerializer)
    def post(self, request: Request, key: int) -> Response:
        """End a run early; what is paid for is kept."""
        actor = actor_of(request)
        return Response(run_document(runs.cancel(actor, runs.numbered(actor.project, key))))


class RunResume(APIView):
    @extend_schema(operation_id="evaluations_resume", request=shapes.ResumeInput, responses=shapes.RunSerializer)
    def post(self, request: Request, key: int) -> Response:
        """Go on with a run that ended early: cancelled, failed, or stopped at its budget."""
        asked = shapes.ResumeInput.read(request)
        actor = actor_of(request)
        resumed = runs.resume(actor, runs.numbered(actor.project, key), budget_usd=asked.get("budget_usd"))
        tasks.drive_soon(resumed)
        return Response(run_document(resumed))


class RunJudge(APIView):
    @extend_schema(
        operation_id="evaluations_judge", request=shapes.JudgeAgainInput, responses={201: shapes.RunSerializer}
    )
    def post(self, request: Request, key: int) -> Response:
        """Judge a run's answers by other scorers, as a run of its own; the model is not asked again."""
        asked = shapes.JudgeAgainInput.read(request)
        actor = actor_of(request)
        made = runs.judge_again(actor, runs.numbered(actor.project, key), asked["scorers"])
        tasks.drive_soon(made)
        return _started(made)


class RunResults(generics.GenericAPIView[Result]):
    queryset = Result.objects.none()
    serializer_class = shapes.ResultSerializer
    filter_backends = ()
    ordering = ("quality", "id")

    @extend_schema(
        operation_id="evaluations_results",
        parameters=[
            OpenApiParameter("only", str, enum=["failed", "wrong", "leaked", "marked"]),
            OpenApiParameter("scorer", str, description="Those that this scorer does not pass."),
            OpenApiParameter("label", str),
            OpenApiParameter("tag", str),
        ],
        responses=shapes.ResultSerializer(many=True),
    )
    def get(self, request: Request, key: int) -> Response:
        """A run's answers, the worst first."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        wanted = {name: request.query_params.get(name, "") for name in ("only", "scorer", "label", "tag")}
        rows = runs.results_of(runs.numbered(actor.project, key), **wanted)
        return self.get_paginated_response(self.get_serializer(self.paginate_queryset(rows), many=True).data)


class RunFile(APIView):
    @extend_schema(
        operation_id="evaluations_file",
        parameters=[OpenApiParameter("as", str, enum=list(export.FORMS))],
        responses={(200, "application/jsonl"): OpenApiTypes.STR},
    )
    def get(self, request: Request, key: int) -> StreamingHttpResponse:
        """All results as JSON lines or CSV."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        return file_answer(runs.numbered(actor.project, key), request.query_params.get("as", "jsonl"))


def file_answer(run: Run, form: str) -> StreamingHttpResponse:
    if form not in export.FORMS:
        sentence = f"Must be one of: {', '.join(export.FORMS)}."
        raise Problem("request.invalid", sentence, faults=[Fault("/as", "choice", sentence)])
    rows: Iterator[dict[str, Any]] = (
        runs.document(row) for row in run.results.select_related("case").order_by("id").iterator(1_000)
    )
    return StreamingHttpResponse(
        export.written(rows, form),
        content_type=export.FORMS[form],
        headers={"Content-Disposition": f'attachment; filename="run.{run.pk}.{form}"'},
    )


class ResultMark(APIView):
    @extend_schema(operation_id="evaluations_mark", request=shapes.MarkInput, responses=shapes.ResultSerializer)
    def post(self, request: Request, key: int, result: int) -> Response:
        """Say whether an answer is right; people only. Judges are held against it."""
        asked = shapes.MarkInput.read(request)
        actor = actor_of(request)
        found = runs.result_of(runs.numbered(actor.project, key), result)
        runs.mark(actor, found, is_right=asked["is_right"])
        return Response(shapes.ResultSerializer(found).data)
