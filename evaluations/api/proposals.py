"""Proposed cases over REST: a program proposes, a person decides."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from evaluations import tasks
from evaluations.api import serializers as shapes
from evaluations.api.datasets import keyed, loaded_answer
from evaluations.api.filters import ProposalFilter
from evaluations.curation import proposals, synthesis
from evaluations.datasets import lifecycle as datasets
from evaluations.models import CaseProposal, Synthesis
from evaluations.providers import configuration as providers
from registry.accounts.permissions import Right
from registry.api.authentication import actor_of
from registry.tasks import start


class ProposalList(generics.GenericAPIView[CaseProposal]):
    queryset = CaseProposal.objects.none()
    serializer_class = shapes.ProposalSerializer
    filterset_class = ProposalFilter
    ordering = ("-id",)

    @extend_schema(operation_id="proposals_list", responses=shapes.ProposalSerializer(many=True))
    def get(self, request: Request, name: str) -> Response:
        """A dataset's proposals, newest first."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        rows = datasets.named(actor.project, name).proposals.select_related("version")
        page = self.paginate_queryset(self.filter_queryset(rows))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(
        operation_id="proposals_create",
        request=shapes.ProposalsInput,
        responses={201: shapes.ProposalSerializer(many=True)},
        filters=False,
    )
    def post(self, request: Request, name: str) -> Response:
        """Propose up to 500 cases. They are held against the cases that are there, then wait for a person."""
        asked = shapes.ProposalsInput.read(request)
        actor = actor_of(request)
        dataset = datasets.named(actor.project, name)
        made = proposals.propose(actor, dataset, cases=asked["cases"], origin=asked["origin"])
        start(tasks.check_proposals, dataset.pk)
        documents: list[Any] = [shapes.ProposalSerializer(one).data for one in made]
        return Response({"results": documents, "next": None}, status=201)


class ProposalsAccept(APIView):
    @extend_schema(
        operation_id="proposals_accept",
        request=shapes.AcceptInput,
        responses={201: shapes.CommittedCasesSerializer, 200: shapes.CommittedCasesSerializer},
    )
    def post(self, request: Request, name: str) -> Response:
        """Take proposals in as the next version, edited where `edited` says so. For people, not keys."""
        asked = shapes.AcceptInput.read(request)
        actor = actor_of(request)
        dataset = datasets.named(actor.project, name)
        loaded = proposals.accept(actor, dataset, keys=asked["ids"], edited=keyed(asked["edited"], "/edited"))
        return loaded_answer(dataset, loaded)


class ProposalsReject(APIView):
    @extend_schema(operation_id="proposals_reject", request=shapes.RejectInput, responses=shapes.CountSerializer)
    def post(self, request: Request, name: str) -> Response:
        """Turn proposals away. For people, not keys."""
        asked = shapes.RejectInput.read(request)
        actor = actor_of(request)
        dataset = datasets.named(actor.project, name)
        count = proposals.reject(actor, dataset, keys=asked["ids"], reason=asked["reason"])
        return Response({"count": count})


class SynthesisList(generics.GenericAPIView[Synthesis]):
    queryset = Synthesis.objects.none()
    serializer_class = shapes.SynthesisSerializer
    filter_backends = ()
    ordering = ("-id",)

    @extend_schema(operation_id="syntheses_list", responses=shapes.SynthesisSerializer(many=True))
    def get(self, request: Request, name: str) -> Response:
        """What models were asked to write for a dataset, newest first."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        rows = synthesis.loaded().filter(dataset=datasets.named(actor.project, name)).order_by("-id")
        return self.get_paginated_response(self.get_serializer(self.paginate_queryset(rows), many=True).data)

    @extend_schema(
        operation_id="syntheses_create", request=shapes.SynthesisInput, responses={201: shapes.SynthesisSerializer}
    )
    def post(self, request: Request, name: str) -> Response:
        """Have a model make up cases. They become proposals, on which a person decides."""
        asked = shapes.SynthesisInput.read(request)
        actor = actor_of(request)
        dataset = datasets.named(actor.project, name)
        made = synthesis.start(
            actor,
            dataset,
            model=providers.model_named(actor.project, asked["model"]),
            wanted=asked["count"],
            about=asked["about"],
            variables=asked["variables"],
            budget_usd=asked.get("budget_usd"),
        )
        start(tasks.write_cases, made.pk)
        headers = {"Location": f"/api/v1/datasets/{name}/syntheses/{made.pk}"}
        document = shapes.SynthesisSerializer(synthesis.numbered(dataset, made.pk)).data
        return Response(document, status=201, headers=headers)


class SynthesisDetail(APIView):
    @extend_schema(operation_id="syntheses_read", responses=shapes.SynthesisSerializer)
    def get(self, request: Request, name: str, key: int) -> Response:
        """How far a model has come with writing cases."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        found = synthesis.numbered(datasets.named(actor.project, name), key)
        return Response(shapes.SynthesisSerializer(found).data)
