"""Recommendations and their policy over REST."""

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from finetunes.api import serializers
from finetunes.models import StrategyRecommendation
from finetunes.strategy import recommendations
from registry.accounts.permissions import Right
from registry.api.base import ProjectListView, ProjectView


class RecommendationList(ProjectListView[StrategyRecommendation]):
    query_members = ("prompt",)
    queryset = StrategyRecommendation.objects.none()
    serializer_class = serializers.RecommendationSerializer
    ordering = ("-id",)
    # A recommendation is saved, but changes nothing else: everybody who can read the figures may request one.
    write_right = Right.SEE

    @extend_schema(
        operation_id="strategy_recommendations_list",
        parameters=[OpenApiParameter("prompt", str)],
        responses=serializers.RecommendationSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """List recommendations, newest first."""
        rows = recommendations.recommendations_with_related().filter(project=self.actor.project).order_by("-id")
        name = request.query_params.get("prompt")
        rows = rows.filter(prompt__name=name) if name else rows
        return self.page(rows)

    @extend_schema(
        operation_id="strategy_recommendations_create",
        request=serializers.RecommendationInput,
        responses={201: serializers.RecommendationSerializer},
    )
    def post(self, request: Request) -> Response:
        """Recommend prompt, fine-tune or hybrid, from measurements of a prompt or from numbers. It is saved with its
        evidence."""
        body = serializers.RecommendationInput.read(request)
        recommendation = recommendations.recommend(self.actor, **recommendations.read_request(self.actor.project, body))
        recommendation = recommendations.get_recommendation(self.actor.project, recommendation.pk)
        headers = {"Location": f"/api/v1/strategy/recommendations/{recommendation.pk}"}
        return Response(dict(serializers.RecommendationSerializer(recommendation).data), status=201, headers=headers)


class RecommendationDetail(ProjectView):
    @extend_schema(operation_id="strategy_recommendations_read", responses=serializers.RecommendationSerializer)
    def get(self, request: Request, key: int) -> Response:
        """Read a recommendation."""
        return Response(
            serializers.RecommendationSerializer(recommendations.get_recommendation(self.actor.project, key)).data
        )


class PolicyView(ProjectView):
    write_right = Right.ADMINISTER

    @extend_schema(operation_id="strategy_policy_read", responses=serializers.StrategyPolicySerializer)
    def get(self, request: Request) -> Response:
        """Read the policy: the numbers by which recommendations are made."""
        policy, number = recommendations.current_policy(self.actor.project)
        return Response(serializers.StrategyPolicySerializer({"number": number, "members": policy.as_dict()}).data)

    @extend_schema(
        operation_id="strategy_policy_set",
        request=serializers.StrategyPolicyInput,
        responses=serializers.StrategyPolicySerializer,
    )
    def patch(self, request: Request) -> Response:
        """Set the next version of the policy; recommendations keep the one by which they were made."""
        body = serializers.StrategyPolicyInput.read(request)
        policy = recommendations.set_policy(self.actor, body["members"])
        return Response(serializers.StrategyPolicySerializer({"number": policy.number, "members": policy.members}).data)
