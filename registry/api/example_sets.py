"""Example sets over REST: list, create, commit, fetch, search, and files."""

from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from infra.serializer_fields import EmptyInput
from registry import tasks
from registry.accounts.permissions import Right
from registry.api.base import ProjectListView, ProjectView
from registry.api.filters import ExampleSetFilter
from registry.api.serializers import example_sets as serializers
from registry.api.versions import IF_MATCH, IF_NONE_MATCH
from registry.content import example_file
from registry.delivery import caching
from registry.examples import embedders, example_sets, few_shot
from registry.models import ExampleSet, ExampleSetVersion


def example_set_document(example_set: ExampleSet) -> dict[str, Any]:
    return dict(serializers.ExampleSetSerializer(example_set).data)


def version_response(version: ExampleSetVersion, status: int = 200) -> Response:
    members = dict(serializers.ExampleSetVersionSummarySerializer(version).data)
    embeddings = serializers.EmbeddingSerializer(version.embeddings.all(), many=True).data
    shots = [shot.as_dict() for shot in example_sets.version_shots(version)]
    body = {"name": version.example_set.name, **members, "embeddings": embeddings, "examples": shots}
    return Response(body, status=status)


class ExampleSetList(ProjectListView[ExampleSet]):
    queryset = ExampleSet.objects.none()
    serializer_class = serializers.ExampleSetSerializer
    filterset_class = ExampleSetFilter
    ordering = ("name",)

    def get_queryset(self) -> QuerySet[ExampleSet]:
        return ExampleSet.objects.filter(project=self.actor.project).select_related("head")

    @extend_schema(operation_id="example_sets_list", responses=serializers.ExampleSetSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List example sets by name, with their newest version."""
        return self.page(self.get_queryset())

    @extend_schema(
        operation_id="example_sets_create",
        request=serializers.ExampleSetInput,
        responses={201: serializers.ExampleSetSerializer},
    )
    def post(self, request: Request) -> Response:
        """Create an example set; its examples come as a version."""
        body = serializers.ExampleSetInput.read(request)
        example_set = example_sets.create(self.actor, **body)
        return Response(
            example_set_document(example_set),
            status=201,
            headers={"Location": f"/api/v1/example-sets/{example_set.name}"},
        )


class ExampleSetDetail(ProjectView):
    @extend_schema(operation_id="example_sets_read", responses=serializers.ExampleSetSerializer)
    def get(self, request: Request, name: str) -> Response:
        """Read an example set."""
        return Response(example_set_document(example_sets.get_example_set(self.actor.project, name)))

    @extend_schema(
        operation_id="example_sets_describe",
        request=serializers.ExampleSetChange,
        responses=serializers.ExampleSetSerializer,
    )
    def patch(self, request: Request, name: str) -> Response:
        """Change a set's description."""
        body = serializers.ExampleSetChange.read(request)
        changed = example_sets.describe(self.actor, example_sets.get_example_set(self.actor.project, name), **body)
        return Response(example_set_document(changed))


class ExampleSetArchive(ProjectView):
    @extend_schema(operation_id="example_sets_archive", request=EmptyInput, responses=serializers.ExampleSetSerializer)
    def post(self, request: Request, name: str) -> Response:
        """Archive a set. Nothing is deleted; a set that a prompt in use picks from cannot be archived."""
        return Response(
            example_set_document(
                example_sets.archive(self.actor, example_sets.get_example_set(self.actor.project, name))
            )
        )


class ExampleSetRestore(ProjectView):
    @extend_schema(operation_id="example_sets_restore", request=EmptyInput, responses=serializers.ExampleSetSerializer)
    def post(self, request: Request, name: str) -> Response:
        """Restore an archived set."""
        return Response(
            example_set_document(
                example_sets.restore(self.actor, example_sets.get_example_set(self.actor.project, name))
            )
        )


class ExampleSetVersions(ProjectListView[ExampleSetVersion]):
    queryset = ExampleSetVersion.objects.none()
    serializer_class = serializers.ExampleSetVersionSummarySerializer
    ordering = ("-number",)

    @extend_schema(
        operation_id="example_sets_versions", responses=serializers.ExampleSetVersionSummarySerializer(many=True)
    )
    def get(self, request: Request, name: str) -> Response:
        """List a set's versions, newest first, without their examples."""
        return self.page(example_sets.get_example_set(self.actor.project, name).versions.all())

    @extend_schema(
        operation_id="example_sets_commit",
        request=serializers.ExamplesInput,
        responses={201: serializers.ExampleSetVersionSerializer, 200: serializers.ExampleSetVersionSerializer},
        parameters=[IF_MATCH],
    )
    def post(self, request: Request, name: str) -> Response:
        """Commit examples as the next version: 201, or 200 with the version that has exactly these already."""
        body = serializers.ExamplesInput.read(request)
        done = example_sets.commit(
            self.actor,
            example_sets.get_example_set(self.actor.project, name),
            examples=body["examples"],
            message=body["message"],
            expected_latest=caching.expected_tag(request),
        )
        tasks.start_embeddings(done.version)
        return version_response(done.version, 201 if done.created else 200)


class ExampleSetVersionDetail(ProjectView):
    @extend_schema(operation_id="example_sets_version", responses=serializers.ExampleSetVersionSerializer)
    def get(self, request: Request, name: str, selector: str) -> Response:
        """Read a version by its number, `latest`, or the start of its hash."""
        return version_response(example_sets.get_version(self.actor.project, name, selector))


class ExampleSetByHash(ProjectView):
    @extend_schema(
        operation_id="example_sets_by_hash",
        responses={200: serializers.ExampleSetVersionSerializer, 304: None},
        parameters=[IF_NONE_MATCH],
    )
    def get(self, request: Request, hash: str) -> Response:  # noqa: A002 - the parameter's name in the address
        """Read the version with this whole hash, which is what a prompt pins. It never changes."""
        version = example_sets.get_version_by_hash(self.actor.project.pk, hash)
        is_fresh = caching.is_fresh(request, version.content_hash)
        response = Response(status=304) if is_fresh else version_response(version)
        return caching.set_cache_headers(response, version.content_hash, caching.IMMUTABLE)


AS_FILE = OpenApiParameter("as", str, enum=["jsonl", "csv"], description="Default: jsonl.")


class ExampleSetFile(ProjectView):
    query_members = ("as",)

    @extend_schema(
        operation_id="example_sets_download",
        responses={(200, "application/jsonl"): OpenApiTypes.STR, (200, "text/csv"): OpenApiTypes.STR},
        parameters=[AS_FILE],
    )
    def get(self, request: Request, name: str, selector: str) -> StreamingHttpResponse:
        """Download a version's examples: JSON lines, or CSV in which spreadsheets see no formulas."""
        version = example_sets.get_version(self.actor.project, name, selector)
        return file_answer(version, as_csv=request.query_params.get("as") == "csv")


def file_answer(version: ExampleSetVersion, *, as_csv: bool) -> StreamingHttpResponse:
    """Answer with a version as a file."""
    lines: Iterator[str] = (example_file.write_csv if as_csv else example_file.write_jsonl)(
        example_sets.version_shots(version)
    )
    ending, kind = ("csv", "text/csv") if as_csv else ("jsonl", "application/jsonl")
    name = f"{version.example_set.name}.{version.number}.{ending}"
    return StreamingHttpResponse(
        lines,
        content_type=f"{kind}; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


class ExampleSetSearch(ProjectView):
    # Searching only reads.
    write_right = Right.SEE

    @extend_schema(
        operation_id="example_sets_search",
        request=serializers.ExampleSearchInput,
        responses=serializers.ExampleSearchSerializer,
    )
    def post(self, request: Request, name: str) -> Response:
        """Search for the examples nearest to a text, nearest first, as a prompt with these rules would pick them."""
        body = serializers.ExampleSearchInput.read(request)
        version = example_sets.get_version(self.actor.project, name, body["version"])
        embedder = body["embedder"] or embedders.default_embedder()
        embedders.require_embedder(embedder)
        rules: dict[str, Any] = {"select": "balanced" if body["per_label"] else "similar", "k": body["k"]}
        rules |= {rule: body[rule] for rule in ("per_label", "token_budget") if body[rule] is not None}
        choice = few_shot.choose_by_similarity(version, rules, body["query"], embedder)
        return Response(
            {
                "name": name,
                "number": version.number,
                "hash": version.content_hash,
                "embedder": embedder,
                "results": [few_shot.candidate_document(pick.candidate, pick.why) for pick in choice.picked],
            }
        )
