"""Comparisons over REST."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from evaluations import tasks
from evaluations.api.serializers import comparisons as serializers
from evaluations.api.serializers.runs import ResumeInput
from evaluations.comparisons import lifecycle as comparisons
from evaluations.comparisons import sweeps
from evaluations.models import Comparison
from evaluations.runs import lifecycle as runs
from infra.serializer_fields import EmptyInput
from infra.work import start
from registry.api.base import ProjectListView, ProjectView


def comparison_document(comparison: Comparison) -> dict[str, Any]:
    return dict(serializers.ComparisonSerializer(comparison).data)


def created_response(comparison: Comparison) -> Response:
    """Answer with a comparison that was just created."""
    headers = {"Location": f"/api/v1/comparisons/{comparison.pk}"}
    document = comparison_document(comparisons.get_comparison(comparison.project, comparison.pk))
    return Response(document, status=201, headers=headers)


class ComparisonList(ProjectListView[Comparison]):
    queryset = Comparison.objects.none()
    serializer_class = serializers.ComparisonSerializer
    ordering = ("-id",)

    @extend_schema(operation_id="comparisons_list", responses=serializers.ComparisonSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List comparisons and model sweeps, newest first."""
        return self.page(comparisons.comparisons_with_runs().filter(project=self.actor.project))

    @extend_schema(
        operation_id="comparisons_create",
        request=serializers.ComparisonInput,
        responses={201: serializers.ComparisonSerializer},
    )
    def post(self, request: Request) -> Response:
        """Compare runs on the same cases with the first of them: `runs`, or `baseline` and `candidate`."""
        body = serializers.ComparisonInput.read(request)
        numbers = body.get("runs") or [body["baseline"], body["candidate"]]
        compared = [runs.get_run(self.actor.project, number) for number in numbers[: comparisons.MAX_RUNS + 1]]
        comparison = comparisons.create(self.actor, compared, margin=body["margin"], targets=body.get("slas"))
        start(tasks.compare_runs, comparison.pk)
        return created_response(comparison)


class ComparisonDetail(ProjectView):
    @extend_schema(operation_id="comparisons_read", responses=serializers.ComparisonSerializer)
    def get(self, request: Request, key: int) -> Response:
        """Read a comparison: its runs, and when it is done, the verdict and what to choose."""
        return Response(comparison_document(comparisons.get_comparison(self.actor.project, key)))


class ComparisonCancel(ProjectView):
    @extend_schema(operation_id="comparisons_cancel", request=EmptyInput, responses=serializers.ComparisonSerializer)
    def post(self, request: Request, key: int) -> Response:
        """Cancel the runs of a sweep that are open."""
        sweep = comparisons.get_comparison(self.actor.project, key)
        return Response(comparison_document(sweeps.cancel(self.actor, sweep)))


class ComparisonResume(ProjectView):
    @extend_schema(operation_id="comparisons_resume", request=ResumeInput, responses=serializers.ComparisonSerializer)
    def post(self, request: Request, key: int) -> Response:
        """Resume the runs of a sweep that ended early."""
        body = ResumeInput.read(request)
        sweep = comparisons.get_comparison(self.actor.project, key)
        resumed, resumed_runs = sweeps.resume(self.actor, sweep, budget_usd=body.get("budget_usd"))
        for run in resumed_runs:
            tasks.start_run(run)
        return Response(comparison_document(resumed))
