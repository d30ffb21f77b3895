"""Training sets over REST: build, read, and download the files."""

from typing import Any

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from evaluations.providers import configuration as providers
from finetunes import tasks
from finetunes.api import serializers
from finetunes.jobs import lifecycle as jobs
from finetunes.models import TrainingSet
from finetunes.training_sets import lifecycle as training_sets
from infra.work import start
from registry.accounts.permissions import Right
from registry.api.base import ProjectListView, ProjectView


def training_set_document(training_set: TrainingSet) -> dict[str, Any]:
    return dict(serializers.TrainingSetSerializer(training_set).data)


class TrainingSetList(ProjectListView[TrainingSet]):
    queryset = TrainingSet.objects.none()
    serializer_class = serializers.TrainingSetSerializer
    ordering = ("-id",)

    @extend_schema(operation_id="training_sets_list", responses=serializers.TrainingSetSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List training sets, newest first."""
        rows = training_sets.training_sets_with_related().filter(project=self.actor.project).order_by("-id")
        return self.page(rows)

    @extend_schema(
        operation_id="training_sets_create",
        request=serializers.TrainingSetInput,
        responses={200: serializers.TrainingSetSerializer, 201: serializers.TrainingSetSerializer},
    )
    def post(self, request: Request) -> Response:
        """Build the files of a dataset and a prompt; 200 where the project has the same set already."""
        body = serializers.TrainingSetInput.read(request)
        training_set, is_new = training_sets.ensure(self.actor, **training_sets.read_request(self.actor.project, body))
        start(tasks.build, training_set.pk)
        headers = {"Location": f"/api/v1/training-sets/{training_set.pk}"}
        document = training_set_document(training_sets.get_training_set(self.actor.project, training_set.pk))
        return Response(document, status=201 if is_new else 200, headers=headers)


class TrainingSetDetail(ProjectView):
    @extend_schema(operation_id="training_sets_read", responses=serializers.TrainingSetSerializer)
    def get(self, request: Request, key: int) -> Response:
        """Read a training set: its sources and its faults."""
        return Response(training_set_document(training_sets.get_training_set(self.actor.project, key)))


class TrainingSetFile(ProjectView):
    @extend_schema(operation_id="training_sets_file", responses={(200, "application/jsonl"): OpenApiTypes.STR})
    def get(self, request: Request, key: int, file: str) -> StreamingHttpResponse:
        """Download a file as the provider gets it: `train` or `validation`."""
        return file_answer(training_sets.get_training_set(self.actor.project, key), file)


def file_answer(training_set: TrainingSet, file: str) -> StreamingHttpResponse:
    name = f"training-set.{training_set.pk}.{file}.jsonl"
    return StreamingHttpResponse(
        training_sets.file_pieces(training_set, file),
        content_type="application/jsonl",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


class TrainingSetEstimate(ProjectView):
    # An estimate only reads.
    write_right = Right.SEE

    @extend_schema(
        operation_id="training_sets_estimate",
        request=serializers.HyperparametersInput,
        responses=serializers.TuningEstimateSerializer,
    )
    def post(self, request: Request, key: int) -> Response:
        """Estimate what tuning a base on it takes, with warnings against it. Nothing is created."""
        body = serializers.HyperparametersInput.read(request)
        training_set = training_sets.get_training_set(self.actor.project, key)
        model = providers.get_model(self.actor.project, body["model"])
        return Response(jobs.estimate_with_advisories(training_set, model, body.get("hyperparameters")))
