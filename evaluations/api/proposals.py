"""Proposals over REST: a program proposes cases, a user decides."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from evaluations import tasks
from evaluations.api.datasets import committed_cases_response, members_by_id
from evaluations.api.filters import ProposalFilter
from evaluations.api.serializers import proposals as serializers
from evaluations.api.serializers.datasets import CommittedCasesSerializer
from evaluations.curation import proposals, synthesis
from evaluations.datasets import lifecycle as datasets
from evaluations.models import CaseProposal, Synthesis
from evaluations.providers import configuration as providers
from infra.work import start
from registry.api.base import ProjectListView, ProjectView


class ProposalList(ProjectListView[CaseProposal]):
    queryset = CaseProposal.objects.none()
    serializer_class = serializers.ProposalSerializer
    filterset_class = ProposalFilter
    ordering = ("-id",)

    @extend_schema(operation_id="proposals_list", responses=serializers.ProposalSerializer(many=True))
    def get(self, request: Request, name: str) -> Response:
        """List a dataset's proposals, newest first."""
        rows = datasets.get_dataset(self.actor.project, name).proposals.select_related("version")
        return self.page(rows)

    @extend_schema(
        operation_id="proposals_create",
        request=serializers.ProposalsInput,
        responses={201: serializers.ProposalSerializer(many=True)},
        filters=False,
    )
    def post(self, request: Request, name: str) -> Response:
        """Propose up to 500 cases. They are compared with the existing cases, then wait for a user."""
        body = serializers.ProposalsInput.read(request)
        dataset = datasets.get_dataset(self.actor.project, name)
        created = proposals.propose(self.actor, dataset, cases=body["cases"], origin=body["origin"])
        start(tasks.check_proposals, dataset.pk)
        documents: list[Any] = [serializers.ProposalSerializer(proposal).data for proposal in created]
        return Response({"results": documents, "next": None}, status=201)


class ProposalsAccept(ProjectView):
    @extend_schema(
        operation_id="proposals_accept",
        request=serializers.AcceptProposalsInput,
        responses={201: CommittedCasesSerializer, 200: CommittedCasesSerializer},
    )
    def post(self, request: Request, name: str) -> Response:
        """Accept proposals as the next version, edited where `edited` says so. For users, not keys."""
        body = serializers.AcceptProposalsInput.read(request)
        dataset = datasets.get_dataset(self.actor.project, name)
        result = proposals.accept(
            self.actor, dataset, keys=body["ids"], edited=members_by_id(body["edited"], "/edited")
        )
        return committed_cases_response(dataset, result)


class ProposalsReject(ProjectView):
    @extend_schema(
        operation_id="proposals_reject", request=serializers.RejectProposalsInput, responses=serializers.CountSerializer
    )
    def post(self, request: Request, name: str) -> Response:
        """Reject proposals. For users, not keys."""
        body = serializers.RejectProposalsInput.read(request)
        dataset = datasets.get_dataset(self.actor.project, name)
        count = proposals.reject(self.actor, dataset, keys=body["ids"], reason=body["reason"])
        return Response({"count": count})


class SynthesisList(ProjectListView[Synthesis]):
    queryset = Synthesis.objects.none()
    serializer_class = serializers.SynthesisSerializer
    ordering = ("-id",)

    @extend_schema(operation_id="syntheses_list", responses=serializers.SynthesisSerializer(many=True))
    def get(self, request: Request, name: str) -> Response:
        """List the syntheses of a dataset, newest first."""
        rows = (
            synthesis.syntheses_with_related()
            .filter(dataset=datasets.get_dataset(self.actor.project, name))
            .order_by("-id")
        )
        return self.page(rows)

    @extend_schema(
        operation_id="syntheses_create",
        request=serializers.SynthesisInput,
        responses={201: serializers.SynthesisSerializer},
    )
    def post(self, request: Request, name: str) -> Response:
        """Have a model write cases. They become proposals, on which a user decides."""
        body = serializers.SynthesisInput.read(request)
        dataset = datasets.get_dataset(self.actor.project, name)
        row = synthesis.start(
            self.actor,
            dataset,
            model=providers.get_model(self.actor.project, body["model"]),
            requested=body["count"],
            about=body["about"],
            variables=body["variables"],
            budget_usd=body.get("budget_usd"),
        )
        start(tasks.write_cases, row.pk)
        headers = {"Location": f"/api/v1/datasets/{name}/syntheses/{row.pk}"}
        document = serializers.SynthesisSerializer(synthesis.get_synthesis(dataset, row.pk)).data
        return Response(document, status=201, headers=headers)


class SynthesisDetail(ProjectView):
    @extend_schema(operation_id="syntheses_read", responses=serializers.SynthesisSerializer)
    def get(self, request: Request, name: str, key: int) -> Response:
        """Read a synthesis: its progress and its costs."""
        row = synthesis.get_synthesis(datasets.get_dataset(self.actor.project, name), key)
        return Response(serializers.SynthesisSerializer(row).data)
