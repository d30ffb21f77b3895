"""Releases over REST: the history, and rolling back."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from registry.accounts.permissions import Right
from registry.api.base import ProjectListView, ProjectView
from registry.api.filters import ReleaseFilter
from registry.api.serializers import promotions as serializers
from registry.api.versions import IF_MATCH, select_version
from registry.delivery import caching
from registry.models import Release
from registry.promotions import environments, releases
from registry.prompts import lifecycle as prompts


class ReleaseList(ProjectListView[Release]):
    queryset = Release.objects.none()
    serializer_class = serializers.ReleaseSerializer
    filterset_class = ReleaseFilter
    ordering = ("-id",)

    @extend_schema(operation_id="releases_list", responses=serializers.ReleaseSerializer(many=True))
    def get(self, request: Request, name: str) -> Response:
        """List a prompt's releases, newest first."""
        prompt = prompts.get_prompt(self.actor.project, name)
        rows = Release.objects.filter(prompt=prompt)
        rows = rows.select_related("environment", "prompt", "version", "promotion").defer("version__content")
        return self.page(rows)


class PromptRollback(ProjectView):
    write_right = Right.APPLY

    @extend_schema(
        operation_id="prompts_rollback",
        request=serializers.RollbackInput,
        responses=serializers.ReleaseSerializer,
        parameters=[IF_MATCH],
    )
    def post(self, request: Request, name: str) -> Response:
        """Roll back to an earlier release: to the one before what is live, where `to` is not given."""
        body = serializers.RollbackInput.read(request)
        prompt = prompts.get_prompt(self.actor.project, name)
        environment = environments.get_environment(self.actor.project, body["environment"])
        target = select_version(self.actor.project, name, body["to"]) if "to" in body else None
        release = releases.roll_back(
            self.actor,
            prompt,
            environment,
            to=target,
            reason=body["reason"],
            expected_live=caching.expected_tag(request),
        )
        return Response(serializers.ReleaseSerializer(release).data)
