"""Annotation rounds over REST: open one, follow it, use its answers. Users annotate on a page."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from evaluations.api.datasets import committed_cases_response
from evaluations.api.serializers import annotation as serializers
from evaluations.api.serializers.datasets import CommittedCasesSerializer
from evaluations.curation import annotation
from evaluations.datasets import lifecycle as datasets
from evaluations.models import AnnotationRound
from infra.serializer_fields import EmptyInput
from registry.api.base import ProjectListView, ProjectView


def round_document(round_: AnnotationRound) -> dict[str, Any]:
    progress = annotation.progress(round_)
    members = {"cases": progress.cases, "done": progress.done, "disputed": progress.disputed}
    agreement = serializers.AgreementSerializer(progress.agreement).data
    return {**serializers.AnnotationRoundSerializer(round_).data, **members, "agreement": agreement}


class RoundList(ProjectListView[AnnotationRound]):
    queryset = AnnotationRound.objects.none()
    serializer_class = serializers.AnnotationRoundSerializer
    ordering = ("-id",)

    @extend_schema(operation_id="rounds_list", responses=serializers.AnnotationRoundSerializer(many=True))
    def get(self, request: Request, name: str) -> Response:
        """List a dataset's rounds, newest first."""
        rows = datasets.get_dataset(self.actor.project, name).rounds.select_related("version", "result")
        return self.page(rows)

    @extend_schema(
        operation_id="rounds_open",
        request=serializers.AnnotationRoundInput,
        responses={201: serializers.AnnotationRoundDetailSerializer},
    )
    def post(self, request: Request, name: str) -> Response:
        """Open a round over cases of the newest version."""
        body = serializers.AnnotationRoundInput.read(request)
        round_ = annotation.open_round(self.actor, datasets.get_dataset(self.actor.project, name), **body)
        return Response(round_document(round_), status=201)


class RoundDetail(ProjectView):
    @extend_schema(operation_id="rounds_read", responses=serializers.AnnotationRoundDetailSerializer)
    def get(self, request: Request, name: str, key: int) -> Response:
        """Read a round: its progress, and how far its annotators agree."""
        return Response(round_document(annotation.get_round(datasets.get_dataset(self.actor.project, name), key)))


class RoundApply(ProjectView):
    @extend_schema(
        operation_id="rounds_apply",
        request=EmptyInput,
        responses={201: CommittedCasesSerializer, 200: CommittedCasesSerializer},
    )
    def post(self, request: Request, name: str, key: int) -> Response:
        """Commit the answers of a round in which nothing is disputed, as the dataset's next version."""
        dataset = datasets.get_dataset(self.actor.project, name)
        return committed_cases_response(dataset, annotation.apply(self.actor, annotation.get_round(dataset, key)))


class RoundClose(ProjectView):
    @extend_schema(
        operation_id="rounds_close", request=EmptyInput, responses=serializers.AnnotationRoundDetailSerializer
    )
    def post(self, request: Request, name: str, key: int) -> Response:
        """Close a round without using its answers."""
        round_ = annotation.get_round(datasets.get_dataset(self.actor.project, name), key)
        annotation.close(self.actor, round_)
        return Response(round_document(annotation.get_round(round_.dataset, key)))
