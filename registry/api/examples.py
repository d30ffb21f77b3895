"""Example sets over REST: list, create, commit, fetch, search, and files."""

from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core import example_selection
from core.references import HASH
from infra.serializer_fields import Input, Text
from registry import tasks
from registry.accounts.permissions import Right
from registry.api.authentication import actor_of
from registry.api.filters import ExampleSetFilter
from registry.api.serializers import NothingInput
from registry.api.versions import IF_MATCH, IF_NONE_MATCH
from registry.content import example_file
from registry.delivery import caching
from registry.examples import embedders, example_sets, few_shot
from registry.models import ExampleSet, ExampleSetVersion

MOST_SEARCHED = 100


class ExampleSetVersionPoint(serializers.Serializer[Any]):
    number = serializers.IntegerField()
    hash = serializers.CharField(source="content_hash")
    size = serializers.IntegerField()
    message = serializers.CharField()
    author = serializers.CharField(source="author_name")
    created_at = serializers.DateTimeField()


class ExampleSetSerializer(serializers.ModelSerializer[ExampleSet]):
    archived = serializers.SerializerMethodField()
    created_by = serializers.CharField(source="created_by_name")
    latest = serializers.SerializerMethodField()

    class Meta:
        model = ExampleSet
        fields = ["name", "description", "archived", "created_by", "created_at", "latest"]

    def get_archived(self, example_set: ExampleSet) -> bool:
        return example_set.archived_at is not None

    @extend_schema_field({"oneOf": [{"$ref": "#/components/schemas/ExampleSetVersionPoint"}, {"type": "null"}]})
    def get_latest(self, example_set: ExampleSet) -> dict[str, Any] | None:
        return dict(ExampleSetVersionPoint(example_set.head).data) if example_set.head else None


class ExampleDocument(serializers.Serializer[Any]):
    input = serializers.CharField()
    output = serializers.CharField()
    note = serializers.CharField(required=False)
    tags = serializers.ListField(child=serializers.CharField(), required=False)


class EmbeddingSerializer(serializers.Serializer[Any]):
    embedder = serializers.CharField()
    state = serializers.CharField()
    done = serializers.IntegerField(help_text="Of the version's examples.")
    error = serializers.CharField()


class ExampleSetVersionSerializer(ExampleSetVersionPoint):
    """One version with all its examples in order, in the normal form that the hash is of (docs/hash.md)."""

    name = serializers.CharField(source="example_set.name")
    embeddings = EmbeddingSerializer(many=True)
    examples = ExampleDocument(many=True)


class ExampleSetInput(Input):
    name = Text(allow_blank=False)
    description = Text(required=False, default="")


class ExampleSetChange(Input):
    description = Text()


class ExamplesInput(Input):
    examples = serializers.ListField(child=serializers.JSONField())
    message = Text(required=False, default="")


class ExampleSearchInput(Input):
    query = Text(allow_blank=False)
    k = serializers.IntegerField(
        required=False, default=example_selection.DEFAULT_K, min_value=1, max_value=MOST_SEARCHED
    )
    version = Text(required=False, default="latest")
    embedder = Text(required=False, allow_null=True, default=None, help_text="Default: this installation's.")
    per_label = serializers.IntegerField(
        required=False, allow_null=True, default=None, min_value=1, help_text="At most so many of one label."
    )
    token_budget = serializers.IntegerField(required=False, allow_null=True, default=None, min_value=1)


class FoundExampleSerializer(serializers.Serializer[Any]):
    position = serializers.IntegerField()
    input = serializers.CharField()
    output = serializers.CharField()
    tags = serializers.ListField(child=serializers.CharField())
    label = serializers.CharField()  # type: ignore[assignment]  # the base has a property of this name
    tokens = serializers.IntegerField()
    score = serializers.FloatField(allow_null=True)
    why = serializers.CharField()


class ExampleSearchSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    number = serializers.IntegerField()
    hash = serializers.CharField()
    embedder = serializers.CharField()
    results = FoundExampleSerializer(many=True)


def set_document(example_set: ExampleSet) -> dict[str, Any]:
    return dict(ExampleSetSerializer(example_set).data)


def version_answer(version: ExampleSetVersion, status: int = 200) -> Response:
    members = dict(ExampleSetVersionPoint(version).data)
    embeddings = EmbeddingSerializer(version.embeddings.all(), many=True).data
    shots = [shot.as_dict() for shot in example_sets.shots(version)]
    body = {"name": version.example_set.name, **members, "embeddings": embeddings, "examples": shots}
    return Response(body, status=status)


class ExampleSetList(generics.GenericAPIView[ExampleSet]):
    queryset = ExampleSet.objects.none()
    serializer_class = ExampleSetSerializer
    filterset_class = ExampleSetFilter
    ordering = ("name",)

    def get_queryset(self) -> QuerySet[ExampleSet]:
        return ExampleSet.objects.filter(project=actor_of(self.request).project).select_related("head")

    @extend_schema(operation_id="example_sets_list", responses=ExampleSetSerializer(many=True))
    def get(self, request: Request) -> Response:
        """Example sets by name, with what is newest."""
        actor_of(request).require(Right.SEE)
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(operation_id="example_sets_create", request=ExampleSetInput, responses={201: ExampleSetSerializer})
    def post(self, request: Request) -> Response:
        """Create an example set; its examples come as a version."""
        asked = ExampleSetInput.read(request)
        made = example_sets.create(actor_of(request), **asked)
        return Response(set_document(made), status=201, headers={"Location": f"/api/v1/example-sets/{made.name}"})


class ExampleSetDetail(APIView):
    @extend_schema(operation_id="example_sets_read", responses=ExampleSetSerializer)
    def get(self, request: Request, name: str) -> Response:
        """One example set."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        return Response(set_document(example_sets.named(actor.project, name)))

    @extend_schema(operation_id="example_sets_describe", request=ExampleSetChange, responses=ExampleSetSerializer)
    def patch(self, request: Request, name: str) -> Response:
        """Change what a set says about itself."""
        asked = ExampleSetChange.read(request)
        actor = actor_of(request)
        changed = example_sets.describe(actor, example_sets.named(actor.project, name), **asked)
        return Response(set_document(changed))


class ExampleSetArchive(APIView):
    @extend_schema(operation_id="example_sets_archive", request=NothingInput, responses=ExampleSetSerializer)
    def post(self, request: Request, name: str) -> Response:
        """Take a set out of use. Nothing is deleted; a set that a prompt in use picks from cannot be archived."""
        actor = actor_of(request)
        return Response(set_document(example_sets.archive(actor, example_sets.named(actor.project, name))))


class ExampleSetRestore(APIView):
    @extend_schema(operation_id="example_sets_restore", request=NothingInput, responses=ExampleSetSerializer)
    def post(self, request: Request, name: str) -> Response:
        """Bring an archived set back."""
        actor = actor_of(request)
        return Response(set_document(example_sets.restore(actor, example_sets.named(actor.project, name))))


class ExampleSetVersions(generics.GenericAPIView[ExampleSetVersion]):
    queryset = ExampleSetVersion.objects.none()
    serializer_class = ExampleSetVersionPoint
    filter_backends = ()
    ordering = ("-number",)

    @extend_schema(operation_id="example_sets_versions", responses=ExampleSetVersionPoint(many=True))
    def get(self, request: Request, name: str) -> Response:
        """A set's history, newest first, without the examples."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        page = self.paginate_queryset(example_sets.named(actor.project, name).versions.all())
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(
        operation_id="example_sets_commit",
        request=ExamplesInput,
        responses={201: ExampleSetVersionSerializer, 200: ExampleSetVersionSerializer},
        parameters=[IF_MATCH],
    )
    def post(self, request: Request, name: str) -> Response:
        """Commit examples as the next version: 201, or 200 where the set has a version with just these."""
        asked = ExamplesInput.read(request)
        actor = actor_of(request)
        done = example_sets.commit(
            actor,
            example_sets.named(actor.project, name),
            examples=asked["examples"],
            message=asked["message"],
            expected_latest=caching.expected(request),
        )
        tasks.embed_soon(done.version)
        return version_answer(done.version, 201 if done.created else 200)


class ExampleSetVersionDetail(APIView):
    @extend_schema(operation_id="example_sets_version", responses=ExampleSetVersionSerializer)
    def get(self, request: Request, name: str, selector: str) -> Response:
        """A version by its number, `latest`, or the start of its hash."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        return version_answer(example_sets.selected(actor.project, name, selector))


class ExampleSetByHash(APIView):
    @extend_schema(
        operation_id="example_sets_by_hash",
        responses={200: ExampleSetVersionSerializer, 304: None},
        parameters=[IF_NONE_MATCH],
    )
    def get(self, request: Request, hash: str) -> Response:  # noqa: A002 - the parameter's name in the address
        """The version with this whole hash: what a prompt pins. It never changes."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        version = example_sets.pinned(actor.project.pk, hash if HASH.fullmatch(hash) else "")
        if caching.is_fresh(request, version.content_hash):
            answer = Response(status=304)
        else:
            answer = version_answer(version)
        return caching.with_headers(answer, version.content_hash, caching.IMMUTABLE)


AS_FILE = OpenApiParameter("as", str, enum=["jsonl", "csv"], description="Default: jsonl.")


class ExampleSetFile(APIView):
    @extend_schema(
        operation_id="example_sets_download",
        responses={(200, "application/jsonl"): OpenApiTypes.STR, (200, "text/csv"): OpenApiTypes.STR},
        parameters=[AS_FILE],
    )
    def get(self, request: Request, name: str, selector: str) -> StreamingHttpResponse:
        """A version's examples as a file: JSON lines, or CSV where spreadsheets see no formulas."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        version = example_sets.selected(actor.project, name, selector)
        return file_answer(version, as_csv=request.query_params.get("as") == "csv")


def file_answer(version: ExampleSetVersion, *, as_csv: bool) -> StreamingHttpResponse:
    """A version as a download."""
    lines: Iterator[str] = (example_file.write_csv if as_csv else example_file.write_jsonl)(example_sets.shots(version))
    ending, kind = ("csv", "text/csv") if as_csv else ("jsonl", "application/jsonl")
    name = f"{version.example_set.name}.{version.number}.{ending}"
    return StreamingHttpResponse(
        lines,
        content_type=f"{kind}; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


class ExampleSetSearch(APIView):
    @extend_schema(operation_id="example_sets_search", request=ExampleSearchInput, responses=ExampleSearchSerializer)
    def post(self, request: Request, name: str) -> Response:
        """The examples nearest to a text, nearest first, as a prompt with these rules would pick them."""
        asked = ExampleSearchInput.read(request)
        actor = actor_of(request)
        actor.require(Right.SEE)
        version = example_sets.selected(actor.project, name, asked["version"])
        embedder = asked["embedder"] or embedders.default()
        embedders.require(embedder)
        rules: dict[str, Any] = {"select": "balanced" if asked["per_label"] else "similar", "k": asked["k"]}
        rules |= {rule: asked[rule] for rule in ("per_label", "token_budget") if asked[rule] is not None}
        choice = few_shot.by_similarity(version, rules, asked["query"], embedder)
        return Response(
            {
                "name": name,
                "number": version.number,
                "hash": version.content_hash,
                "embedder": embedder,
                "results": [few_shot.candidate_document(one.candidate, one.why) for one in choice.picked],
            }
        )
