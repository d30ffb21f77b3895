"""Rounds of annotation over REST: open one, see how it goes, use its answers. People annotate, on a page."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from evaluations.api import serializers as shapes
from evaluations.api.datasets import loaded_answer
from evaluations.curation import annotation
from evaluations.datasets import lifecycle as datasets
from evaluations.models import AnnotationRound
from registry.accounts.permissions import Right
from registry.api.authentication import actor_of
from registry.api.serializers import NothingInput


def round_document(round_: AnnotationRound) -> dict[str, Any]:
    told = annotation.progress(round_)
    members = {"cases": told.cases, "done": told.done, "disputed": told.disputed}
    agreed = shapes.AgreementSerializer(told.agreement).data
    return {**shapes.RoundSerializer(round_).data, **members, "agreement": agreed}


class RoundList(generics.GenericAPIView[AnnotationRound]):
    queryset = AnnotationRound.objects.none()
    serializer_class = shapes.RoundSerializer
    filter_backends = ()
    ordering = ("-id",)

    @extend_schema(operation_id="rounds_list", responses=shapes.RoundSerializer(many=True))
    def get(self, request: Request, name: str) -> Response:
        """A dataset's rounds, newest first."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        rows = datasets.named(actor.project, name).rounds.select_related("version", "result")
        return self.get_paginated_response(self.get_serializer(self.paginate_queryset(rows), many=True).data)

    @extend_schema(operation_id="rounds_open", request=shapes.RoundInput, responses={201: shapes.RoundDetailSerializer})
    def post(self, request: Request, name: str) -> Response:
        """Open a round over cases of the newest version."""
        asked = shapes.RoundInput.read(request)
        actor = actor_of(request)
        made = annotation.open_round(actor, datasets.named(actor.project, name), **asked)
        return Response(round_document(made), status=201)


class RoundDetail(APIView):
    @extend_schema(operation_id="rounds_read", responses=shapes.RoundDetailSerializer)
    def get(self, request: Request, name: str, key: int) -> Response:
        """One round: how far it is, and how far its annotators agree."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        return Response(round_document(annotation.find(datasets.named(actor.project, name), key)))


class RoundApply(APIView):
    @extend_schema(
        operation_id="rounds_apply",
        request=NothingInput,
        responses={201: shapes.CommittedCasesSerializer, 200: shapes.CommittedCasesSerializer},
    )
    def post(self, request: Request, name: str, key: int) -> Response:
        """Make the dataset's next version with the answers of a round in which nothing is disputed."""
        actor = actor_of(request)
        dataset = datasets.named(actor.project, name)
        return loaded_answer(dataset, annotation.apply(actor, annotation.find(dataset, key)))


class RoundClose(APIView):
    @extend_schema(operation_id="rounds_close", request=NothingInput, responses=shapes.RoundDetailSerializer)
    def post(self, request: Request, name: str, key: int) -> Response:
        """End a round without using its answers."""
        actor = actor_of(request)
        found = annotation.find(datasets.named(actor.project, name), key)
        annotation.close(actor, found)
        return Response(round_document(annotation.find(found.dataset, key)))
