"""Promotions over REST: one address per verb, each calling the function of that name."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from registry.accounts.permissions import Right
from registry.api import serializers as shapes
from registry.api.authentication import actor_of
from registry.api.filters import PromotionFilter
from registry.api.versions import IF_MATCH, select
from registry.delivery import caching
from registry.models import Project, Promotion
from registry.promotions import approvals, environments, workflow
from registry.prompts import lifecycle as prompts


def promotion_document(row: Promotion) -> dict[str, Any]:
    """A promotion with where it stands now."""
    state = approvals.standing(row)
    release = getattr(row, "release", None)
    return {
        **shapes.PromotionSummarySerializer(row).data,
        "replaces": shapes.VersionPoint(row.replaces.version).data if row.replaces else None,
        "approvals": {
            "needed": state.needed,
            "given": [review.by_name for review in state.approvals],
            "void": [{"by": void.review.by_name, "why": void.why} for void in state.void],
            "changes_requested_by": [review.by_name for review in state.changes_requested],
        },
        "checks": {name: check.status if check else "missing" for name, check in state.checks.items()},
        "override": {"reason": row.override_reason, "by": row.override_by_name} if row.override_reason else None,
        "release": release.pk if release else None,
        "binding": state.binding,
        "reviews": shapes.ReviewSerializer(row.reviews.order_by("id"), many=True).data,
    }


def read(project: Project, number: int) -> Response:
    row = workflow.numbered(project, number)
    document = promotion_document(row)
    return Response(document, headers={"ETag": f'"{document["binding"]}"', "Cache-Control": "private, no-cache"})


class PromotionList(generics.GenericAPIView[Promotion]):
    queryset = Promotion.objects.none()
    serializer_class = shapes.PromotionSummarySerializer
    filterset_class = PromotionFilter
    ordering = ("-id",)

    def get_queryset(self) -> QuerySet[Promotion]:
        rows = Promotion.objects.filter(environment__project=actor_of(self.request).project)
        return rows.select_related("prompt", "version", "environment").defer("version__content")

    @extend_schema(operation_id="promotions_list", responses=shapes.PromotionSummarySerializer(many=True))
    def get(self, request: Request) -> Response:
        """Requests for release, newest first."""
        actor_of(request).require(Right.SEE)
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(
        operation_id="promotions_request",
        request=shapes.PromotionInput,
        responses={201: shapes.PromotionSerializer},
    )
    def post(self, request: Request) -> Response:
        """Ask for a version to be made live in an environment."""
        asked = shapes.PromotionInput.read(request)
        actor = actor_of(request)
        row = workflow.request(
            actor,
            prompts.named(actor.project, asked["prompt"]),
            select(actor.project, asked["prompt"], asked["version"]),
            environments.named(actor.project, asked["environment"]),
            reason=asked["reason"],
        )
        response = read(actor.project, row.pk)
        response.status_code = 201
        response["Location"] = f"/api/v1/promotions/{row.pk}"
        return response


class PromotionDetail(APIView):
    @extend_schema(operation_id="promotions_read", responses=shapes.PromotionSerializer)
    def get(self, request: Request, number: int) -> Response:
        """One promotion with its approvals, checks and discussion."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        return read(actor.project, number)


class PromotionApprove(APIView):
    @extend_schema(
        operation_id="promotions_approve",
        request=shapes.CommentInput,
        responses=shapes.PromotionSerializer,
        parameters=[IF_MATCH],
    )
    def post(self, request: Request, number: int) -> Response:
        """Approve as a reviewer who neither asked for it nor wrote the version."""
        actor, row, comment = _asked(request, number)
        workflow.approve(actor, row, comment=comment, seen=caching.expected(request))
        return read(actor.project, number)


class PromotionRequestChanges(APIView):
    @extend_schema(
        operation_id="promotions_request_changes",
        request=shapes.CommentInput,
        responses=shapes.PromotionSerializer,
    )
    def post(self, request: Request, number: int) -> Response:
        """Hold it back until you approve; say what should change."""
        actor, row, comment = _asked(request, number)
        workflow.request_changes(actor, row, comment=comment)
        return read(actor.project, number)


class PromotionReject(APIView):
    @extend_schema(operation_id="promotions_reject", request=shapes.CommentInput, responses=shapes.PromotionSerializer)
    def post(self, request: Request, number: int) -> Response:
        """End it as a reviewer."""
        actor, row, comment = _asked(request, number)
        workflow.reject(actor, row, comment=comment)
        return read(actor.project, number)


class PromotionComment(APIView):
    @extend_schema(
        operation_id="promotions_comment",
        request=shapes.CommentInput,
        responses={201: shapes.ReviewSerializer},
    )
    def post(self, request: Request, number: int) -> Response:
        """Say something without deciding."""
        actor, row, comment = _asked(request, number)
        review = workflow.add_comment(actor, row, comment=comment)
        return Response(shapes.ReviewSerializer(review).data, status=201)


class PromotionWithdraw(APIView):
    @extend_schema(
        operation_id="promotions_withdraw", request=shapes.NothingInput, responses=shapes.PromotionSerializer
    )
    def post(self, request: Request, number: int) -> Response:
        """Take your own request back."""
        actor = actor_of(request)
        workflow.withdraw(actor, workflow.numbered(actor.project, number))
        return read(actor.project, number)


class PromotionApply(APIView):
    @extend_schema(
        operation_id="promotions_apply",
        request=shapes.NothingInput,
        responses=shapes.PromotionSerializer,
        parameters=[IF_MATCH],
    )
    def post(self, request: Request, number: int) -> Response:
        """Make it live. Every rule is checked again; If-Match names the hash that you believe to be live."""
        actor = actor_of(request)
        row = workflow.numbered(actor.project, number)
        workflow.apply(actor, row, expected_live=caching.expected(request))
        return read(actor.project, number)


class PromotionOverride(APIView):
    @extend_schema(
        operation_id="promotions_override",
        request=shapes.OverrideInput,
        responses=shapes.PromotionSerializer,
        parameters=[IF_MATCH],
    )
    def post(self, request: Request, number: int) -> Response:
        """Apply it as an admin although required checks have not passed, with a reason that is kept for good."""
        asked = shapes.OverrideInput.read(request)
        actor = actor_of(request)
        row = workflow.numbered(actor.project, number)
        override = workflow.Override(asked["reason"])
        workflow.apply(actor, row, expected_live=caching.expected(request), override=override)
        return read(actor.project, number)


def _asked(request: Request, number: int) -> tuple[Any, Promotion, str]:
    """The actor, the promotion and the comment of a decision."""
    asked = shapes.CommentInput.read(request)
    actor = actor_of(request)
    return actor, workflow.numbered(actor.project, number), asked["comment"]
