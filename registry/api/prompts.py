"""Prompts over REST: list, create, describe, archive, compare, and fetching many at once."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from core.errors import Problem
from core.references import Reference, parse_reference
from infra.serializer_fields import EmptyInput
from registry.accounts.permissions import Right
from registry.api.base import ProjectListView, ProjectView
from registry.api.filters import PromptFilter
from registry.api.serializers import prompts as serializers
from registry.api.serializers.versions import VersionIdentitySerializer
from registry.api.versions import IF_NONE_MATCH, select_version, version_documents
from registry.content import diff
from registry.delivery import caching, fetch_stats, request_scope, snapshots
from registry.models import Prompt, PromptVersion
from registry.promotions import environments
from registry.prompts import lifecycle as prompts
from registry.prompts import listing, resolution, traffic
from registry.prompts.pinned import pinned_by, pinned_changes


class PromptList(ProjectListView[Prompt]):
    queryset = Prompt.objects.none()
    serializer_class = serializers.PromptSerializer
    filterset_class = PromptFilter
    ordering = ("name",)

    def get_queryset(self) -> QuerySet[Prompt]:
        return listing.prompts_with_heads(self.actor.project)

    @extend_schema(operation_id="prompts_list", responses=serializers.PromptSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List prompts by name, with their newest version and what is live where."""
        return self.page(self.get_queryset())

    @extend_schema(
        operation_id="prompts_create", request=serializers.PromptInput, responses={201: serializers.PromptSerializer}
    )
    def post(self, request: Request) -> Response:
        """Create a prompt; its content comes as a version."""
        body = serializers.PromptInput.read(request)
        prompt = prompts.create(self.actor, **body)
        return Response(prompt_document(prompt), status=201, headers={"Location": f"/api/v1/prompts/{prompt.name}"})


def prompt_document(prompt: Prompt) -> dict[str, Any]:
    row = listing.prompts_with_heads(prompt.project).get(pk=prompt.pk)
    return dict(serializers.PromptSerializer(row).data)


class PromptDetail(ProjectView):
    @extend_schema(operation_id="prompts_read", responses=serializers.PromptSerializer)
    def get(self, request: Request, name: str) -> Response:
        """Read a prompt, with its newest version and what is live where."""
        return Response(prompt_document(prompts.get_prompt(self.actor.project, name)))

    @extend_schema(
        operation_id="prompts_describe", request=serializers.PromptChange, responses=serializers.PromptSerializer
    )
    def patch(self, request: Request, name: str) -> Response:
        """Change a prompt's description or tags."""
        body = serializers.PromptChange.read(request)
        prompt = prompts.describe(self.actor, prompts.get_prompt(self.actor.project, name), **body)
        return Response(prompt_document(prompt))


class PromptArchive(ProjectView):
    @extend_schema(operation_id="prompts_archive", request=EmptyInput, responses=serializers.PromptSerializer)
    def post(self, request: Request, name: str) -> Response:
        """Archive a prompt. Nothing is deleted; what is live or included cannot be archived."""
        return Response(prompt_document(prompts.archive(self.actor, prompts.get_prompt(self.actor.project, name))))


class PromptRestore(ProjectView):
    @extend_schema(operation_id="prompts_restore", request=EmptyInput, responses=serializers.PromptSerializer)
    def post(self, request: Request, name: str) -> Response:
        """Restore an archived prompt."""
        return Response(prompt_document(prompts.restore(self.actor, prompts.get_prompt(self.actor.project, name))))


class PromptBatch(ProjectView):
    # Fetching only reads, though by POST: a hundred references are too long for an address.
    write_right = Right.SEE

    @extend_schema(operation_id="prompts_batch", request=serializers.BatchInput, responses=serializers.BatchSerializer)
    def post(self, request: Request) -> Response:
        """Fetch up to 100 references in one call; each is answered with its version or its problem."""
        body = serializers.BatchInput.read(request)
        texts: list[str] = body["references"]
        parsed = [_parse_or_problem(text) for text in texts]
        references = [reference for reference in parsed if isinstance(reference, Reference)]
        resolved = dict(zip(references, resolution.resolve_many(self.actor.project, references), strict=True))
        outcomes = [resolved[outcome] if isinstance(outcome, Reference) else outcome for outcome in parsed]
        versions = {outcome.pk: outcome for outcome in outcomes if isinstance(outcome, PromptVersion)}
        documents = dict(zip(versions, version_documents(versions.values()), strict=True))
        results = [
            {"reference": text, "problem": outcome.as_document()}
            if isinstance(outcome, Problem)
            else {"reference": text, "version": documents[outcome.pk]}
            for text, outcome in zip(texts, outcomes, strict=True)
        ]
        return Response({"results": results})


def _parse_or_problem(text: str) -> Reference | Problem:
    try:
        return parse_reference(text)
    except Problem as problem:
        return problem


class PromptFetches(ProjectView):
    @extend_schema(operation_id="prompts_fetches", responses=serializers.FetchCountsSerializer(many=True))
    def get(self, request: Request, name: str) -> Response:
        """Read how often each version was fetched, and when last; counted in batches, so some seconds late."""
        counts = fetch_stats.fetches_by_version(prompts.get_prompt(self.actor.project, name))
        return Response(serializers.FetchCountsSerializer(counts, many=True).data)


class EnvironmentSnapshot(ProjectView):
    query_members = ("since", "experiments")

    @extend_schema(
        operation_id="environments_snapshot",
        responses={200: serializers.SnapshotSerializer, 304: None},
        parameters=[
            IF_NONE_MATCH,
            OpenApiParameter("since", str, description="An earlier ETag: only what has changed; 410 if too old."),
            OpenApiParameter(
                "experiments", str, enum=["1"], description="With what experiments serve, to assign subjects by."
            ),
        ],
    )
    def get(self, request: Request, environment: str) -> Response:
        """Fetch everything that is live in an environment, by prompt name, or what changed since an earlier answer."""
        row = environments.get_environment(self.actor.project, environment)
        live = list(resolution.live_versions(self.actor.project, row))
        request_scope.add_versions(version.pk for version in live)
        experiments: dict[str, dict[str, Any]] = {}
        arms: list[PromptVersion] = []
        if (with_experiments := request.query_params.get("experiments", "")) not in ("", "1"):
            raise Problem("request.invalid", "experiments is 1, or left out.")
        if with_experiments:
            experiments, arms = traffic.experiments_in(row)
        hashes = {version.prompt.name: version.content_hash for version in live}
        tag = snapshots.record_snapshot(row, hashes, experiments)
        if caching.is_fresh(request, tag):
            return caching.set_cache_headers(Response(status=304), tag, caching.MUTABLE)
        body: dict[str, Any] = {"environment": row.name}
        since = request.query_params.get("since", "").strip('"')
        if since:
            changed = snapshots.changes_since(row, since, live)
            body |= {"since": since, "removed": changed.removed}
            live = changed.versions
        documents = {document["prompt"]: document for document in version_documents(live)}
        body["prompts"] = documents
        if experiments:
            # All of them at each change, with their arms: they are few.
            body["experiments"] = experiments
            body["arms"] = {document["hash"]: document for document in version_documents(arms)}
        return caching.set_cache_headers(Response(body), tag, caching.MUTABLE)


class PromptDiff(ProjectView):
    query_members = ("from", "to")

    @extend_schema(
        operation_id="prompts_diff",
        responses=serializers.DiffSerializer,
        parameters=[
            OpenApiParameter("from", str, required=True, description="Selector of the older version."),
            OpenApiParameter("to", str, required=True, description="Selector of the newer version."),
        ],
    )
    def get(self, request: Request, name: str) -> Response:
        """Compare two versions: text, settings, variables, schema, tools, and whatever they pin, unfolded."""
        selectors = [self._selector(request, member) for member in ("from", "to")]
        old, new = (select_version(self.actor.project, name, selector) for selector in selectors)
        points = {"old": VersionIdentitySerializer(old).data, "new": VersionIdentitySerializer(new).data}
        pinned = serializers.PinnedChangeSerializer(pinned_changes(pinned_by(old), new), many=True).data
        return Response({"prompt": name, **points, **diff.diff(old.content, new.content), "pinned": pinned})

    def _selector(self, request: Request, member: str) -> str:
        text = request.query_params.get(member)
        if not text:
            raise Problem("prompt.invalid_selector", f"Say which version with ?{member}=.")
        return text
