"""Gates and service levels over REST."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from evaluations.api import measuring as shapes
from evaluations.comparisons import gates
from evaluations.models import Gate, GateRun
from registry.accounts.permissions import Right
from registry.api.authentication import actor_of
from registry.api.serializers import NothingInput
from registry.promotions import environments


class GateList(generics.GenericAPIView[Gate]):
    queryset = Gate.objects.none()
    serializer_class = shapes.GateSerializer
    filter_backends = ()
    ordering = ("id",)

    @extend_schema(operation_id="gates_list", responses=shapes.GateSerializer(many=True))
    def get(self, request: Request) -> Response:
        """The gates of all environments."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        page = self.paginate_queryset(gates.of_project(actor.project))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(operation_id="gates_create", request=shapes.GateInput, responses={201: shapes.GateSerializer})
    def post(self, request: Request) -> Response:
        """Have every version that is proposed for an environment measured; the environment requires the check."""
        asked = shapes.GateInput.read(request)
        actor = actor_of(request)
        environment = environments.named(actor.project, asked["environment"])
        made = gates.create(actor, environment, **gates.asked_for(actor.project, asked))
        document = dict(shapes.GateSerializer(gates.numbered(actor.project, made.pk)).data)
        return Response(document, status=201)


class GateRemove(APIView):
    @extend_schema(operation_id="gates_remove", request=NothingInput, responses={204: None})
    def post(self, request: Request, key: int) -> Response:
        """Take a gate away, and the check that it required. What it measured stays."""
        actor = actor_of(request)
        gates.remove(actor, gates.numbered(actor.project, key))
        return Response(status=204)


class GateRuns(generics.GenericAPIView[GateRun]):
    queryset = GateRun.objects.none()
    serializer_class = shapes.GateRunSerializer
    filter_backends = ()
    ordering = ("-id",)

    @extend_schema(operation_id="gates_runs", responses=shapes.GateRunSerializer(many=True))
    def get(self, request: Request, key: int) -> Response:
        """What a gate has measured, newest first, with its reasons."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        rows = gates.numbered(actor.project, key).runs.select_related("version__prompt", "dataset_version__dataset")
        page = self.paginate_queryset(rows.order_by("-id"))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)


class ServiceLevelsView(APIView):
    @extend_schema(operation_id="service_levels_read", responses=shapes.ServiceLevelsSerializer)
    def get(self, request: Request) -> Response:
        """What the project's prompts have to keep to."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        return Response(self._document(gates.levels_of(actor.project)))

    @extend_schema(
        operation_id="service_levels_set",
        request=shapes.ServiceLevelsInput,
        responses=shapes.ServiceLevelsSerializer,
    )
    def put(self, request: Request) -> Response:
        """Say what they have to keep to; what is left out asks for nothing."""
        asked = shapes.ServiceLevelsInput.read(request)
        return Response(self._document(gates.set_levels(actor_of(request), asked)))

    @staticmethod
    def _document(levels: Any) -> dict[str, Any]:
        return dict(shapes.ServiceLevelsSerializer(levels).data)
