"""Cross-validations over REST: start, follow, cancel."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from finetunes import tasks
from finetunes.api import serializers
from finetunes.jobs import cross_validation
from finetunes.models import CrossValidation
from finetunes.training_sets import lifecycle as training_sets
from infra.serializer_fields import EmptyInput
from infra.work import start
from registry.api.base import ProjectListView, ProjectView


def cross_validation_document(row: CrossValidation) -> dict[str, Any]:
    return dict(serializers.CrossValidationSerializer(row).data)


class CrossValidationsOfSet(ProjectView):
    @extend_schema(
        operation_id="cross_validations_create",
        request=serializers.CrossValidationInput,
        responses={201: serializers.CrossValidationSerializer},
    )
    def post(self, request: Request, key: int) -> Response:
        """Tune a model once a fold of the set's data, and measure each on the fold that it has not seen. This costs
        money."""
        body = serializers.CrossValidationInput.read(request)
        training_set = training_sets.get_training_set(self.actor.project, key)
        settings = cross_validation.read_request(self.actor.project, body)
        validation = cross_validation.begin(self.actor, training_set, **settings)
        start(tasks.sweep)
        address = f"/api/v1/cross-validations/{validation.pk}"
        return Response(cross_validation_document(validation), status=201, headers={"Location": address})


class CrossValidationList(ProjectListView[CrossValidation]):
    queryset = CrossValidation.objects.none()
    serializer_class = serializers.CrossValidationSerializer
    ordering = ("-id",)

    @extend_schema(operation_id="cross_validations_list", responses=serializers.CrossValidationSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List cross-validations, newest first."""
        rows = cross_validation.cross_validations_with_related().filter(project=self.actor.project)
        return self.page(rows.prefetch_related("jobs").order_by("-id"))


class CrossValidationDetail(ProjectView):
    @extend_schema(operation_id="cross_validations_read", responses=serializers.CrossValidationSerializer)
    def get(self, request: Request, key: int) -> Response:
        """Read a cross-validation: its progress and its result."""
        return Response(cross_validation_document(cross_validation.get_cross_validation(self.actor.project, key)))


class CrossValidationCancel(ProjectView):
    @extend_schema(
        operation_id="cross_validations_cancel", request=EmptyInput, responses=serializers.CrossValidationSerializer
    )
    def post(self, request: Request, key: int) -> Response:
        """Cancel a cross-validation, and its jobs that are under way."""
        row = cross_validation.cancel(self.actor, cross_validation.get_cross_validation(self.actor.project, key))
        return Response(cross_validation_document(row))
