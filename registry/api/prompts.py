"""Prompts and their versions over REST."""

from collections.abc import Iterable
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from registry import checks, diffing, environments, includes, listing, prompts, releases, resolution, versions
from registry.access import Right
from registry.api import conditional
from registry.api import serializers as shapes
from registry.api.authentication import actor_of
from registry.api.filters import PromptFilter, ReleaseFilter
from registry.identity import content_hash
from registry.models import Inclusion, Project, Prompt, PromptVersion, Release, VersionCheck
from registry.problems import Problem
from registry.references import HashPrefix, Reference, parse_reference, parse_selector

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
            expected_latest=conditional.expected(request),
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
        return fetched(request, version, conditional.cache_policy(chosen))


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
        return fetched(request, version, conditional.cache_policy(prefix))


def hash_selector(text: str) -> HashPrefix:
    selector = parse_selector(text)
    if not isinstance(selector, HashPrefix):
        raise Problem("prompt.invalid_selector", "A hash is written sha256: and 12 to 64 lower-case hex digits.")
    return selector


def fetched(request: Request, version: PromptVersion, policy: str) -> Response:
    if conditional.is_fresh(request, version.content_hash):
        return conditional.with_headers(Response(status=304), version.content_hash, policy)
    return conditional.with_headers(Response(version_document([version])[0]), version.content_hash, policy)


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


class EnvironmentSnapshot(APIView):
    @extend_schema(
        operation_id="environments_snapshot",
        responses={200: shapes.SnapshotSerializer, 304: None},
        parameters=[IF_NONE_MATCH],
    )
    def get(self, request: Request, environment: str) -> Response:
        """Everything that is live in an environment, by prompt name."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        chosen = environments.named(actor.project, environment)
        live = list(resolution.live_versions(actor.project, chosen))
        tag = content_hash({version.prompt.name: version.content_hash for version in live})
        if conditional.is_fresh(request, tag):
            return conditional.with_headers(Response(status=304), tag, conditional.MUTABLE)
        documents = {document["prompt"]: document for document in version_document(live)}
        body = {"environment": chosen.name, "prompts": documents}
        return conditional.with_headers(Response(body), tag, conditional.MUTABLE)


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
        return Response({"prompt": name, **points, **diffing.diff(old.content, new.content)})

    def _selector(self, request: Request, member: str) -> str:
        text = request.query_params.get(member)
        if not text:
            raise Problem("prompt.invalid_selector", f"Say which version with ?{member}=.")
        return text


class ReleaseList(generics.GenericAPIView[Release]):
    queryset = Release.objects.none()
    serializer_class = shapes.ReleaseSerializer
    filterset_class = ReleaseFilter
    ordering = ("-id",)

    @extend_schema(operation_id="releases_list", responses=shapes.ReleaseSerializer(many=True))
    def get(self, request: Request, name: str) -> Response:
        """What was live where and when, newest first."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        prompt = prompts.named(actor.project, name)
        rows = Release.objects.filter(prompt=prompt)
        rows = rows.select_related("environment", "prompt", "version", "promotion").defer("version__content")
        page = self.paginate_queryset(self.filter_queryset(rows))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)


class PromptRollback(APIView):
    @extend_schema(
        operation_id="prompts_rollback",
        request=shapes.RollbackInput,
        responses=shapes.ReleaseSerializer,
        parameters=[IF_MATCH],
    )
    def post(self, request: Request, name: str) -> Response:
        """Make an earlier released version live again; without `to`, the one before what is live."""
        asked = shapes.RollbackInput.read(request)
        actor = actor_of(request)
        prompt = prompts.named(actor.project, name)
        environment = environments.named(actor.project, asked["environment"])
        target = select(actor.project, name, asked["to"]) if "to" in asked else None
        release = releases.roll_back(
            actor,
            prompt,
            environment,
            to=target,
            reason=asked["reason"],
            expected_live=conditional.expected(request),
        )
        return Response(shapes.ReleaseSerializer(release).data)


class VersionChecks(generics.GenericAPIView[VersionCheck]):
    queryset = VersionCheck.objects.none()
    serializer_class = shapes.CheckSerializer
    filter_backends = ()
    ordering = ("name", "-id")

    @extend_schema(operation_id="checks_list", responses=shapes.CheckSerializer(many=True))
    def get(self, request: Request, hash: str) -> Response:  # noqa: A002 - the name in the address
        """The newest result of each check on a version's hash."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        version = resolution.resolve_hash(actor.project, hash_selector(hash))
        page = self.paginate_queryset(actor.project.checks.filter(content_hash=version.content_hash).distinct("name"))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(operation_id="checks_record", request=shapes.CheckInput, responses={201: shapes.CheckSerializer})
    def post(self, request: Request, hash: str) -> Response:  # noqa: A002 - the name in the address
        """Record a check's result on a version's hash."""
        asked = shapes.CheckInput.read(request)
        actor = actor_of(request)
        version = resolution.resolve_hash(actor.project, hash_selector(hash))
        check = checks.record(actor, version, **asked)
        return Response(shapes.CheckSerializer(check).data, status=201)
