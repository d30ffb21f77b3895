"""Jobs and tuned models over REST: draft, submit, watch, and publish what came out."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from evaluations import tasks as evaluating
from finetunes import tasks
from finetunes.api import shapes
from finetunes.jobs import lifecycle as jobs
from finetunes.jobs import tuned_models
from finetunes.models import FineTune, TunedModel, TuneEvent
from finetunes.training_sets import lifecycle as training_sets
from registry.accounts.permissions import Right
from registry.api.authentication import actor_of
from registry.api.serializers import NothingInput
from registry.promotions import environments
from registry.tasks import start


def job_document(job: FineTune) -> dict[str, Any]:
    return dict(shapes.FineTuneSerializer(job).data)


class FineTuneList(generics.GenericAPIView[FineTune]):
    queryset = FineTune.objects.none()
    serializer_class = shapes.FineTuneSerializer
    filter_backends = ()
    ordering = ("-id",)

    @extend_schema(
        operation_id="fine_tunes_list",
        parameters=[OpenApiParameter("state", str), OpenApiParameter("prompt", str)],
        responses=shapes.FineTuneSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """Jobs, newest first."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        rows: QuerySet[FineTune] = jobs.loaded().filter(project=actor.project)
        wanted = {
            "state": request.query_params.get("state"),
            "training_set__source__prompt__name": request.query_params.get("prompt"),
        }
        rows = rows.filter(**{name: value for name, value in wanted.items() if value}).order_by("-id")
        return self.get_paginated_response(self.get_serializer(self.paginate_queryset(rows), many=True).data)

    @extend_schema(
        operation_id="fine_tunes_create", request=shapes.FineTuneInput, responses={201: shapes.FineTuneSerializer}
    )
    def post(self, request: Request) -> Response:
        """Draft a job; with `submit`, hand it to the workers at once."""
        asked = shapes.FineTuneInput.read(request)
        actor = actor_of(request)
        training_set = training_sets.numbered(actor.project, asked["training_set"])
        made = jobs.draft(actor, training_set, **jobs.asked_for(actor.project, asked))
        made = jobs.numbered(actor.project, made.pk)
        if asked["submit"]:
            made = jobs.submit(actor, made)
            start(tasks.advance, made.pk)
        return Response(job_document(made), status=201, headers={"Location": f"/api/v1/fine-tunes/{made.pk}"})


class FineTuneDetail(APIView):
    @extend_schema(operation_id="fine_tunes_read", responses=shapes.FineTuneSerializer)
    def get(self, request: Request, key: int) -> Response:
        """A job: where it is, and what the provider says."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        return Response(job_document(jobs.numbered(actor.project, key)))


class FineTuneSubmit(APIView):
    @extend_schema(operation_id="fine_tunes_submit", request=NothingInput, responses=shapes.FineTuneSerializer)
    def post(self, request: Request, key: int) -> Response:
        """Hand a draft to the workers. Money is spent from here on."""
        actor = actor_of(request)
        job = jobs.submit(actor, jobs.numbered(actor.project, key))
        start(tasks.advance, job.pk)
        return Response(job_document(job))


class FineTuneCancel(APIView):
    @extend_schema(operation_id="fine_tunes_cancel", request=NothingInput, responses=shapes.FineTuneSerializer)
    def post(self, request: Request, key: int) -> Response:
        """End a job; at the provider too, where it has reached it."""
        actor = actor_of(request)
        job = jobs.cancel(actor, jobs.numbered(actor.project, key))
        start(tasks.advance, job.pk)
        return Response(job_document(job))


class FineTuneRetry(APIView):
    @extend_schema(operation_id="fine_tunes_retry", request=shapes.RetryInput, responses=shapes.FineTuneSerializer)
    def post(self, request: Request, key: int) -> Response:
        """Go on with a job that needed attention."""
        asked = shapes.RetryInput.read(request)
        actor = actor_of(request)
        job = jobs.retry(actor, jobs.numbered(actor.project, key), budget_usd=asked.get("budget_usd"))
        start(tasks.advance, job.pk)
        return Response(job_document(job))


class FineTuneEvents(generics.GenericAPIView[TuneEvent]):
    queryset = TuneEvent.objects.none()
    serializer_class = shapes.EventSerializer
    filter_backends = ()
    ordering = ("-id",)

    @extend_schema(operation_id="fine_tunes_events", responses=shapes.EventSerializer(many=True))
    def get(self, request: Request, key: int) -> Response:
        """What the provider told, newest first."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        rows = jobs.numbered(actor.project, key).events.order_by("-id")
        return self.get_paginated_response(self.get_serializer(self.paginate_queryset(rows), many=True).data)


class FineTuneCurves(APIView):
    @extend_schema(operation_id="fine_tunes_curves", responses=shapes.CurvesSerializer)
    def get(self, request: Request, key: int) -> Response:
        """Losses and accuracies by step, and the checkpoints."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        job = jobs.numbered(actor.project, key)
        found = {"points": job.points.order_by("step"), "checkpoints": job.checkpoints.order_by("step")}
        return Response(shapes.CurvesSerializer(found).data)


def model_document(model: TunedModel) -> dict[str, Any]:
    return dict(shapes.TunedModelSerializer(model).data)


class TunedModelList(generics.GenericAPIView[TunedModel]):
    queryset = TunedModel.objects.none()
    serializer_class = shapes.TunedModelSerializer
    filter_backends = ()
    ordering = ("-id",)

    @extend_schema(operation_id="tuned_models_list", responses=shapes.TunedModelSerializer(many=True))
    def get(self, request: Request) -> Response:
        """What came out of jobs, newest first: how it measured, and whether it should be tuned again."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        rows = tuned_models.listed().filter(project=actor.project).order_by("-id")
        return self.get_paginated_response(self.get_serializer(self.paginate_queryset(rows), many=True).data)


class TunedModelDetail(APIView):
    @extend_schema(operation_id="tuned_models_read", responses=shapes.TunedModelSerializer)
    def get(self, request: Request, key: int) -> Response:
        """A tuned model."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        return Response(model_document(tuned_models.numbered(actor.project, key)))


class TunedModelDeployed(APIView):
    @extend_schema(
        operation_id="tuned_models_deployed", request=shapes.DeployedInput, responses=shapes.TunedModelSerializer
    )
    def post(self, request: Request, key: int) -> Response:
        """Say by which name a model answers that had to be deployed by hand; it is measured then."""
        asked = shapes.DeployedInput.read(request)
        actor = actor_of(request)
        model = tuned_models.deployed(actor, tuned_models.numbered(actor.project, key), asked["name"])
        start(tasks.measure, model.pk)
        return Response(model_document(model))


class TunedModelMeasure(APIView):
    @extend_schema(operation_id="tuned_models_measure", request=NothingInput, responses=shapes.TunedModelSerializer)
    def post(self, request: Request, key: int) -> Response:
        """Measure again where an evaluation came to nothing."""
        actor = actor_of(request)
        model = tuned_models.numbered(actor.project, key)
        for run in tuned_models.measure_again(actor, model):
            start(evaluating.drive_run, run.pk)
        return Response(model_document(tuned_models.numbered(actor.project, key)))


class TunedModelPublish(APIView):
    @extend_schema(
        operation_id="tuned_models_publish", request=shapes.PublishInput, responses=shapes.TunedModelSerializer
    )
    def post(self, request: Request, key: int) -> Response:
        """Make a version with the short prompt and this model, and ask for its promotion."""
        asked = shapes.PublishInput.read(request)
        actor = actor_of(request)
        environment = environments.named(actor.project, asked["environment"])
        model = tuned_models.publish(
            actor, tuned_models.numbered(actor.project, key), environment, reason=asked["reason"]
        )
        return Response(model_document(model))
