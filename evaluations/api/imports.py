"""Imports of cases over REST: begin one, send the file in parts, start it, and follow it."""

from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from evaluations import tasks
from evaluations.api.serializers import imports as serializers
from evaluations.datasets import imports
from evaluations.datasets import lifecycle as datasets
from evaluations.models import DatasetImport
from infra.rest import BytesParser
from infra.work import start
from registry.api.base import ProjectListView, ProjectView


class PartParser(BytesParser):
    """Parser of a part."""

    max_bytes = imports.MAX_PART_BYTES
    too_large = ("import.too_large", f"A part has at most {imports.MAX_PART_BYTES:,} bytes.")


def import_document(upload: DatasetImport) -> dict[str, Any]:
    return dict(serializers.ImportSerializer(upload).data)


class ImportList(ProjectListView[DatasetImport]):
    queryset = DatasetImport.objects.none()
    serializer_class = serializers.ImportSerializer
    ordering = ("-id",)

    @extend_schema(operation_id="imports_list", responses=serializers.ImportSerializer(many=True))
    def get(self, request: Request, name: str) -> Response:
        """List a dataset's imports, newest first."""
        rows: QuerySet[DatasetImport] = datasets.get_dataset(self.actor.project, name).imports.select_related(
            "dataset", "version"
        )
        return self.page(rows)

    @extend_schema(
        operation_id="imports_begin", request=serializers.ImportInput, responses={201: serializers.ImportSerializer}
    )
    def post(self, request: Request, name: str) -> Response:
        """Begin an import: then PUT the file's parts (1, 2, 3; each of at most 1 MB), and POST start."""
        body = serializers.ImportInput.read(request)
        columns = {
            "expected": body["expected_column"],
            "group": body["group_column"],
            "renamed": body["rename"],
            "left_out": body["leave_out"],
            "uses": body["map"],
        }
        upload = imports.begin(
            self.actor,
            datasets.get_dataset(self.actor.project, name),
            filename=body["filename"],
            form=body.get("format", ""),
            columns=columns,
            replace=body["replace"],
            skip_bad=body["skip_bad"],
            message=body["message"],
            size=body.get("bytes"),
        )
        return Response(import_document(upload), status=201)


class ImportDetail(ProjectView):
    @extend_schema(operation_id="imports_read", responses=serializers.ImportSerializer)
    def get(self, request: Request, name: str, key: int) -> Response:
        """Read an import: its progress and its outcome."""
        return Response(import_document(imports.get_import(datasets.get_dataset(self.actor.project, name), key)))


class ImportPartDetail(ProjectView):
    parser_classes = (PartParser,)

    @extend_schema(
        operation_id="imports_put_part",
        request={"application/octet-stream": OpenApiTypes.BINARY},
        responses=serializers.ImportSerializer,
    )
    def put(self, request: Request, name: str, key: int, part: int) -> Response:
        """Send a part of the file; sending it again replaces it."""
        upload = imports.get_import(datasets.get_dataset(self.actor.project, name), key)
        data = request.data if isinstance(request.data, bytes) else b""
        return Response(import_document(imports.put_part(self.actor, upload, part, data)))


class ImportPreview(ProjectView):
    @extend_schema(
        operation_id="imports_preview",
        request=serializers.ImportMapInput,
        responses=serializers.ImportPreviewSerializer,
    )
    def post(self, request: Request, name: str, key: int) -> Response:
        """Preview an uploaded file: what its columns are read as, and its first cases. Nothing is written."""
        body = serializers.ImportMapInput.read(request)
        upload = imports.get_import(datasets.get_dataset(self.actor.project, name), key)
        preview = imports.preview(self.actor, upload, body.get("map"))
        return Response(
            {
                "mapping": preview.mapping.as_dict(),
                "cases": preview.cases,
                "faults": [
                    {"line": line, "pointer": fault.pointer, "code": fault.code, "message": fault.message}
                    for line, fault in preview.faults
                ],
            }
        )


class ImportStart(ProjectView):
    @extend_schema(
        operation_id="imports_start", request=serializers.ImportMapInput, responses=serializers.ImportSerializer
    )
    def post(self, request: Request, name: str, key: int) -> Response:
        """Start an import whose file is complete: a worker reads it now."""
        body = serializers.ImportMapInput.read(request)
        upload = imports.get_import(datasets.get_dataset(self.actor.project, name), key)
        started = imports.start(self.actor, upload, uses=body.get("map"))
        start(tasks.read_import, started.pk)
        return Response(import_document(started))


class ImportRetry(ProjectView):
    @extend_schema(
        operation_id="imports_retry", request=serializers.ImportRetryInput, responses=serializers.ImportSerializer
    )
    def post(self, request: Request, name: str, key: int) -> Response:
        """Retry a refused file, for example without its bad rows; it need not be sent again."""
        body = serializers.ImportRetryInput.read(request)
        upload = imports.retry(
            self.actor, imports.get_import(datasets.get_dataset(self.actor.project, name), key), **body
        )
        start(tasks.read_import, upload.pk)
        return Response(import_document(upload))


class ImportRejected(ProjectView):
    @extend_schema(operation_id="imports_rejected", responses={(200, "application/jsonl"): OpenApiTypes.STR})
    def get(self, request: Request, name: str, key: int) -> StreamingHttpResponse:
        """Download the rows that were left out, each with its line and its fault."""
        return rejected_answer(imports.get_import(datasets.get_dataset(self.actor.project, name), key))


def rejected_answer(upload: DatasetImport) -> StreamingHttpResponse:
    return StreamingHttpResponse(
        imports.rejected_rows(upload),
        content_type="application/jsonl; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="rejected.{upload.pk}.jsonl"'},
    )
