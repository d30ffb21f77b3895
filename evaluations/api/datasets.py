"""Datasets over REST: list, create, cases, versions, folds, and files."""

from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from core.errors import Fault, Problem
from evaluations import tasks
from evaluations.api.filters import CaseFilter, DatasetFilter
from evaluations.api.serializers import datasets as serializers
from evaluations.datasets import lifecycle as datasets
from evaluations.datasets.files import formats, tables
from evaluations.datasets.ingest import IngestResult
from evaluations.datasets.splits import SMALL_DATASET_SIZE
from evaluations.models import Case, Dataset, DatasetVersion, Split
from infra.serializer_fields import EmptyInput
from registry.api.base import ProjectListView, ProjectView
from registry.api.versions import IF_MATCH
from registry.delivery import caching

DEFAULT_FOLDS = 5
IMAGE_FORMS = ("address", "data")


def dataset_document(dataset: Dataset) -> dict[str, Any]:
    return dict(serializers.DatasetSerializer(dataset).data)


def committed_cases_response(dataset: Dataset, result: IngestResult) -> Response:
    """Answer with the version: 201 where it is new, 200 where nothing had to be changed."""
    tasks.start_reports(result.version)
    result.version.dataset = dataset
    version = serializers.DatasetVersionSerializer(result.version).data
    body = {"version": version, "added": result.added, "known": result.unchanged}
    response = Response(body, status=201 if result.created else 200)
    response["ETag"] = f'"{result.version.content_hash}"'
    return response


class DatasetList(ProjectListView[Dataset]):
    queryset = Dataset.objects.none()
    serializer_class = serializers.DatasetSerializer
    filterset_class = DatasetFilter
    ordering = ("name",)

    def get_queryset(self) -> QuerySet[Dataset]:
        return Dataset.objects.filter(project=self.actor.project).select_related("head")

    @extend_schema(operation_id="datasets_list", responses=serializers.DatasetSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List datasets by name, with their newest version."""
        return self.page(self.get_queryset())

    @extend_schema(
        operation_id="datasets_create", request=serializers.DatasetInput, responses={201: serializers.DatasetSerializer}
    )
    def post(self, request: Request) -> Response:
        """Create a dataset; its cases come as versions or imports."""
        dataset = datasets.create(self.actor, **serializers.DatasetInput.read(request))
        return Response(dataset_document(dataset), status=201, headers={"Location": f"/api/v1/datasets/{dataset.name}"})


class DatasetDetail(ProjectView):
    @extend_schema(operation_id="datasets_read", responses=serializers.DatasetSerializer)
    def get(self, request: Request, name: str) -> Response:
        """Read a dataset."""
        return Response(dataset_document(datasets.get_dataset(self.actor.project, name)))

    @extend_schema(
        operation_id="datasets_describe", request=serializers.DatasetChange, responses=serializers.DatasetSerializer
    )
    def patch(self, request: Request, name: str) -> Response:
        """Change a dataset's description."""
        body = serializers.DatasetChange.read(request)
        return Response(
            dataset_document(datasets.describe(self.actor, datasets.get_dataset(self.actor.project, name), **body))
        )


class DatasetArchive(ProjectView):
    @extend_schema(operation_id="datasets_archive", request=EmptyInput, responses=serializers.DatasetSerializer)
    def post(self, request: Request, name: str) -> Response:
        """Archive a dataset. Nothing is deleted."""
        return Response(dataset_document(datasets.archive(self.actor, datasets.get_dataset(self.actor.project, name))))


class DatasetRestore(ProjectView):
    @extend_schema(operation_id="datasets_restore", request=EmptyInput, responses=serializers.DatasetSerializer)
    def post(self, request: Request, name: str) -> Response:
        """Restore an archived dataset."""
        return Response(dataset_document(datasets.restore(self.actor, datasets.get_dataset(self.actor.project, name))))


class DatasetResplit(ProjectView):
    @extend_schema(
        operation_id="datasets_resplit",
        request=serializers.ResplitInput,
        responses={201: serializers.CommittedCasesSerializer},
    )
    def post(self, request: Request, name: str) -> Response:
        """Re-split all cases, as a version of its own: the only way in which cases change splits."""
        body = serializers.ResplitInput.read(request)
        dataset = datasets.get_dataset(self.actor.project, name)
        return committed_cases_response(dataset, datasets.resplit(self.actor, dataset, **body))


class DatasetVersions(ProjectListView[DatasetVersion]):
    queryset = DatasetVersion.objects.none()
    serializer_class = serializers.DatasetVersionSerializer
    ordering = ("-number",)

    @extend_schema(operation_id="datasets_versions", responses=serializers.DatasetVersionSerializer(many=True))
    def get(self, request: Request, name: str) -> Response:
        """List a dataset's versions, newest first."""
        rows = datasets.get_dataset(self.actor.project, name).versions.select_related("dataset")
        return self.page(rows)

    @extend_schema(
        operation_id="datasets_commit",
        request=serializers.CasesInput,
        responses={201: serializers.CommittedCasesSerializer, 200: serializers.CommittedCasesSerializer},
        parameters=[IF_MATCH],
    )
    def post(self, request: Request, name: str) -> Response:
        """Add, change or remove up to 2,000 cases, as the next version. More of them come as an import."""
        body = serializers.CasesInput.read(request)
        dataset = datasets.get_dataset(self.actor.project, name)
        result = datasets.change(
            self.actor,
            dataset,
            added=body["cases"],
            removed=body["remove"],
            changed=members_by_id(body["change"], "/change"),
            message=body["message"],
            expected_latest=caching.expected_tag(request),
        )
        return committed_cases_response(dataset, result)


def members_by_id(members: dict[str, Any], pointer: str) -> dict[int, Any]:
    """Return an object whose names are ids, by id."""
    wrong = [name for name in members if not (name.isascii() and name.isdigit() and len(name) < 19)]
    if wrong:
        raise Problem("request.invalid", f"{wrong[0]!r} is not an id.", faults=[Fault(pointer, "id", "Names are ids.")])
    return {int(name): member for name, member in members.items()}


class DatasetVersionDetail(ProjectView):
    @extend_schema(operation_id="datasets_version", responses=serializers.DatasetVersionSerializer)
    def get(self, request: Request, name: str, selector: str) -> Response:
        """Read a version by its number, `latest`, or the start of its hash."""
        version = datasets.get_version(self.actor.project, name, selector)
        return Response(serializers.DatasetVersionSerializer(version).data)


class DatasetCases(ProjectListView[Case]):
    queryset = Case.objects.none()
    serializer_class = serializers.CaseSerializer
    filterset_class = CaseFilter
    ordering = ("id",)

    @extend_schema(operation_id="datasets_cases", responses=serializers.CaseSerializer(many=True))
    def get(self, request: Request, name: str, selector: str) -> Response:
        """List a version's cases in the order in which they were added."""
        cases = Case.objects.of(datasets.get_version(self.actor.project, name, selector))
        return self.page(cases)


class DatasetFolds(ProjectView):
    query_members = ("k",)

    @extend_schema(
        operation_id="datasets_folds",
        responses=serializers.FoldsSerializer,
        parameters=[OpenApiParameter("k", int, description="Default: 5.")],
    )
    def get(self, request: Request, name: str, selector: str) -> Response:
        """Read the ids of a version's cases in k folds, for datasets that are too small for a test split."""
        version = datasets.get_version(self.actor.project, name, selector)
        text = request.query_params.get("k", str(DEFAULT_FOLDS))
        count = int(text) if text.isascii() and text.isdigit() and len(text) < 4 else 0
        folds = datasets.case_folds(version, count)
        body = {"k": count, "seed": version.seed, "recommended": version.size < SMALL_DATASET_SIZE, "folds": folds}
        return Response(body)


class DatasetFile(ProjectView):
    query_members = ("as", "split", "images")

    @extend_schema(
        operation_id="datasets_download",
        responses={(200, "application/jsonl"): OpenApiTypes.STR, (200, "text/csv"): OpenApiTypes.STR},
        parameters=[
            OpenApiParameter("as", str, enum=["jsonl", "csv"], description="Default: jsonl."),
            OpenApiParameter("split", str, enum=Split.values, description="One split only."),
            OpenApiParameter(
                "images",
                str,
                enum=IMAGE_FORMS,
                description="How uploaded images are written: by their addresses (the default), or, for another "
                "installation, as data.",
            ),
        ],
    )
    def get(self, request: Request, name: str, selector: str) -> StreamingHttpResponse:
        """Download a version's cases."""
        if request.query_params.get("images", "address") not in IMAGE_FORMS:
            sentence = f"images is {' or '.join(IMAGE_FORMS)}."
            raise Problem("request.invalid", sentence, faults=[Fault("?images", "choice", sentence)])
        return file_answer(datasets.get_version(self.actor.project, name, selector), request.query_params)


def file_answer(version: DatasetVersion, query: Mapping[str, str]) -> StreamingHttpResponse:
    """Answer with a version, or one of its splits, as a file; a million cases need no memory. `query` has the members
    of the address."""
    as_csv, split = query.get("as") == "csv", query.get("split", "")
    split = split if split in Split.values else ""
    cases = datasets.cases_as_dicts(version, split=split, with_images=query.get("images") == "data")
    lines = tables.write_csv(cases, datasets.table_columns(version)) if as_csv else formats.write_jsonl(cases)
    ending, kind = ("csv", "text/csv") if as_csv else ("jsonl", "application/jsonl")
    name = ".".join(part for part in (version.dataset.name, str(version.number), split, ending) if part)
    return StreamingHttpResponse(
        lines,
        content_type=f"{kind}; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
