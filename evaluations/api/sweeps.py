"""Model sweeps over REST."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from evaluations import tasks
from evaluations.api.comparisons import created_response
from evaluations.api.serializers import comparisons as serializers
from evaluations.comparisons import sweeps
from evaluations.runs import lifecycle as runs
from infra.serializer_fields import EmptyInput
from registry.accounts.permissions import Right
from registry.api.base import ProjectView


class SweepList(ProjectView):
    @extend_schema(
        operation_id="sweeps_create", request=serializers.SweepInput, responses={201: serializers.ComparisonSerializer}
    )
    def post(self, request: Request) -> Response:
        """Run one version with several models and temperatures under one budget, and compare the runs."""
        body = serializers.SweepInput.read(request)
        grid = sweeps.grid_from_document(self.actor.project, body)
        sweep = sweeps.create(
            self.actor, grid, budget_usd=body.get("budget_usd"), margin=body["margin"], targets=body.get("slas")
        )
        tasks.start_sweep(sweep)
        return created_response(sweep)


class RunWithoutRetrieval(ProjectView):
    @extend_schema(
        operation_id="evaluations_without_retrieval",
        request=EmptyInput,
        responses={201: serializers.ComparisonSerializer},
    )
    def post(self, request: Request, key: int) -> Response:
        """Compare a run's version without retrieval and with it, on the run's cases: a sweep of two runs."""
        sweep = sweeps.without_retrieval(self.actor, runs.get_run(self.actor.project, key))
        tasks.start_sweep(sweep)
        return created_response(sweep)


class SweepEstimate(ProjectView):
    # An estimate only reads.
    write_right = Right.SEE

    @extend_schema(
        operation_id="sweeps_estimate", request=serializers.SweepInput, responses=serializers.SweepEstimateSerializer
    )
    def post(self, request: Request) -> Response:
        """Estimate the calls, tokens and dollars of a sweep. Nothing is started."""
        body = serializers.SweepInput.read(request)
        grid = sweeps.grid_from_document(self.actor.project, body)
        return Response(sweeps.estimate_sweep(self.actor.project, grid, body.get("budget_usd")))
