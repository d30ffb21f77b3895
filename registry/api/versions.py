"""Versions over REST: history, commit, the fetch, rendering and uses."""

from collections.abc import Iterable
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from core.errors import Fault, Problem
from core.model_settings import as_chat_completions
from core.references import Environment, HashPrefix, Reference, parse_selector
from registry.accounts.permissions import Right
from registry.api.base import ProjectListView, ProjectView
from registry.api.serializers import versions as serializers
from registry.delivery import caching, request_scope
from registry.delivery.wsgi import MAX_SUBJECT
from registry.images.lookup import with_data
from registry.models import Inclusion, Project, PromptVersion
from registry.prompts import includes, resolution, traffic, versions
from registry.prompts import lifecycle as prompts

IF_MATCH = OpenApiParameter("If-Match", str, "header", description="Refuse with 412 where this has changed meanwhile.")
IF_NONE_MATCH = OpenApiParameter("If-None-Match", str, "header", description="Answer 304 where this has not changed.")
# Enough to see which prompts depend on a partial; the whole graph is in the export.
MAX_USES = 500


def version_documents(versions: Iterable[PromptVersion]) -> list[dict[str, Any]]:
    """Return versions as they are delivered, with what they include."""
    rows = list(versions)
    # One serializer for all, which makes its fields once.
    serializer = serializers.VersionSerializer(context={"partials": includes.get_partials(rows)})
    return [serializer.to_representation(version) for version in rows]


def select_version(project: Project, name: str, selector: str) -> PromptVersion:
    return resolution.resolve(project, Reference(name, parse_selector(selector)))


class VersionList(ProjectListView[PromptVersion]):
    queryset = PromptVersion.objects.none()
    serializer_class = serializers.VersionSummarySerializer
    ordering = ("-number",)

    @extend_schema(operation_id="versions_list", responses=serializers.VersionSummarySerializer(many=True))
    def get(self, request: Request, name: str) -> Response:
        """List a prompt's versions, newest first, without contents."""
        prompt = prompts.get_prompt(self.actor.project, name)
        return self.page(resolution.with_live_environments(prompt.versions.defer("content")))

    @extend_schema(
        operation_id="versions_commit",
        request=serializers.CommitInput,
        responses={201: serializers.VersionSerializer, 200: serializers.VersionSerializer},
        parameters=[IF_MATCH],
    )
    def post(self, request: Request, name: str) -> Response:
        """Commit content: 201 for a new version, 200 with the version that has this content already.

        If-Match with the newest version's hash refuses a commit on top of something that the author has not seen.
        """
        body = serializers.CommitInput.read(request)
        committed = versions.commit(
            self.actor,
            prompts.get_prompt(self.actor.project, name),
            expected_latest=caching.expected_tag(request),
            **body,
        )
        document = version_documents([committed.version])[0]
        location = f"/api/v1/prompts/{name}/versions/{committed.version.number}"
        response = Response(document, status=201 if committed.created else 200, headers={"Location": location})
        response["ETag"] = f'"{committed.version.content_hash}"'
        return response


class VersionDetail(ProjectView):
    query_members = ("subject",)

    @extend_schema(
        operation_id="versions_fetch",
        responses={200: serializers.FetchedVersionSerializer, 304: None},
        parameters=[
            IF_NONE_MATCH,
            OpenApiParameter(
                "subject",
                str,
                description="Whom it is for: where an experiment runs in the environment, the version of their arm.",
            ),
        ],
    )
    def get(self, request: Request, name: str, selector: str) -> Response:
        """**Fetch** a version by number, environment, `latest`, or hash."""
        parsed = parse_selector(selector)
        version = resolution.resolve(self.actor.project, Reference(name, parsed))
        subject = request.query_params.get("subject", "")
        if len(subject) > MAX_SUBJECT:
            sentence = f"A subject has at most {MAX_SUBJECT} characters."
            raise Problem("request.invalid", sentence, faults=[Fault("?subject", "length", sentence)])
        if isinstance(parsed, Environment) and "subject" in request.query_params:
            served = traffic.serve(self.actor.project, version, parsed.name, subject)
            if served is not None:
                return exposed_response(request, served)
        return fetch_response(request, version, caching.cache_policy(parsed))


def exposed_response(request: Request, served: traffic.Served) -> Response:
    """Return the version of an arm, with what its calls have to say to be a part of the experiment. Its tag is of this
    document, which changes with the experiment's step."""
    request_scope.add_versions([served.version.pk])
    tag = f"{served.version.content_hash};{served.run}.{served.step}.{served.arm}"
    if caching.is_fresh(request, tag):
        return caching.set_cache_headers(Response(status=304), tag, caching.MUTABLE)
    document = {**version_documents([served.version])[0], "experiment": served.exposure}
    return caching.set_cache_headers(Response(document), tag, caching.MUTABLE)


class VersionByHash(ProjectView):
    @extend_schema(
        operation_id="versions_fetch_by_hash",
        responses={200: serializers.VersionSerializer, 304: None},
        parameters=[IF_NONE_MATCH],
    )
    def get(self, request: Request, hash: str) -> Response:  # noqa: A002 - the name in the address
        """Fetch a version by content hash alone."""
        prefix = parse_hash_selector(hash)
        version = resolution.resolve_hash(self.actor.project, prefix)
        return fetch_response(request, version, caching.cache_policy(prefix))


def parse_hash_selector(text: str) -> HashPrefix:
    selector = parse_selector(text)
    if not isinstance(selector, HashPrefix):
        raise Problem("prompt.invalid_selector", "A hash is written sha256: and 12 to 64 lower-case hex digits.")
    return selector


def fetch_response(request: Request, version: PromptVersion, policy: str) -> Response:
    request_scope.add_versions([version.pk])
    if caching.is_fresh(request, version.content_hash):
        return caching.set_cache_headers(Response(status=304), version.content_hash, policy)
    return caching.set_cache_headers(Response(version_documents([version])[0]), version.content_hash, policy)


class VersionRender(ProjectView):
    # Rendering only reads; variables can be too long for an address.
    write_right = Right.SEE

    @extend_schema(
        operation_id="versions_render", request=serializers.RenderInput, responses=serializers.RenderedSerializer
    )
    def post(self, request: Request, name: str, selector: str) -> Response:
        """Render the request that a provider gets for these variables, in the words of OpenAI's Chat Completions."""
        body = serializers.RenderInput.read(request)
        version = select_version(self.actor.project, name, selector)
        rendered = versions.render(version, body["variables"])
        messages = with_data(self.actor.project.pk, rendered["messages"])
        rendered = {**rendered, "messages": messages, "model": as_chat_completions(rendered["model"])}
        return Response({"prompt": name, "number": version.number, "hash": version.content_hash, **rendered})


class VersionUses(ProjectView):
    @extend_schema(operation_id="versions_uses", responses=serializers.VersionUsesSerializer)
    def get(self, request: Request, name: str, selector: str) -> Response:
        """List what a version includes, and which versions include it (the newest 500)."""
        version = select_version(self.actor.project, name, selector)
        below = Inclusion.objects.filter(version=version).select_related("included__prompt")
        above = Inclusion.objects.filter(included=version).select_related("version__prompt").order_by("-id")[:MAX_USES]
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
