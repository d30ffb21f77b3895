"""Promotions over REST: one address per verb, each calling the function of that name."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from infra.serializer_fields import EmptyInput
from registry.api.base import ProjectListView, ProjectView
from registry.api.filters import PromotionFilter
from registry.api.serializers import promotions as serializers
from registry.api.serializers.prompts import PinnedChangeSerializer
from registry.api.serializers.versions import VersionIdentitySerializer
from registry.api.versions import IF_MATCH, select_version
from registry.delivery import caching
from registry.models import Project, Promotion
from registry.promotions import approvals, contributors, environments, workflow
from registry.prompts import lifecycle as prompts
from registry.prompts.pinned import pinned_changes


def promotion_document(row: Promotion) -> dict[str, Any]:
    """Return a promotion with its current approvals and checks, as JSON."""
    status = approvals.get_approval_status(row)
    release = getattr(row, "release", None)
    reviewed = contributors.reviewed_pins(row.environment, approvals.compared_release(row))
    return {
        **serializers.PromotionSummarySerializer(row).data,
        "replaces": VersionIdentitySerializer(row.replaces.version).data if row.replaces else None,
        "approvals": {
            "needed": status.needed,
            "given": [review.by_name for review in status.approvals],
            "void": [{"by": void.review.by_name, "why": void.why} for void in status.void],
            "changes_requested_by": [review.by_name for review in status.changes_requested],
        },
        "checks": {name: check.status if check else "missing" for name, check in status.checks.items()},
        "override": {"reason": row.override_reason, "by": row.override_by_name} if row.override_reason else None,
        "release": release.pk if release else None,
        "binding": status.binding,
        "contributors": serializers.ContributorSerializer(row.contributors.select_related("user"), many=True).data,
        "pinned": PinnedChangeSerializer(pinned_changes(reviewed, row.version), many=True).data,
        "reviews": serializers.ReviewSerializer(row.reviews.order_by("id"), many=True).data,
    }


def promotion_response(project: Project, number: int) -> Response:
    row = workflow.get_promotion(project, number)
    document = promotion_document(row)
    return Response(document, headers={"ETag": f'"{document["binding"]}"', "Cache-Control": "private, no-cache"})


class PromotionList(ProjectListView[Promotion]):
    queryset = Promotion.objects.none()
    serializer_class = serializers.PromotionSummarySerializer
    filterset_class = PromotionFilter
    ordering = ("-id",)

    def get_queryset(self) -> QuerySet[Promotion]:
        rows = Promotion.objects.filter(environment__project=self.actor.project)
        return rows.select_related("prompt", "version", "environment").defer("version__content")

    @extend_schema(operation_id="promotions_list", responses=serializers.PromotionSummarySerializer(many=True))
    def get(self, request: Request) -> Response:
        """List promotions, newest first."""
        return self.page(self.get_queryset())

    @extend_schema(
        operation_id="promotions_request",
        request=serializers.PromotionInput,
        responses={201: serializers.PromotionSerializer},
    )
    def post(self, request: Request) -> Response:
        """Request that a version is made live in an environment."""
        body = serializers.PromotionInput.read(request)
        row = workflow.request(
            self.actor,
            prompts.get_prompt(self.actor.project, body["prompt"]),
            select_version(self.actor.project, body["prompt"], body["version"]),
            environments.get_environment(self.actor.project, body["environment"]),
            reason=body["reason"],
        )
        response = promotion_response(self.actor.project, row.pk)
        response.status_code = 201
        response["Location"] = f"/api/v1/promotions/{row.pk}"
        return response


class PromotionDetail(ProjectView):
    @extend_schema(operation_id="promotions_read", responses=serializers.PromotionSerializer)
    def get(self, request: Request, number: int) -> Response:
        """Read a promotion with its approvals, checks and discussion."""
        return promotion_response(self.actor.project, number)


class _DecisionView(ProjectView):
    def decision(self, request: Request, number: int) -> tuple[Promotion, str]:
        """Return the promotion and the comment of a decision."""
        body = serializers.CommentInput.read(request)
        return workflow.get_promotion(self.actor.project, number), body["comment"]


class PromotionApprove(_DecisionView):
    @extend_schema(
        operation_id="promotions_approve",
        request=serializers.CommentInput,
        responses=serializers.PromotionSerializer,
        parameters=[IF_MATCH],
    )
    def post(self, request: Request, number: int) -> Response:
        """Approve as a reviewer who does not stand behind it (`contributors`)."""
        row, comment = self.decision(request, number)
        workflow.approve(self.actor, row, comment=comment, seen=caching.expected_tag(request))
        return promotion_response(self.actor.project, number)


class PromotionRequestChanges(_DecisionView):
    @extend_schema(
        operation_id="promotions_request_changes",
        request=serializers.CommentInput,
        responses=serializers.PromotionSerializer,
    )
    def post(self, request: Request, number: int) -> Response:
        """Request changes: it is held back until you approve. Say what should change."""
        row, comment = self.decision(request, number)
        workflow.request_changes(self.actor, row, comment=comment)
        return promotion_response(self.actor.project, number)


class PromotionReject(_DecisionView):
    @extend_schema(
        operation_id="promotions_reject", request=serializers.CommentInput, responses=serializers.PromotionSerializer
    )
    def post(self, request: Request, number: int) -> Response:
        """Reject it as a reviewer, which ends it."""
        row, comment = self.decision(request, number)
        workflow.reject(self.actor, row, comment=comment)
        return promotion_response(self.actor.project, number)


class PromotionComment(_DecisionView):
    @extend_schema(
        operation_id="promotions_comment",
        request=serializers.CommentInput,
        responses={201: serializers.ReviewSerializer},
    )
    def post(self, request: Request, number: int) -> Response:
        """Comment without deciding."""
        row, comment = self.decision(request, number)
        review = workflow.add_comment(self.actor, row, comment=comment)
        return Response(serializers.ReviewSerializer(review).data, status=201)


class PromotionWithdraw(ProjectView):
    @extend_schema(operation_id="promotions_withdraw", request=EmptyInput, responses=serializers.PromotionSerializer)
    def post(self, request: Request, number: int) -> Response:
        """Withdraw your own request."""
        workflow.withdraw(self.actor, workflow.get_promotion(self.actor.project, number))
        return promotion_response(self.actor.project, number)


class PromotionApply(ProjectView):
    @extend_schema(
        operation_id="promotions_apply",
        request=EmptyInput,
        responses=serializers.PromotionSerializer,
        parameters=[IF_MATCH],
    )
    def post(self, request: Request, number: int) -> Response:
        """Release it. Every rule is checked again; If-Match names the hash that you believe to be live."""
        row = workflow.get_promotion(self.actor.project, number)
        workflow.apply(self.actor, row, expected_live=caching.expected_tag(request))
        return promotion_response(self.actor.project, number)


class PromotionOverride(ProjectView):
    @extend_schema(
        operation_id="promotions_override",
        request=serializers.OverrideInput,
        responses=serializers.PromotionSerializer,
        parameters=[IF_MATCH],
    )
    def post(self, request: Request, number: int) -> Response:
        """Apply it as an admin although required checks have not passed, with a reason that is kept for good."""
        body = serializers.OverrideInput.read(request)
        row = workflow.get_promotion(self.actor.project, number)
        override = workflow.Override(body["reason"])
        workflow.apply(self.actor, row, expected_live=caching.expected_tag(request), override=override)
        return promotion_response(self.actor.project, number)
