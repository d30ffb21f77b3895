"""Imports over REST: begin one, send the file in parts, start it, and see how it goes."""

from typing import IO, Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.errors import Problem
from evaluations import tasks
from evaluations.api import serializers as shapes
from evaluations.datasets import imports
from evaluations.datasets import lifecycle as datasets
from evaluations.models import DatasetImport
from registry.accounts.permissions import Right
from registry.api.authentication import actor_of
from registry.api.serializers import NothingInput
from registry.tasks import start


class BytesParser(BaseParser):
    """A body as it is, up to the size of a part."""

    media_type = "application/octet-stream"

    def parse(  # type: ignore[override]  # the stubs know forms and JSON
        self, stream: IO[Any], media_type: str | None = None, parser_context: Any = None
    ) -> bytes:
        data: bytes = stream.read(imports.MAX_PART_BYTES + 1)
        if len(data) > imports.MAX_PART_BYTES:
            raise Problem("import.too_large", f"A part has at most {imports.MAX_PART_BYTES:,} bytes.")
        return data


def import_document(upload: DatasetImport) -> dict[str, Any]:
    return dict(shapes.ImportSerializer(upload).data)


class ImportList(generics.GenericAPIView[DatasetImport]):
    queryset = DatasetImport.objects.none()
    serializer_class = shapes.ImportSerializer
    filter_backends = ()
    ordering = ("-id",)

    @extend_schema(operation_id="imports_list", responses=shapes.ImportSerializer(many=True))
    def get(self, request: Request, name: str) -> Response:
        """A dataset's imports, newest first."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        rows: QuerySet[DatasetImport] = datasets.named(actor.project, name).imports.select_related("dataset", "version")
        return self.get_paginated_response(self.get_serializer(self.paginate_queryset(rows), many=True).data)

    @extend_schema(operation_id="imports_begin", request=shapes.ImportInput, responses={201: shapes.ImportSerializer})
    def post(self, request: Request, name: str) -> Response:
        """Begin an import: then PUT the file's parts (1, 2, 3; each of at most 1 MB), and POST start."""
        asked = shapes.ImportInput.read(request)
        actor = actor_of(request)
        columns = {"expected": asked["expected_column"], "group": asked["group_column"], "renamed": asked["rename"]}
        upload = imports.begin(
            actor,
            datasets.named(actor.project, name),
            filename=asked["filename"],
            form=asked.get("format", ""),
            columns=columns,
            replace=asked["replace"],
            skip_bad=asked["skip_bad"],
            message=asked["message"],
        )
        return Response(import_document(upload), status=201)


class ImportDetail(APIView):
    @extend_schema(operation_id="imports_read", responses=shapes.ImportSerializer)
    def get(self, request: Request, name: str, key: int) -> Response:
        """How an import goes, and what came of it."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        return Response(import_document(imports.find(datasets.named(actor.project, name), key)))


class ImportPartDetail(APIView):
    parser_classes = (BytesParser,)

    @extend_schema(
        operation_id="imports_put_part",
        request={"application/octet-stream": OpenApiTypes.BINARY},
        responses=shapes.ImportSerializer,
    )
    def put(self, request: Request, name: str, key: int, part: int) -> Response:
        """Send a part of the file; sending it again replaces it."""
        actor = actor_of(request)
        upload = imports.find(datasets.named(actor.project, name), key)
        data = request.data if isinstance(request.data, bytes) else b""
        return Response(import_document(imports.put_part(actor, upload, part, data)))


class ImportStart(APIView):
    @extend_schema(operation_id="imports_start", request=NothingInput, responses=shapes.ImportSerializer)
    def post(self, request: Request, name: str, key: int) -> Response:
        """The file is complete: a worker reads it now."""
        actor = actor_of(request)
        started = imports.start(actor, imports.find(datasets.named(actor.project, name), key))
        start(tasks.read_import, started.pk)
        return Response(import_document(started))


class ImportAgain(APIView):
    @extend_schema(operation_id="imports_again", request=shapes.ImportAgainInput, responses=shapes.ImportSerializer)
    def post(self, request: Request, name: str, key: int) -> Response:
        """Read a refused file once more, for example without its bad rows; it need not be sent again."""
        asked = shapes.ImportAgainInput.read(request)
        actor = actor_of(request)
        upload = imports.again(actor, imports.find(datasets.named(actor.project, name), key), **asked)
        start(tasks.read_import, upload.pk)
        return Response(import_document(upload))


class ImportRejected(APIView):
    @extend_schema(operation_id="imports_rejected", responses={(200, "application/jsonl"): OpenApiTypes.STR})
    def get(self, request: Request, name: str, key: int) -> StreamingHttpResponse:
        """The rows that were left out, each with its line and what is wrong with it."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        return rejected_answer(imports.find(datasets.named(actor.project, name), key))


def rejected_answer(upload: DatasetImport) -> StreamingHttpResponse:
    return StreamingHttpResponse(
        imports.rejected(upload),
        content_type="application/jsonl; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="rejected.{upload.pk}.jsonl"'},
    )
