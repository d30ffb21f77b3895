"""Checks over REST."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from registry.api.base import ProjectListView
from registry.api.serializers import versions as serializers
from registry.api.versions import parse_hash_selector
from registry.models import VersionCheck
from registry.promotions import checks
from registry.prompts import resolution


class VersionChecks(ProjectListView[VersionCheck]):
    queryset = VersionCheck.objects.none()
    serializer_class = serializers.CheckSerializer
    ordering = ("name", "prompt_id", "environment_id", "-id")

    @extend_schema(operation_id="checks_list", responses=serializers.CheckSerializer(many=True))
    def get(self, request: Request, hash: str) -> Response:  # noqa: A002 - the name in the address
        """List the newest result of each check on a version's hash; a gate's for each prompt with that content."""
        version = resolution.resolve_hash(self.actor.project, parse_hash_selector(hash))
        rows = self.actor.project.checks.filter(content_hash=version.content_hash)
        newest = rows.distinct("name", "prompt_id", "environment_id")
        return self.page(newest.select_related("prompt", "environment"))

    @extend_schema(
        operation_id="checks_record", request=serializers.CheckInput, responses={201: serializers.CheckSerializer}
    )
    def post(self, request: Request, hash: str) -> Response:  # noqa: A002 - the name in the address
        """Record a check's result on a version's hash."""
        body = serializers.CheckInput.read(request)
        version = resolution.resolve_hash(self.actor.project, parse_hash_selector(hash))
        check = checks.record(self.actor, version, **body)
        return Response(serializers.CheckSerializer(check).data, status=201)
