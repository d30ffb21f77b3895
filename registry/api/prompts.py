"""Prompts over REST: list, create, describe, archive, compare, and fetching many at once."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.errors import Problem
from core.references import Reference, parse_reference
from registry.accounts.permissions import Right
from registry.api import serializers as shapes
from registry.api.authentication import actor_of
from registry.api.filters import PromptFilter
from registry.api.versions import IF_NONE_MATCH, select, version_document
from registry.content import diff
from registry.delivery import caching, fetch_stats, request_scope, snapshots
from registry.models import Prompt, PromptVersion
from registry.promotions import environments
from registry.prompts import lifecycle as prompts
from registry.prompts import listing, resolution


class PromptList(generics.GenericAPIView[Prompt]):
    queryset = Prompt.objects.none()
    serializer_class = shapes.PromptSerializer
    filterset_class = PromptFilter
    ordering = ("name",)

    def get_queryset(self) -> QuerySet[Prompt]:
        return listing.prompts(actor_of(self.request).project)

    @extend_schema(operation_id="prompts_list", responses=shapes.PromptSerializer(many=True))
    def get(self, request: Request) -> Response:
        """Prompts by name, with what is newest and what is live where."""
        actor_of(request).require(Right.SEE)
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(operation_id="prompts_create", request=shapes.PromptInput, responses={201: shapes.PromptSerializer})
    def post(self, request: Request) -> Response:
        """Create a prompt; its content comes as a version."""
        asked = shapes.PromptInput.read(request)
        prompt = prompts.create(actor_of(request), **asked)
        return Response(prompt_document(prompt), status=201, headers={"Location": f"/api/v1/prompts/{prompt.name}"})


def prompt_document(prompt: Prompt) -> dict[str, Any]:
    shown = listing.prompts(prompt.project).get(pk=prompt.pk)
    return dict(shapes.PromptSerializer(shown).data)


class PromptDetail(APIView):
    @extend_schema(operation_id="prompts_read", responses=shapes.PromptSerializer)
    def get(self, request: Request, name: str) -> Response:
        """One prompt, with what is newest and what is live where."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        return Response(prompt_document(prompts.named(actor.project, name)))

    @extend_schema(operation_id="prompts_describe", request=shapes.PromptChange, responses=shapes.PromptSerializer)
    def patch(self, request: Request, name: str) -> Response:
        """Change a prompt's description or tags."""
        asked = shapes.PromptChange.read(request)
        actor = actor_of(request)
        prompt = prompts.describe(actor, prompts.named(actor.project, name), **asked)
        return Response(prompt_document(prompt))


class PromptArchive(APIView):
    @extend_schema(operation_id="prompts_archive", request=shapes.NothingInput, responses=shapes.PromptSerializer)
    def post(self, request: Request, name: str) -> Response:
        """Take a prompt out of use. Nothing is deleted; what is live or included cannot be archived."""
        actor = actor_of(request)
        return Response(prompt_document(prompts.archive(actor, prompts.named(actor.project, name))))


class PromptRestore(APIView):
    @extend_schema(operation_id="prompts_restore", request=shapes.NothingInput, responses=shapes.PromptSerializer)
    def post(self, request: Request, name: str) -> Response:
        """Bring an archived prompt back."""
        actor = actor_of(request)
        return Response(prompt_document(prompts.restore(actor, prompts.named(actor.project, name))))


class PromptBatch(APIView):
    @extend_schema(operation_id="prompts_batch", request=shapes.BatchInput, responses=shapes.BatchSerializer)
    def post(self, request: Request) -> Response:
        """Up to 100 references in one call; each is answered with its version or its problem."""
        asked = shapes.BatchInput.read(request)
        actor = actor_of(request)
        actor.require(Right.SEE)
        texts: list[str] = asked["references"]
        parsed = [_parsed(text) for text in texts]
        readable = [reference for reference in parsed if isinstance(reference, Reference)]
        answers = dict(zip(readable, resolution.resolve_many(actor.project, readable), strict=True))
        found = [answers[one] if isinstance(one, Reference) else one for one in parsed]
        chosen = {one.pk: one for one in found if isinstance(one, PromptVersion)}
        documents = dict(zip(chosen, version_document(chosen.values()), strict=True))
        results = [
            {"reference": text, "problem": one.as_document()}
            if isinstance(one, Problem)
            else {"reference": text, "version": documents[one.pk]}
            for text, one in zip(texts, found, strict=True)
        ]
        return Response({"results": results})


def _parsed(text: str) -> Reference | Problem:
    try:
        return parse_reference(text)
    except Problem as problem:
        return problem


class PromptFetches(APIView):
    @extend_schema(operation_id="prompts_fetches", responses=shapes.FetchedSerializer(many=True))
    def get(self, request: Request, name: str) -> Response:
        """How often each version was fetched, and when last; counted in batches, so some seconds late."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        found = fetch_stats.of_prompt(prompts.named(actor.project, name))
        return Response(shapes.FetchedSerializer(found, many=True).data)


class EnvironmentSnapshot(APIView):
    @extend_schema(
        operation_id="environments_snapshot",
        responses={200: shapes.SnapshotSerializer, 304: None},
        parameters=[
            IF_NONE_MATCH,
            OpenApiParameter("since", str, description="An earlier ETag: only what has changed; 410 if too old."),
        ],
    )
    def get(self, request: Request, environment: str) -> Response:
        """Everything that is live in an environment, by prompt name; or what has changed since an earlier answer."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        chosen = environments.named(actor.project, environment)
        live = list(resolution.live_versions(actor.project, chosen))
        request_scope.versions(version.pk for version in live)
        tag = snapshots.keep(chosen, {version.prompt.name: version.content_hash for version in live})
        if caching.is_fresh(request, tag):
            return caching.with_headers(Response(status=304), tag, caching.MUTABLE)
        body: dict[str, Any] = {"environment": chosen.name}
        since = request.query_params.get("since", "").strip('"')
        if since:
            changed = snapshots.changed(chosen, since, live)
            body |= {"since": since, "removed": changed.removed}
            live = changed.versions
        documents = {document["prompt"]: document for document in version_document(live)}
        return caching.with_headers(Response({**body, "prompts": documents}), tag, caching.MUTABLE)


class PromptDiff(APIView):
    @extend_schema(
        operation_id="prompts_diff",
        responses=shapes.DiffSerializer,
        parameters=[
            OpenApiParameter("from", str, required=True, description="Selector of the older version."),
            OpenApiParameter("to", str, required=True, description="Selector of the newer version."),
        ],
    )
    def get(self, request: Request, name: str) -> Response:
        """What differs between two versions: text, settings, variables, schema, tools, examples, partials."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        old, new = (select(actor.project, name, self._selector(request, member)) for member in ("from", "to"))
        points = {"old": shapes.VersionPoint(old).data, "new": shapes.VersionPoint(new).data}
        return Response({"prompt": name, **points, **diff.diff(old.content, new.content)})

    def _selector(self, request: Request, member: str) -> str:
        text = request.query_params.get(member)
        if not text:
            raise Problem("prompt.invalid_selector", f"Say which version with ?{member}=.")
        return text
