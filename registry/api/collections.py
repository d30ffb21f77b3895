"""Collections over REST: create, put and remove documents, search."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from core.errors import Fault, Problem
from core.json_values import read_strict_json
from infra.rest import BytesParser
from infra.serializer_fields import EmptyInput
from registry import tasks
from registry.accounts.permissions import Right
from registry.api.base import ProjectListView, ProjectView
from registry.api.serializers import collections as serializers
from registry.models import Collection, DocumentRevision
from registry.retrieval import collections, documents
from registry.retrieval.search import SearchSettings, search


def collection_document(collection: Collection) -> dict[str, Any]:
    row = collections.with_counts(Collection.objects.filter(pk=collection.pk)).get()
    return dict(serializers.CollectionSerializer(row).data)


class CollectionList(ProjectListView[Collection]):
    queryset = Collection.objects.none()
    serializer_class = serializers.CollectionSerializer
    ordering = ("name",)

    @extend_schema(operation_id="collections_list", responses=serializers.CollectionSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List collections by name."""
        return self.page(collections.with_counts(Collection.objects.filter(project=self.actor.project)))

    @extend_schema(
        operation_id="collections_create",
        request=serializers.CollectionInput,
        responses={201: serializers.CollectionSerializer},
    )
    def post(self, request: Request) -> Response:
        """Create a collection; its embedder and how it cuts documents stay as they are."""
        collection = collections.create(self.actor, **serializers.CollectionInput.read(request))
        headers = {"Location": f"/api/v1/collections/{collection.name}"}
        return Response(collection_document(collection), status=201, headers=headers)


class CollectionDetail(ProjectView):
    @extend_schema(operation_id="collections_read", responses=serializers.CollectionSerializer)
    def get(self, request: Request, name: str) -> Response:
        """Read a collection."""
        return Response(collection_document(collections.get_collection(self.actor.project, name)))


class CollectionArchive(ProjectView):
    @extend_schema(operation_id="collections_archive", request=EmptyInput, responses=serializers.CollectionSerializer)
    def post(self, request: Request, name: str) -> Response:
        """Archive a collection: prompts that search it are refused. Nothing is deleted."""
        collection = collections.get_collection(self.actor.project, name)
        collections.archive(self.actor, collection)
        return Response(collection_document(collection))


class CollectionRestore(ProjectView):
    @extend_schema(operation_id="collections_restore", request=EmptyInput, responses=serializers.CollectionSerializer)
    def post(self, request: Request, name: str) -> Response:
        """Restore an archived collection."""
        collection = collections.get_collection(self.actor.project, name)
        collections.restore(self.actor, collection)
        return Response(collection_document(collection))


class CollectionSearch(ProjectView):
    write_right = Right.SEE

    @extend_schema(
        operation_id="collections_search", request=serializers.SearchInput, responses=serializers.SearchSerializer
    )
    def post(self, request: Request, name: str) -> Response:
        """Search a collection by meaning and by words; the scores and ranks of both halves are told."""
        body = serializers.SearchInput.read(request)
        query, as_of = body.pop("query"), body.pop("as_of")
        hits = search(collections.get_collection(self.actor.project, name), query, SearchSettings(**body), as_of)
        return Response({"chunks": [hit.as_dict() for hit in hits]})


class DocumentList(ProjectListView[DocumentRevision]):
    queryset = DocumentRevision.objects.none()
    serializer_class = serializers.DocumentSerializer
    ordering = ("document__path",)

    def get_queryset(self) -> QuerySet[DocumentRevision]:
        return documents.current_revisions(collections.get_collection(self.actor.project, self.kwargs["name"]))

    @extend_schema(operation_id="documents_list", responses=serializers.DocumentSerializer(many=True))
    def get(self, request: Request, name: str) -> Response:
        """List what the documents of a collection say now, without their texts."""
        return self.page(self.get_queryset().defer("text"))


class DocumentParser(BytesParser):
    """Parser of a file's bytes: what it is, is in its path."""

    media_type = "*/*"
    max_bytes = documents.MAX_BYTES
    too_large = ("document.too_large", f"A document has at most {documents.MAX_BYTES:,} bytes.")


class DocumentDetail(ProjectView):
    parser_classes = (DocumentParser,)
    query_members = ("revision",)
    # A little more than it takes, so that the refusal names the document.
    max_streamed_bytes = 2 * documents.MAX_BYTES

    @extend_schema(
        operation_id="documents_read",
        parameters=[OpenApiParameter("revision", int, description="The newest where it is left out.")],
        responses=serializers.DocumentDetailSerializer,
    )
    def get(self, request: Request, name: str, path: str) -> Response:
        """Read what a document says, or said."""
        document = documents.get_document(collections.get_collection(self.actor.project, name), path)
        revisions = documents.revisions_of(document).select_related("document")
        if number := request.query_params.get("revision", ""):
            is_number = number.isascii() and number.isdecimal() and len(number) < 10
            revisions = revisions.filter(number=int(number)) if is_number else revisions.none()
        revision = revisions.first()
        if revision is None:
            raise Problem("document.not_found", f"There is no revision {number[:20]!r} of {path[:100]}.")
        return Response(serializers.DocumentDetailSerializer(revision).data)

    @extend_schema(
        operation_id="documents_put",
        parameters=[OpenApiParameter("metadata", str, description="A JSON object, by which searches are filtered.")],
        request={"application/octet-stream": OpenApiTypes.BINARY},
        responses={
            201: serializers.PutDocumentSerializer,
            200: OpenApiResponse(serializers.PutDocumentSerializer, "It was there already."),
        },
    )
    def put(self, request: Request, name: str, path: str) -> Response:
        """Put a document, the file as the body (Markdown, text, HTML or PDF; Office where the extra is installed). The
        same bytes change nothing; other ones are what it says from now on."""
        collection = collections.get_collection(self.actor.project, name)
        data = request.data if isinstance(request.data, bytes) else b""
        outcome = documents.put(self.actor, collection, path, data, metadata=_metadata(request))
        tasks.start_collection(collection)
        body = {"outcome": outcome.what, **serializers.DocumentSerializer(outcome.revision).data}
        return Response(body, status=201 if outcome.what == "created" else 200)

    @extend_schema(operation_id="documents_remove", responses={204: None})
    def delete(self, request: Request, name: str, path: str) -> Response:
        """Remove a document; what it said can still be asked for, as of a moment before."""
        collection = collections.get_collection(self.actor.project, name)
        documents.remove(self.actor, collection, documents.get_document(collection, path))
        return Response(status=204)


def _metadata(request: Request) -> dict[str, Any] | None:
    text = request.query_params.get("metadata")
    if text is None:
        return None
    try:
        value = read_strict_json(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        fault = Fault("?metadata", "type", "Must be a JSON object.")
        raise Problem("document.invalid", fault.message, faults=[fault])
    return value
