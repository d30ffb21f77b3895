"""Versions over REST: history, commit, the fetch, rendering and uses."""

from collections.abc import Iterable
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.errors import Problem
from core.references import HashPrefix, Reference, parse_selector
from registry.accounts.permissions import Right
from registry.api import serializers as shapes
from registry.api.authentication import actor_of
from registry.delivery import caching, request_scope
from registry.models import Inclusion, Project, PromptVersion
from registry.prompts import includes, resolution, versions
from registry.prompts import lifecycle as prompts

IF_MATCH = OpenApiParameter("If-Match", str, "header", description="Refuse with 412 where this has changed meanwhile.")
IF_NONE_MATCH = OpenApiParameter("If-None-Match", str, "header", description="Answer 304 where this is still so.")
# Enough to see who depends on a partial; the whole graph is in the export.
MOST_USES = 500


def version_document(versions: Iterable[PromptVersion]) -> list[dict[str, Any]]:
    """Versions as they are delivered, with what they include."""
    wanted = list(versions)
    context = {"partials": includes.partials_of(wanted)}
    return [dict(shapes.VersionSerializer(version, context=context).data) for version in wanted]


def select(project: Project, name: str, selector: str) -> PromptVersion:
    return resolution.resolve(project, Reference(name, parse_selector(selector)))


class VersionList(generics.GenericAPIView[PromptVersion]):
    queryset = PromptVersion.objects.none()
    serializer_class = shapes.VersionSummarySerializer
    filter_backends = ()
    ordering = ("-number",)

    @extend_schema(operation_id="versions_list", responses=shapes.VersionSummarySerializer(many=True))
    def get(self, request: Request, name: str) -> Response:
        """A prompt's history, newest first, without contents."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        prompt = prompts.named(actor.project, name)
        page = self.paginate_queryset(resolution.deliverable(prompt.versions.defer("content")))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(
        operation_id="versions_commit",
        request=shapes.CommitInput,
        responses={201: shapes.VersionSerializer, 200: shapes.VersionSerializer},
        parameters=[IF_MATCH],
    )
    def post(self, request: Request, name: str) -> Response:
        """Commit content: 201 for a new version, 200 with the version that has this content already.

        If-Match with the newest version's hash refuses a commit on top of something that the author has not seen.
        """
        asked = shapes.CommitInput.read(request)
        actor = actor_of(request)
        committed = versions.commit(
            actor,
            prompts.named(actor.project, name),
            expected_latest=caching.expected(request),
            **asked,
        )
        document = version_document([committed.version])[0]
        location = f"/api/v1/prompts/{name}/versions/{committed.version.number}"
        response = Response(document, status=201 if committed.created else 200, headers={"Location": location})
        response["ETag"] = f'"{committed.version.content_hash}"'
        return response


class VersionDetail(APIView):
    @extend_schema(
        operation_id="versions_fetch",
        responses={200: shapes.VersionSerializer, 304: None},
        parameters=[IF_NONE_MATCH],
    )
    def get(self, request: Request, name: str, selector: str) -> Response:
        """**The fetch.** A version by number, environment, `latest`, or hash."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        chosen = parse_selector(selector)
        version = resolution.resolve(actor.project, Reference(name, chosen))
        return fetched(request, version, caching.cache_policy(chosen))


class VersionByHash(APIView):
    @extend_schema(
        operation_id="versions_fetch_by_hash",
        responses={200: shapes.VersionSerializer, 304: None},
        parameters=[IF_NONE_MATCH],
    )
    def get(self, request: Request, hash: str) -> Response:  # noqa: A002 - the name in the address
        """A version by content hash alone."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        prefix = hash_selector(hash)
        version = resolution.resolve_hash(actor.project, prefix)
        return fetched(request, version, caching.cache_policy(prefix))


def hash_selector(text: str) -> HashPrefix:
    selector = parse_selector(text)
    if not isinstance(selector, HashPrefix):
        raise Problem("prompt.invalid_selector", "A hash is written sha256: and 12 to 64 lower-case hex digits.")
    return selector


def fetched(request: Request, version: PromptVersion, policy: str) -> Response:
    request_scope.versions([version.pk])
    if caching.is_fresh(request, version.content_hash):
        return caching.with_headers(Response(status=304), version.content_hash, policy)
    return caching.with_headers(Response(version_document([version])[0]), version.content_hash, policy)


class VersionRender(APIView):
    @extend_schema(operation_id="versions_render", request=shapes.RenderInput, responses=shapes.RenderedSerializer)
    def post(self, request: Request, name: str, selector: str) -> Response:
        """The request that a provider gets for these variables."""
        asked = shapes.RenderInput.read(request)
        actor = actor_of(request)
        actor.require(Right.SEE)
        version = select(actor.project, name, selector)
        rendered = versions.render(version, asked["variables"])
        return Response({"prompt": name, "number": version.number, "hash": version.content_hash, **rendered})


class VersionUses(APIView):
    @extend_schema(operation_id="versions_uses", responses=shapes.UsesSerializer)
    def get(self, request: Request, name: str, selector: str) -> Response:
        """What a version includes, and which versions include it (the newest 500)."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        version = select(actor.project, name, selector)
        below = Inclusion.objects.filter(version=version).select_related("included__prompt")
        above = Inclusion.objects.filter(included=version).select_related("version__prompt").order_by("-id")[:MOST_USES]
        return Response(
            {
                "uses": [use_document(inclusion.included, inclusion.name) for inclusion in below],
                "used_by": [use_document(inclusion.version, inclusion.name) for inclusion in above],
            }
        )


def use_document(version: PromptVersion, included_as: str) -> dict[str, Any]:
    return {
        "prompt": version.prompt.name,
        "number": version.number,
        "hash": version.content_hash,
        "included_as": included_as,
    }
