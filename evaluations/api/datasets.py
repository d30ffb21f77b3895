"""Datasets over REST: list, create, cases, versions, folds, and files."""

from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.errors import Fault, Problem
from evaluations import tasks
from evaluations.api import serializers as shapes
from evaluations.api.filters import CaseFilter, DatasetFilter
from evaluations.datasets import formats
from evaluations.datasets import lifecycle as datasets
from evaluations.datasets.ingest import Loaded
from evaluations.datasets.splits import SMALL
from evaluations.models import Case, Dataset, DatasetVersion, Split
from registry.accounts.permissions import Right
from registry.api.authentication import actor_of
from registry.api.serializers import NothingInput
from registry.api.versions import IF_MATCH
from registry.delivery import caching

DEFAULT_FOLDS = 5


def dataset_document(dataset: Dataset) -> dict[str, Any]:
    return dict(shapes.DatasetSerializer(dataset).data)


def loaded_answer(dataset: Dataset, loaded: Loaded) -> Response:
    """201 for a new version, 200 where nothing had to be changed."""
    tasks.report_soon(loaded.version)
    loaded.version.dataset = dataset
    version = shapes.DatasetVersionSerializer(loaded.version).data
    body = {"version": version, "added": loaded.added, "known": loaded.known}
    response = Response(body, status=201 if loaded.created else 200)
    response["ETag"] = f'"{loaded.version.content_hash}"'
    return response


class DatasetList(generics.GenericAPIView[Dataset]):
    queryset = Dataset.objects.none()
    serializer_class = shapes.DatasetSerializer
    filterset_class = DatasetFilter
    ordering = ("name",)

    def get_queryset(self) -> QuerySet[Dataset]:
        return Dataset.objects.filter(project=actor_of(self.request).project).select_related("head")

    @extend_schema(operation_id="datasets_list", responses=shapes.DatasetSerializer(many=True))
    def get(self, request: Request) -> Response:
        """Datasets by name, with what is newest."""
        actor_of(request).require(Right.SEE)
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(
        operation_id="datasets_create", request=shapes.DatasetInput, responses={201: shapes.DatasetSerializer}
    )
    def post(self, request: Request) -> Response:
        """Create a dataset; its cases come as versions or imports."""
        made = datasets.create(actor_of(request), **shapes.DatasetInput.read(request))
        return Response(dataset_document(made), status=201, headers={"Location": f"/api/v1/datasets/{made.name}"})


class DatasetDetail(APIView):
    @extend_schema(operation_id="datasets_read", responses=shapes.DatasetSerializer)
    def get(self, request: Request, name: str) -> Response:
        """One dataset."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        return Response(dataset_document(datasets.named(actor.project, name)))

    @extend_schema(operation_id="datasets_describe", request=shapes.DatasetChange, responses=shapes.DatasetSerializer)
    def patch(self, request: Request, name: str) -> Response:
        """Change what a dataset says about itself."""
        asked = shapes.DatasetChange.read(request)
        actor = actor_of(request)
        return Response(dataset_document(datasets.describe(actor, datasets.named(actor.project, name), **asked)))


class DatasetArchive(APIView):
    @extend_schema(operation_id="datasets_archive", request=NothingInput, responses=shapes.DatasetSerializer)
    def post(self, request: Request, name: str) -> Response:
        """Take a dataset out of use. Nothing is deleted."""
        actor = actor_of(request)
        return Response(dataset_document(datasets.archive(actor, datasets.named(actor.project, name))))


class DatasetRestore(APIView):
    @extend_schema(operation_id="datasets_restore", request=NothingInput, responses=shapes.DatasetSerializer)
    def post(self, request: Request, name: str) -> Response:
        """Bring an archived dataset back."""
        actor = actor_of(request)
        return Response(dataset_document(datasets.restore(actor, datasets.named(actor.project, name))))


class DatasetResplit(APIView):
    @extend_schema(
        operation_id="datasets_resplit", request=shapes.ResplitInput, responses={201: shapes.CommittedCasesSerializer}
    )
    def post(self, request: Request, name: str) -> Response:
        """Deal all cases anew, as a version of its own: the one way in which cases change sides."""
        asked = shapes.ResplitInput.read(request)
        actor = actor_of(request)
        dataset = datasets.named(actor.project, name)
        return loaded_answer(dataset, datasets.resplit(actor, dataset, **asked))


class DatasetVersions(generics.GenericAPIView[DatasetVersion]):
    queryset = DatasetVersion.objects.none()
    serializer_class = shapes.DatasetVersionSerializer
    filter_backends = ()
    ordering = ("-number",)

    @extend_schema(operation_id="datasets_versions", responses=shapes.DatasetVersionSerializer(many=True))
    def get(self, request: Request, name: str) -> Response:
        """A dataset's history, newest first."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        rows = datasets.named(actor.project, name).versions.select_related("dataset")
        return self.get_paginated_response(self.get_serializer(self.paginate_queryset(rows), many=True).data)

    @extend_schema(
        operation_id="datasets_commit",
        request=shapes.CasesInput,
        responses={201: shapes.CommittedCasesSerializer, 200: shapes.CommittedCasesSerializer},
        parameters=[IF_MATCH],
    )
    def post(self, request: Request, name: str) -> Response:
        """Add, change or remove up to 2,000 cases, as the next version. More of them come as an import."""
        asked = shapes.CasesInput.read(request)
        actor = actor_of(request)
        dataset = datasets.named(actor.project, name)
        loaded = datasets.change(
            actor,
            dataset,
            added=asked["cases"],
            removed=asked["remove"],
            changed=keyed(asked["change"], "/change"),
            message=asked["message"],
            expected_latest=caching.expected(request),
        )
        return loaded_answer(dataset, loaded)


def keyed(members: dict[str, Any], pointer: str) -> dict[int, Any]:
    """An object whose names are ids."""
    wrong = [name for name in members if not (name.isascii() and name.isdigit() and len(name) < 19)]
    if wrong:
        raise Problem("request.invalid", f"{wrong[0]!r} is no id.", faults=[Fault(pointer, "id", "Names are ids.")])
    return {int(name): member for name, member in members.items()}


class DatasetVersionDetail(APIView):
    @extend_schema(operation_id="datasets_version", responses=shapes.DatasetVersionSerializer)
    def get(self, request: Request, name: str, selector: str) -> Response:
        """A version by its number, `latest`, or the start of its hash."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        version = datasets.selected(actor.project, name, selector)
        return Response(shapes.DatasetVersionSerializer(version).data)


class DatasetCases(generics.GenericAPIView[Case]):
    queryset = Case.objects.none()
    serializer_class = shapes.CaseSerializer
    filterset_class = CaseFilter
    ordering = ("id",)

    @extend_schema(operation_id="datasets_cases", responses=shapes.CaseSerializer(many=True))
    def get(self, request: Request, name: str, selector: str) -> Response:
        """A version's cases in the order in which they came."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        cases = Case.objects.of(datasets.selected(actor.project, name, selector))
        page = self.paginate_queryset(self.filter_queryset(cases))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)


class DatasetFolds(APIView):
    @extend_schema(
        operation_id="datasets_folds",
        responses=shapes.FoldsSerializer,
        parameters=[OpenApiParameter("k", int, description="Default: 5.")],
    )
    def get(self, request: Request, name: str, selector: str) -> Response:
        """The ids of a version's cases in k folds, for datasets that are too small for a test split."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        version = datasets.selected(actor.project, name, selector)
        asked = request.query_params.get("k", str(DEFAULT_FOLDS))
        count = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 4 else 0
        found = datasets.in_folds(version, count)
        body = {"k": count, "seed": version.seed, "recommended": version.size < SMALL, "folds": found}
        return Response(body)


class DatasetFile(APIView):
    @extend_schema(
        operation_id="datasets_download",
        responses={(200, "application/jsonl"): OpenApiTypes.STR, (200, "text/csv"): OpenApiTypes.STR},
        parameters=[
            OpenApiParameter("as", str, enum=["jsonl", "csv"], description="Default: jsonl."),
            OpenApiParameter("split", str, enum=Split.values, description="One side only."),
        ],
    )
    def get(self, request: Request, name: str, selector: str) -> StreamingHttpResponse:
        """A version's cases as a file."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        version = datasets.selected(actor.project, name, selector)
        return file_answer(
            version, as_csv=request.query_params.get("as") == "csv", split=request.query_params.get("split", "")
        )


def file_answer(version: DatasetVersion, *, as_csv: bool, split: str = "") -> StreamingHttpResponse:
    """A version, or one of its sides, as a download; a million cases need no memory."""
    split = split if split in Split.values else ""
    cases = datasets.documents(version, split=split)
    lines = formats.write_csv(cases, datasets.table_columns(version)) if as_csv else formats.write_jsonl(cases)
    ending, kind = ("csv", "text/csv") if as_csv else ("jsonl", "application/jsonl")
    name = ".".join(part for part in (version.dataset.name, str(version.number), split, ending) if part)
    return StreamingHttpResponse(
        lines,
        content_type=f"{kind}; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
