"""Runs over REST: estimate, start, follow, read, and re-score."""

from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from core.errors import Fault, Problem
from evaluations import tasks
from evaluations.api.serializers import runs as serializers
from evaluations.models import Result, Run
from evaluations.runs import export, planning
from evaluations.runs import lifecycle as runs
from evaluations.scorers import all_scorers
from infra.serializer_fields import EmptyInput
from registry.accounts.permissions import Right
from registry.api.base import ProjectListView, ProjectView


def run_document(run: Run) -> dict[str, Any]:
    return dict(serializers.RunSerializer(run).data)


class ScorerList(ProjectView):
    @extend_schema(operation_id="evaluations_scorers", responses=serializers.ScorerSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List the scorers by which outputs can be judged."""
        scorers = [{"name": name, **vars(scorer)} for name, scorer in all_scorers().items()]
        return Response(serializers.ScorerSerializer(scorers, many=True).data)


class RunList(ProjectListView[Run]):
    query_members = ("prompt", "dataset", "state")
    queryset = Run.objects.none()
    serializer_class = serializers.RunSerializer
    ordering = ("-id",)

    @extend_schema(
        operation_id="evaluations_list",
        parameters=[
            OpenApiParameter("prompt", str, description="Runs of this prompt."),
            OpenApiParameter("dataset", str, description="Runs on this dataset."),
            OpenApiParameter("state", str, description="pending, running, done, stopped, cancelled or failed."),
        ],
        responses=serializers.RunSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """List runs, newest first."""
        rows: QuerySet[Run] = runs.runs_with_related().filter(project=self.actor.project)
        filters = {
            "version__prompt__name": request.query_params.get("prompt"),
            "dataset_version__dataset__name": request.query_params.get("dataset"),
            "state": request.query_params.get("state"),
        }
        rows = rows.filter(**{name: value for name, value in filters.items() if value}).order_by("-id")
        return self.page(rows)

    @extend_schema(
        operation_id="evaluations_create", request=serializers.RunInput, responses={201: serializers.RunSerializer}
    )
    def post(self, request: Request) -> Response:
        """Measure a version on a dataset. What is measured is frozen now; workers do the rest."""
        run = runs.create(
            self.actor, planning.settings_from_document(self.actor.project, serializers.RunInput.read(request))
        )
        tasks.start_run(run)
        return _created_response(run)


def _created_response(run: Run) -> Response:
    headers = {"Location": f"/api/v1/evaluations/{run.pk}"}
    return Response(run_document(runs.get_run(run.project, run.pk)), status=201, headers=headers)


class RunEstimate(ProjectView):
    # An estimate only reads.
    write_right = Right.SEE

    @extend_schema(
        operation_id="evaluations_estimate", request=serializers.RunInput, responses=serializers.RunEstimateSerializer
    )
    def post(self, request: Request) -> Response:
        """Estimate the calls, tokens and dollars of a run. Nothing is started."""
        return Response(
            runs.estimate_run(
                self.actor.project,
                planning.settings_from_document(self.actor.project, serializers.RunInput.read(request)),
            )
        )


class RunDetail(ProjectView):
    @extend_schema(operation_id="evaluations_read", responses=serializers.RunSerializer)
    def get(self, request: Request, key: int) -> Response:
        """Read a run: its progress, and its figures when it is over."""
        return Response(run_document(runs.get_run(self.actor.project, key)))


class RunCancel(ProjectView):
    @extend_schema(operation_id="evaluations_cancel", request=EmptyInput, responses=serializers.RunSerializer)
    def post(self, request: Request, key: int) -> Response:
        """Cancel a run; the answers that are paid for stay."""
        return Response(run_document(runs.cancel(self.actor, runs.get_run(self.actor.project, key))))


class RunResume(ProjectView):
    @extend_schema(
        operation_id="evaluations_resume", request=serializers.ResumeInput, responses=serializers.RunSerializer
    )
    def post(self, request: Request, key: int) -> Response:
        """Resume a run that ended early: cancelled, failed, or stopped at its budget."""
        body = serializers.ResumeInput.read(request)
        resumed = runs.resume(self.actor, runs.get_run(self.actor.project, key), budget_usd=body.get("budget_usd"))
        tasks.start_run(resumed)
        return Response(run_document(resumed))


class RunRescore(ProjectView):
    @extend_schema(
        operation_id="evaluations_rescore", request=serializers.RescoreInput, responses={201: serializers.RunSerializer}
    )
    def post(self, request: Request, key: int) -> Response:
        """Re-score a run's answers by other scorers, as a run of its own; the model is not asked again."""
        body = serializers.RescoreInput.read(request)
        run = runs.rescore(self.actor, runs.get_run(self.actor.project, key), body["scorers"])
        tasks.start_run(run)
        return _created_response(run)


class RunResults(ProjectListView[Result]):
    query_members = ("only", "scorer", "label", "tag")
    queryset = Result.objects.none()
    serializer_class = serializers.ResultSerializer
    ordering = ("quality", "id")

    @extend_schema(
        operation_id="evaluations_results",
        parameters=[
            OpenApiParameter("only", str, enum=["failed", "wrong", "leaked", "marked"]),
            OpenApiParameter("scorer", str, description="Those that this scorer does not pass."),
            OpenApiParameter("label", str),
            OpenApiParameter("tag", str),
        ],
        responses=serializers.ResultSerializer(many=True),
    )
    def get(self, request: Request, key: int) -> Response:
        """List a run's results, the worst first."""
        filters = {name: request.query_params.get(name, "") for name in ("only", "scorer", "label", "tag")}
        rows = runs.filter_results(runs.get_run(self.actor.project, key), **filters)
        return self.page(rows)


class RunFile(ProjectView):
    query_members = ("as",)

    @extend_schema(
        operation_id="evaluations_file",
        parameters=[OpenApiParameter("as", str, enum=list(export.MEDIA_TYPES))],
        responses={(200, "application/jsonl"): OpenApiTypes.STR},
    )
    def get(self, request: Request, key: int) -> StreamingHttpResponse:
        """Download all results as JSON lines or CSV."""
        return file_answer(runs.get_run(self.actor.project, key), request.query_params.get("as", "jsonl"))


def file_answer(run: Run, form: str) -> StreamingHttpResponse:
    if form not in export.MEDIA_TYPES:
        sentence = f"Must be one of: {', '.join(export.MEDIA_TYPES)}."
        raise Problem("request.invalid", sentence, faults=[Fault("/as", "choice", sentence)])
    rows: Iterator[dict[str, Any]] = (
        runs.result_as_dict(row) for row in run.results.select_related("case").order_by("id").iterator(1_000)
    )
    return StreamingHttpResponse(
        export.write_rows(rows, form),
        content_type=export.MEDIA_TYPES[form],
        headers={"Content-Disposition": f'attachment; filename="run.{run.pk}.{form}"'},
    )


class ResultAnnotate(ProjectView):
    @extend_schema(
        operation_id="evaluations_annotate",
        request=serializers.ResultAnnotationInput,
        responses=serializers.ResultSerializer,
    )
    def post(self, request: Request, key: int, result: int) -> Response:
        """Annotate whether an answer is correct; users only. Judges are compared with it."""
        body = serializers.ResultAnnotationInput.read(request)
        row = runs.get_result(runs.get_run(self.actor.project, key), result)
        runs.annotate_result(self.actor, row, is_correct=body["is_correct"])
        return Response(serializers.ResultSerializer(row).data)
