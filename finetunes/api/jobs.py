"""Fine-tune jobs and tuned models over REST: draft, submit, follow, publish."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from evaluations import tasks as evaluating
from finetunes import tasks
from finetunes.api import serializers
from finetunes.jobs import lifecycle as jobs
from finetunes.jobs import tuned_models
from finetunes.models import FineTune, TunedModel, TuneEvent
from finetunes.training_sets import lifecycle as training_sets
from infra.serializer_fields import EmptyInput
from infra.work import start
from registry.api.base import ProjectListView, ProjectView
from registry.promotions import environments


def job_document(job: FineTune) -> dict[str, Any]:
    return dict(serializers.FineTuneSerializer(job).data)


class FineTuneList(ProjectListView[FineTune]):
    query_members = ("state", "prompt")
    queryset = FineTune.objects.none()
    serializer_class = serializers.FineTuneSerializer
    ordering = ("-id",)

    @extend_schema(
        operation_id="fine_tunes_list",
        parameters=[OpenApiParameter("state", str), OpenApiParameter("prompt", str)],
        responses=serializers.FineTuneSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """List jobs, newest first."""
        rows: QuerySet[FineTune] = jobs.jobs_with_related().filter(project=self.actor.project)
        filters = {
            "state": request.query_params.get("state"),
            "training_set__source__prompt__name": request.query_params.get("prompt"),
        }
        rows = rows.filter(**{name: value for name, value in filters.items() if value}).order_by("-id")
        return self.page(rows)

    @extend_schema(
        operation_id="fine_tunes_create",
        request=serializers.FineTuneInput,
        responses={201: serializers.FineTuneSerializer},
    )
    def post(self, request: Request) -> Response:
        """Draft a job; with `submit`, submit it at once."""
        body = serializers.FineTuneInput.read(request)
        training_set = training_sets.get_training_set(self.actor.project, body["training_set"])
        job = jobs.draft(self.actor, training_set, **jobs.read_request(self.actor.project, body))
        job = jobs.get_job(self.actor.project, job.pk)
        if body["submit"]:
            job = jobs.submit(self.actor, job)
            start(tasks.advance, job.pk)
        return Response(job_document(job), status=201, headers={"Location": f"/api/v1/fine-tunes/{job.pk}"})


class FineTuneDetail(ProjectView):
    @extend_schema(operation_id="fine_tunes_read", responses=serializers.FineTuneSerializer)
    def get(self, request: Request, key: int) -> Response:
        """Read a job: its state, and what the provider reports."""
        return Response(job_document(jobs.get_job(self.actor.project, key)))


class FineTuneSubmit(ProjectView):
    @extend_schema(operation_id="fine_tunes_submit", request=EmptyInput, responses=serializers.FineTuneSerializer)
    def post(self, request: Request, key: int) -> Response:
        """Submit a draft. From here on it costs money."""
        job = jobs.submit(self.actor, jobs.get_job(self.actor.project, key))
        start(tasks.advance, job.pk)
        return Response(job_document(job))


class FineTuneCancel(ProjectView):
    @extend_schema(operation_id="fine_tunes_cancel", request=EmptyInput, responses=serializers.FineTuneSerializer)
    def post(self, request: Request, key: int) -> Response:
        """Cancel a job; at the provider too, where it was submitted there."""
        job = jobs.cancel(self.actor, jobs.get_job(self.actor.project, key))
        start(tasks.advance, job.pk)
        return Response(job_document(job))


class FineTuneRetry(ProjectView):
    @extend_schema(
        operation_id="fine_tunes_retry",
        request=serializers.FineTuneRetryInput,
        responses=serializers.FineTuneSerializer,
    )
    def post(self, request: Request, key: int) -> Response:
        """Retry a job that needed attention."""
        body = serializers.FineTuneRetryInput.read(request)
        job = jobs.retry(self.actor, jobs.get_job(self.actor.project, key), budget_usd=body.get("budget_usd"))
        start(tasks.advance, job.pk)
        return Response(job_document(job))


class FineTuneEvents(ProjectListView[TuneEvent]):
    queryset = TuneEvent.objects.none()
    serializer_class = serializers.FineTuneEventSerializer
    ordering = ("-id",)

    @extend_schema(operation_id="fine_tunes_events", responses=serializers.FineTuneEventSerializer(many=True))
    def get(self, request: Request, key: int) -> Response:
        """List the provider's events of a job, newest first."""
        rows = jobs.get_job(self.actor.project, key).events.order_by("-id")
        return self.page(rows)


class FineTuneCurves(ProjectView):
    @extend_schema(operation_id="fine_tunes_curves", responses=serializers.FineTuneCurvesSerializer)
    def get(self, request: Request, key: int) -> Response:
        """Read losses and accuracies by step, and the checkpoints."""
        job = jobs.get_job(self.actor.project, key)
        curves = {"points": job.points.order_by("step"), "checkpoints": job.checkpoints.order_by("step")}
        return Response(serializers.FineTuneCurvesSerializer(curves).data)


def model_document(model: TunedModel) -> dict[str, Any]:
    return dict(serializers.TunedModelSerializer(model).data)


class TunedModelList(ProjectListView[TunedModel]):
    queryset = TunedModel.objects.none()
    serializer_class = serializers.TunedModelSerializer
    ordering = ("-id",)

    @extend_schema(operation_id="tuned_models_list", responses=serializers.TunedModelSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List tuned models, newest first: how they measured, and whether they should be tuned again."""
        rows = tuned_models.tuned_models_with_evaluations().filter(project=self.actor.project).order_by("-id")
        return self.page(rows)


class TunedModelDetail(ProjectView):
    @extend_schema(operation_id="tuned_models_read", responses=serializers.TunedModelSerializer)
    def get(self, request: Request, key: int) -> Response:
        """Read a tuned model."""
        return Response(model_document(tuned_models.get_tuned_model(self.actor.project, key)))


class TunedModelDeployed(ProjectView):
    @extend_schema(
        operation_id="tuned_models_deployed",
        request=serializers.TunedModelDeploymentInput,
        responses=serializers.TunedModelSerializer,
    )
    def post(self, request: Request, key: int) -> Response:
        """Set the name of a model that had to be deployed by hand; it is measured then."""
        body = serializers.TunedModelDeploymentInput.read(request)
        model = tuned_models.set_deployed_name(
            self.actor, tuned_models.get_tuned_model(self.actor.project, key), body["name"]
        )
        start(tasks.measure, model.pk)
        return Response(model_document(model))


class TunedModelMeasure(ProjectView):
    @extend_schema(operation_id="tuned_models_measure", request=EmptyInput, responses=serializers.TunedModelSerializer)
    def post(self, request: Request, key: int) -> Response:
        """Repeat the evaluations that failed."""
        model = tuned_models.get_tuned_model(self.actor.project, key)
        for run in tuned_models.measure_again(self.actor, model):
            start(evaluating.work_on_run, run.pk)
        return Response(model_document(tuned_models.get_tuned_model(self.actor.project, key)))


class TunedModelPublish(ProjectView):
    @extend_schema(
        operation_id="tuned_models_publish",
        request=serializers.TunedModelPublishInput,
        responses=serializers.TunedModelSerializer,
    )
    def post(self, request: Request, key: int) -> Response:
        """Publish a tuned model: commit a version with the short prompt and this model, and request its promotion."""
        body = serializers.TunedModelPublishInput.read(request)
        environment = environments.get_environment(self.actor.project, body["environment"])
        model = tuned_models.publish(
            self.actor, tuned_models.get_tuned_model(self.actor.project, key), environment, reason=body["reason"]
        )
        return Response(model_document(model))
