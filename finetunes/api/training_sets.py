"""Training sets over REST: build, look, and take the files."""

from typing import Any

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from evaluations.providers import configuration as providers
from finetunes import tasks
from finetunes.api import shapes
from finetunes.jobs import lifecycle as jobs
from finetunes.models import TrainingSet
from finetunes.training_sets import lifecycle as training_sets
from registry.accounts.permissions import Right
from registry.api.authentication import actor_of
from registry.tasks import start


def set_document(training_set: TrainingSet) -> dict[str, Any]:
    return dict(shapes.TrainingSetSerializer(training_set).data)


class TrainingSetList(generics.GenericAPIView[TrainingSet]):
    queryset = TrainingSet.objects.none()
    serializer_class = shapes.TrainingSetSerializer
    filter_backends = ()
    ordering = ("-id",)

    @extend_schema(operation_id="training_sets_list", responses=shapes.TrainingSetSerializer(many=True))
    def get(self, request: Request) -> Response:
        """Training sets, newest first."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        rows = training_sets.loaded().filter(project=actor.project).order_by("-id")
        return self.get_paginated_response(self.get_serializer(self.paginate_queryset(rows), many=True).data)

    @extend_schema(
        operation_id="training_sets_create",
        request=shapes.TrainingSetInput,
        responses={200: shapes.TrainingSetSerializer, 201: shapes.TrainingSetSerializer},
    )
    def post(self, request: Request) -> Response:
        """Have files made of a dataset and a prompt; 200 where the project has the same set already."""
        asked = shapes.TrainingSetInput.read(request)
        actor = actor_of(request)
        made, is_new = training_sets.ensure(actor, **training_sets.asked_for(actor.project, asked))
        start(tasks.build, made.pk)
        headers = {"Location": f"/api/v1/training-sets/{made.pk}"}
        document = set_document(training_sets.numbered(actor.project, made.pk))
        return Response(document, status=201 if is_new else 200, headers=headers)


class TrainingSetDetail(APIView):
    @extend_schema(operation_id="training_sets_read", responses=shapes.TrainingSetSerializer)
    def get(self, request: Request, key: int) -> Response:
        """A training set: what it is made of, and what is wrong with it."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        return Response(set_document(training_sets.numbered(actor.project, key)))


class TrainingSetFile(APIView):
    @extend_schema(operation_id="training_sets_file", responses={(200, "application/jsonl"): OpenApiTypes.STR})
    def get(self, request: Request, key: int, file: str) -> StreamingHttpResponse:
        """A file as the provider gets it: `train` or `validation`."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        return file_answer(training_sets.numbered(actor.project, key), file)


def file_answer(training_set: TrainingSet, file: str) -> StreamingHttpResponse:
    name = f"training-set.{training_set.pk}.{file}.jsonl"
    return StreamingHttpResponse(
        training_sets.pieces(training_set, file),
        content_type="application/jsonl",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


class TrainingSetEstimate(APIView):
    @extend_schema(
        operation_id="training_sets_estimate",
        request=shapes.HyperparametersInput,
        responses=shapes.TuningEstimateSerializer,
    )
    def post(self, request: Request, key: int) -> Response:
        """What tuning a base on it would take, and what speaks against it. Nothing is made."""
        asked = shapes.HyperparametersInput.read(request)
        actor = actor_of(request)
        actor.require(Right.SEE)
        training_set = training_sets.numbered(actor.project, key)
        model = providers.model_named(actor.project, asked["model"])
        return Response(jobs.estimated(training_set, model, asked.get("hyperparameters")))
