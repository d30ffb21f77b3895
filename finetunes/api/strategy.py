"""Recommendations and the policy over REST."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from finetunes.models import StrategyRecommendation
from finetunes.strategy import evidence, recommendations
from finetunes.strategy import policy as policies
from infra.serializer_fields import Input, ObjectField, Text
from registry.accounts.permissions import Right
from registry.api.authentication import actor_of

INPUTS = f"What was typed in, which counts more than what was measured: {', '.join(evidence.INPUTS)}."


class RecommendationInput(Input):
    prompt = Text(required=False, default="", help_text="From measurements: support.route@production.")
    metrics = ObjectField(
        required=False,
        allow_null=True,
        default=None,
        help_text="From numbers: monthly_tokens, avg_latency_ms, format_error_rate, dev_cost_hours.",
    )
    inputs = ObjectField(required=False, help_text=INPUTS)
    policy = Text(required=False, default="default", help_text="default, or seed: the published function.")


class RecommendationSerializer(serializers.ModelSerializer[StrategyRecommendation]):
    prompt = serializers.CharField(allow_null=True)
    version = serializers.CharField(allow_null=True)
    payback_months = serializers.SerializerMethodField(
        help_text="Cost to tune / monthly savings; null where it is never paid back."
    )
    reasons = serializers.SerializerMethodField()
    confidence = serializers.SerializerMethodField(
        help_text="The share of draws from the inputs' intervals with this answer; null for the seed policy."
    )
    inputs = ObjectField(help_text="Each with its interval, where it comes from, and a link to that.")
    policy_members = ObjectField()
    result = ObjectField(help_text="Signals, conflicts, flips, money; as it was computed.")

    class Meta:
        model = StrategyRecommendation
        fields = [
            *("id", "strategy", "payback_months", "reasons", "confidence", "prompt", "version", "environment"),
            *("policy", "policy_number", "policy_members", "inputs", "result", "is_simulation", "by_name"),
            "created_at",
        ]

    def get_payback_months(self, kept: StrategyRecommendation) -> float | None:
        found: float | None = kept.result["payback_months"]
        return found

    def get_reasons(self, kept: StrategyRecommendation) -> list[str]:
        return list(kept.result["reasons"])

    def get_confidence(self, kept: StrategyRecommendation) -> float | None:
        found: float | None = kept.result.get("confidence")
        return found


class PolicySerializer(serializers.Serializer[Any]):
    number = serializers.IntegerField(help_text="0: as it comes with Cuebook.")
    members = ObjectField()


class PolicyInput(Input):
    members = ObjectField(help_text=f"What is not given stays: {', '.join(policies.TITLES)}.")


class RecommendationList(generics.GenericAPIView[StrategyRecommendation]):
    queryset = StrategyRecommendation.objects.none()
    serializer_class = RecommendationSerializer
    filter_backends = ()
    ordering = ("-id",)

    @extend_schema(
        operation_id="strategy_recommendations_list",
        parameters=[OpenApiParameter("prompt", str)],
        responses=RecommendationSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """What was recommended, newest first."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        rows = recommendations.loaded().filter(project=actor.project).order_by("-id")
        name = request.query_params.get("prompt")
        rows = rows.filter(prompt__name=name) if name else rows
        return self.get_paginated_response(self.get_serializer(self.paginate_queryset(rows), many=True).data)

    @extend_schema(
        operation_id="strategy_recommendations_create",
        request=RecommendationInput,
        responses={201: RecommendationSerializer},
    )
    def post(self, request: Request) -> Response:
        """Prompt, fine-tune or hybrid: from what is measured of a prompt, or from numbers; kept with all that it rests
        on."""
        asked = RecommendationInput.read(request)
        actor = actor_of(request)
        actor.require(Right.SEE)
        made = recommendations.recommend(actor, **recommendations.asked_for(actor.project, asked))
        made = recommendations.numbered(actor.project, made.pk)
        headers = {"Location": f"/api/v1/strategy/recommendations/{made.pk}"}
        return Response(dict(RecommendationSerializer(made).data), status=201, headers=headers)


class RecommendationDetail(APIView):
    @extend_schema(operation_id="strategy_recommendations_read", responses=RecommendationSerializer)
    def get(self, request: Request, key: int) -> Response:
        """One recommendation."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        return Response(RecommendationSerializer(recommendations.numbered(actor.project, key)).data)


class PolicyView(APIView):
    @extend_schema(operation_id="strategy_policy_read", responses=PolicySerializer)
    def get(self, request: Request) -> Response:
        """The numbers that recommendations go by."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        found, number = recommendations.policy_of(actor.project)
        return Response(PolicySerializer({"number": number, "members": found.as_dict()}).data)

    @extend_schema(operation_id="strategy_policy_set", request=PolicyInput, responses=PolicySerializer)
    def patch(self, request: Request) -> Response:
        """Make the next version of the policy; recommendations keep the one that they were made by."""
        asked = PolicyInput.read(request)
        made = recommendations.set_policy(actor_of(request), asked["members"])
        return Response(PolicySerializer({"number": made.number, "members": made.members}).data)
