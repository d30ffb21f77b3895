"""Experiments over REST: commit, propose, and what becomes of a run."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from core.errors import Problem
from core.references import parse_reference
from inference.api import experiment_serializers as serializers
from inference.experiments import lifecycle as experiments
from inference.experiments import runs
from inference.experiments.lifecycle import ExperimentVersion
from inference.models import Experiment, ExperimentRun
from registry.api.base import ProjectListView, ProjectView
from registry.promotions import environments
from registry.prompts import resolution

STATES = ("running", "ended")


def experiment_document(experiment: Experiment, experiment_version: ExperimentVersion) -> dict[str, Any]:
    return {
        "name": experiment.name,
        "experiment": experiment_version.record.as_dict(),
        "number": experiment_version.version.number,
        "hash": experiment_version.version.content_hash,
        "holder": experiment.holder.name,
    }


class ExperimentList(ProjectListView[Experiment]):
    queryset = Experiment.objects.none()
    serializer_class = serializers.ExperimentSummarySerializer
    ordering = ("-id",)

    @extend_schema(operation_id="experiments_list", responses=serializers.ExperimentSummarySerializer(many=True))
    def get(self, request: Request) -> Response:
        """List the project's experiments, the newest first."""
        return self.page(experiments.experiments_with_related().filter(project=self.actor.project))


class ExperimentDetail(ProjectView):
    query_members = ("selector",)

    @extend_schema(
        operation_id="experiments_read",
        parameters=[OpenApiParameter("selector", str, description="latest where it is not given.")],
        responses=serializers.ExperimentSerializer,
    )
    def get(self, request: Request, name: str) -> Response:
        """Read an experiment: its newest version, or by number, hash, or where it was released last."""
        experiment = experiments.get_experiment(self.actor.project, name)
        selector = request.query_params.get("selector") or "latest"
        reference = parse_reference(f"{experiment.holder.name}@{selector}")
        version = experiments.read_experiment_version(resolution.resolve(self.actor.project, reference))
        return Response(experiment_document(experiment, version))

    @extend_schema(
        operation_id="experiments_commit",
        request=serializers.ExperimentInput,
        responses=serializers.ExperimentSerializer,
    )
    def put(self, request: Request, name: str) -> Response:
        """Commit the next version of an experiment; the first creates it. It begins when it is released."""
        body = serializers.ExperimentInput.read(request)
        experiment, version = experiments.commit(self.actor, name, body["experiment"], message=body["message"])
        return Response(experiment_document(experiment, version))


class ExperimentPropose(ProjectView):
    @extend_schema(
        operation_id="experiments_propose",
        request=serializers.ExperimentProposalInput,
        responses={201: serializers.ExperimentPromotionSerializer},
    )
    def post(self, request: Request, name: str) -> Response:
        """Request a promotion of the newest version, like any other: its release begins the run."""
        body = serializers.ExperimentProposalInput.read(request)
        experiment = experiments.get_experiment(self.actor.project, name)
        environment = environments.get_environment(self.actor.project, body["environment"])
        promotion = experiments.propose(self.actor, experiment, environment, reason=body["reason"])
        return Response({"promotion": promotion.pk}, status=201)


class ExperimentRunList(ProjectListView[ExperimentRun]):
    query_members = ("experiment", "prompt", "state")
    queryset = ExperimentRun.objects.none()
    serializer_class = serializers.ExperimentRunSerializer
    ordering = ("-id",)

    @extend_schema(
        operation_id="experiment_runs_list",
        parameters=[
            OpenApiParameter("experiment", str, description="Of this experiment."),
            OpenApiParameter("prompt", str, description="With this prompt."),
            OpenApiParameter("state", str, enum=STATES),
        ],
        responses=serializers.ExperimentRunSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """List runs of experiments, the newest first, with their figures."""
        rows, query = runs.runs_of(self.actor.project), request.query_params
        if (state := query.get("state", "")) not in ("", *STATES):
            raise Problem("request.invalid", f"state is one of {', '.join(STATES)}.")
        if state:
            rows = rows.filter(ended_at__isnull=state == "running")
        if query.get("experiment"):
            rows = rows.filter(experiment__name=query["experiment"])
        if query.get("prompt"):
            rows = rows.filter(prompt__name=query["prompt"])
        return self.page(rows)


class RunView(ProjectView):
    """A view of one run."""

    def document(self, key: int) -> Response:
        run = runs.get_run(self.actor.project, key)
        return Response(serializers.ExperimentRunDetailSerializer(run).data)

    def run(self, key: int) -> ExperimentRun:
        return runs.get_run(self.actor.project, key)


class ExperimentRunDetail(RunView):
    @extend_schema(operation_id="experiment_runs_read", responses=serializers.ExperimentRunDetailSerializer)
    def get(self, request: Request, key: int) -> Response:
        """Read a run with its figures and all that happened to it."""
        return self.document(key)


class ExperimentRunStep(RunView):
    @extend_schema(
        operation_id="experiment_runs_step",
        request=serializers.RunStepInput,
        responses=serializers.ExperimentRunDetailSerializer,
    )
    def post(self, request: Request, key: int) -> Response:
        """Go on to the next step of the approved ramp, without waiting until it has lasted."""
        body = serializers.RunStepInput.read(request)
        runs.step(self.actor, self.run(key), reason=body["reason"], expected_step=body.get("step"))
        return self.document(key)


class ExperimentRunStopArm(RunView):
    @extend_schema(
        operation_id="experiment_runs_stop_arm",
        request=serializers.RunArmInput,
        responses=serializers.ExperimentRunDetailSerializer,
    )
    def post(self, request: Request, key: int) -> Response:
        """Take an arm to zero: its subjects get the baseline. With the last one, the run ends."""
        body = serializers.RunArmInput.read(request)
        runs.stop_arm(self.actor, self.run(key), body["arm"], reason=body["reason"])
        return self.document(key)


class ExperimentRunEnd(RunView):
    @extend_schema(
        operation_id="experiment_runs_end",
        request=serializers.RunReasonInput,
        responses=serializers.ExperimentRunDetailSerializer,
    )
    def post(self, request: Request, key: int) -> Response:
        """End a run: everybody gets what is live, as before."""
        runs.end(self.actor, self.run(key), reason=serializers.RunReasonInput.read(request)["reason"])
        return self.document(key)


class ExperimentRunPropose(RunView):
    @extend_schema(
        operation_id="experiment_runs_propose",
        request=serializers.RunWinnerInput,
        responses={201: serializers.ExperimentPromotionSerializer},
    )
    def post(self, request: Request, key: int) -> Response:
        """Request the promotion of an arm's version, with what the run showed as evidence."""
        run = self.run(key)
        arm = serializers.RunWinnerInput.read(request)["arm"]
        promotion = runs.propose(self.actor, run, arm, evidence=runs.evidence_of(run, arm))
        return Response({"promotion": promotion.pk}, status=201)
