"""Inference configs over REST: commit, fetch by environment, propose, follow recommendations."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from core.references import DEFAULT_ENVIRONMENT
from inference.api import serializers
from inference.configs import lifecycle as configs
from inference.configs.lifecycle import ConfigVersion
from inference.models import InferenceConfig
from registry.api.base import ProjectListView, ProjectView
from registry.promotions import environments
from registry.prompts import lifecycle as prompts


def config_document(config: InferenceConfig, config_version: ConfigVersion) -> dict[str, Any]:
    return {
        "task": config.task,
        "config": config_version.record.as_dict(),
        "number": config_version.version.number,
        "hash": config_version.version.content_hash,
        "holder": config.holder.name,
    }


class ConfigList(ProjectListView[InferenceConfig]):
    queryset = InferenceConfig.objects.none()
    serializer_class = serializers.InferenceConfigSummarySerializer
    ordering = ("id",)

    @extend_schema(
        operation_id="inference_configs_list", responses=serializers.InferenceConfigSummarySerializer(many=True)
    )
    def get(self, request: Request) -> Response:
        """List the project's inference configs."""
        rows = configs.configs_with_related().filter(project=self.actor.project).order_by("id")
        return self.page(rows)


class ConfigDetail(ProjectView):
    query_members = ("selector",)

    @extend_schema(
        operation_id="inference_configs_read",
        parameters=[OpenApiParameter("selector", str, description="production where it is not given.")],
        responses=serializers.InferenceConfigSerializer,
    )
    def get(self, request: Request, task: str) -> Response:
        """Read a task's config: live in an environment, or by number, latest or hash."""
        config = configs.get_config(self.actor.project, task)
        config_version = configs.get_config_version(config, request.query_params.get("selector") or DEFAULT_ENVIRONMENT)
        headers = {"ETag": f'"{config_version.version.content_hash}"', "Cache-Control": "private, max-age=5"}
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return Response(status=304, headers=headers)
        return Response(config_document(config, config_version), headers=headers)

    @extend_schema(
        operation_id="inference_configs_commit",
        request=serializers.InferenceConfigInput,
        responses=serializers.InferenceConfigSerializer,
    )
    def put(self, request: Request, task: str) -> Response:
        """Commit the next version of a task's config; the first creates it. Nothing is live before it is promoted."""
        body = serializers.InferenceConfigInput.read(request)
        config, config_version = configs.commit(self.actor, task, body["config"], message=body["message"])
        return Response(config_document(config, config_version))


class ConfigPropose(ProjectView):
    @extend_schema(
        operation_id="inference_configs_propose",
        request=serializers.InferenceConfigProposalInput,
        responses={201: serializers.InferenceConfigProposalSerializer},
    )
    def post(self, request: Request, task: str) -> Response:
        """Request a promotion of the newest version, like any other."""
        body = serializers.InferenceConfigProposalInput.read(request)
        config = configs.get_config(self.actor.project, task)
        environment = environments.get_environment(self.actor.project, body["environment"])
        promotion = configs.propose(self.actor, config, environment, reason=body["reason"])
        return Response({"promotion": promotion.pk}, status=201)


class ConfigFollow(ProjectView):
    @extend_schema(
        operation_id="inference_configs_follow",
        request=serializers.InferenceConfigFollowInput,
        responses=serializers.InferenceConfigSummarySerializer,
    )
    def post(self, request: Request, task: str) -> Response:
        """Follow a prompt's recommendations: another answer than what is live opens a promotion by itself."""
        body = serializers.InferenceConfigFollowInput.read(request)
        config = configs.get_config(self.actor.project, task)
        prompt = prompts.get_prompt(self.actor.project, body["prompt"]) if body["prompt"] else None
        return Response(serializers.InferenceConfigSummarySerializer(configs.follow(self.actor, config, prompt)).data)
