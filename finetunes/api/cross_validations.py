"""Cross-validations over REST: begin, watch, end."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from finetunes import tasks
from finetunes.api import shapes
from finetunes.jobs import cross_validation
from finetunes.models import CrossValidation
from finetunes.training_sets import lifecycle as training_sets
from registry.accounts.permissions import Right
from registry.api.authentication import actor_of
from registry.api.serializers import NothingInput
from registry.tasks import start


def document(found: CrossValidation) -> dict[str, Any]:
    return dict(shapes.CrossValidationSerializer(found).data)


class CrossValidationsOfSet(APIView):
    @extend_schema(
        operation_id="cross_validations_create",
        request=shapes.CrossValidationInput,
        responses={201: shapes.CrossValidationSerializer},
    )
    def post(self, request: Request, key: int) -> Response:
        """Tune a model once a fold of the set's data, and measure each on the fold that it has not seen. Money is spent
        from here on."""
        asked = shapes.CrossValidationInput.read(request)
        actor = actor_of(request)
        training_set = training_sets.numbered(actor.project, key)
        wanted = cross_validation.asked_for(actor.project, asked)
        made = cross_validation.begin(actor, training_set, **wanted)
        start(tasks.sweep)
        address = f"/api/v1/cross-validations/{made.pk}"
        return Response(document(made), status=201, headers={"Location": address})


class CrossValidationList(generics.GenericAPIView[CrossValidation]):
    queryset = CrossValidation.objects.none()
    serializer_class = shapes.CrossValidationSerializer
    filter_backends = ()
    ordering = ("-id",)

    @extend_schema(operation_id="cross_validations_list", responses=shapes.CrossValidationSerializer(many=True))
    def get(self, request: Request) -> Response:
        """Cross-validations, newest first."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        rows = cross_validation.loaded().filter(project=actor.project).prefetch_related("jobs").order_by("-id")
        return self.get_paginated_response(self.get_serializer(self.paginate_queryset(rows), many=True).data)


class CrossValidationDetail(APIView):
    @extend_schema(operation_id="cross_validations_read", responses=shapes.CrossValidationSerializer)
    def get(self, request: Request, key: int) -> Response:
        """How far it is, and what came of it."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        return Response(document(cross_validation.numbered(actor.project, key)))


class CrossValidationCancel(APIView):
    @extend_schema(
        operation_id="cross_validations_cancel", request=NothingInput, responses=shapes.CrossValidationSerializer
    )
    def post(self, request: Request, key: int) -> Response:
        """End it, and those of its jobs that are under way."""
        actor = actor_of(request)
        found = cross_validation.cancel(actor, cross_validation.numbered(actor.project, key))
        return Response(document(found))
