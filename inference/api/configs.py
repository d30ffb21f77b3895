"""Inference configs over REST: commit, fetch by environment, propose, follow."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.references import DEFAULT_ENVIRONMENT
from inference.configs import lifecycle as configs
from inference.configs.lifecycle import Stated
from inference.models import InferenceConfig
from infra.serializer_fields import Input, ObjectField, Text
from registry.accounts.permissions import Right
from registry.api.authentication import actor_of
from registry.promotions import environments
from registry.prompts import lifecycle as prompts

MEMBERS = "strategy, model, prompt, max_tokens, temperature, response_format, retrieval."


class ConfigInput(Input):
    config = ObjectField(help_text=MEMBERS)
    message = Text(required=False, default="", max_length=500)


class ConfigSerializer(serializers.Serializer[Any]):
    task = serializers.CharField()
    config = ObjectField(help_text=MEMBERS)
    number = serializers.IntegerField()
    hash = serializers.CharField(help_text="Of the config's content; the prompt that it refers to is pinned in it.")
    holder = serializers.CharField(help_text="The text prompt whose versions hold it.")


class ConfigRowSerializer(serializers.ModelSerializer[InferenceConfig]):
    holder = serializers.CharField()
    follows = serializers.CharField(allow_null=True, help_text="The prompt whose recommendations it follows.")
    versions = serializers.IntegerField(source="holder.head.number", allow_null=True, default=None)

    class Meta:
        model = InferenceConfig
        fields = ["task", "holder", "versions", "follows", "by_name", "created_at"]


class ConfigProposalInput(Input):
    environment = Text(allow_blank=False)
    reason = Text(required=False, default="")


class ConfigProposalSerializer(serializers.Serializer[Any]):
    promotion = serializers.IntegerField()


class ConfigFollowInput(Input):
    prompt = Text(required=False, default="", help_text="A prompt's name; empty to follow none.")


def document(config: InferenceConfig, stated: Stated) -> dict[str, Any]:
    return {
        "task": config.task,
        "config": stated.record.as_dict(),
        "number": stated.version.number,
        "hash": stated.version.content_hash,
        "holder": config.holder.name,
    }


class ConfigList(generics.GenericAPIView[InferenceConfig]):
    queryset = InferenceConfig.objects.none()
    serializer_class = ConfigRowSerializer
    filter_backends = ()
    ordering = ("id",)

    @extend_schema(operation_id="inference_configs_list", responses=ConfigRowSerializer(many=True))
    def get(self, request: Request) -> Response:
        """The project's configs."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        rows = configs.loaded().filter(project=actor.project).order_by("id")
        return self.get_paginated_response(self.get_serializer(self.paginate_queryset(rows), many=True).data)


class ConfigDetail(APIView):
    @extend_schema(
        operation_id="inference_configs_read",
        parameters=[OpenApiParameter("selector", str, description="production where it is not given.")],
        responses=ConfigSerializer,
    )
    def get(self, request: Request, task: str) -> Response:
        """What a task's config says: live in an environment, or by number, latest or hash."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        config = configs.named(actor.project, task)
        stated = configs.selected(config, request.query_params.get("selector") or DEFAULT_ENVIRONMENT)
        headers = {"ETag": f'"{stated.version.content_hash}"', "Cache-Control": "private, max-age=5"}
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return Response(status=304, headers=headers)
        return Response(document(config, stated), headers=headers)

    @extend_schema(operation_id="inference_configs_commit", request=ConfigInput, responses=ConfigSerializer)
    def put(self, request: Request, task: str) -> Response:
        """Keep the next version of a task's config; the first makes it. Nothing is live before it is promoted."""
        asked = ConfigInput.read(request)
        config, stated = configs.commit(actor_of(request), task, asked["config"], message=asked["message"])
        return Response(document(config, stated))


class ConfigPropose(APIView):
    @extend_schema(
        operation_id="inference_configs_propose", request=ConfigProposalInput, responses={201: ConfigProposalSerializer}
    )
    def post(self, request: Request, task: str) -> Response:
        """Ask for the newest version to be made live: a promotion like any other."""
        asked = ConfigProposalInput.read(request)
        actor = actor_of(request)
        config = configs.named(actor.project, task)
        environment = environments.named(actor.project, asked["environment"])
        made = configs.propose(actor, config, environment, reason=asked["reason"])
        return Response({"promotion": made.pk}, status=201)


class ConfigFollow(APIView):
    @extend_schema(operation_id="inference_configs_follow", request=ConfigFollowInput, responses=ConfigRowSerializer)
    def post(self, request: Request, task: str) -> Response:
        """Follow a prompt's recommendations: another answer than what is live opens a promotion by itself."""
        asked = ConfigFollowInput.read(request)
        actor = actor_of(request)
        config = configs.named(actor.project, task)
        prompt = prompts.named(actor.project, asked["prompt"]) if asked["prompt"] else None
        return Response(ConfigRowSerializer(configs.follow(actor, config, prompt)).data)
