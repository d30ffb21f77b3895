"""Pages of collections: the list, a new one, one with its documents and a search, and a document with its chunks."""

import json
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse

from core.errors import Fault, Problem
from infra.http.body_limits import accepts_files
from registry import tasks
from registry.accounts.permissions import Actor, Right
from registry.examples import embedders
from registry.models import Chunk, Collection, DocumentRevision
from registry.retrieval import collections, documents, extraction, file_imports, indexing
from registry.retrieval.search import SearchSettings, search
from registry.views.frame import PAGE_SIZE, done, errors_of, in_project, only_post, page, page_url, refused, whole

MAX_FILES = 50
MAX_SHOWN_HITS = 10
MAX_QUERY_LENGTH = 4_000
FIELDS = ("name", "description", "language", "embedder", "chunk_tokens", "overlap_tokens")


@in_project
def collection_list(request: HttpRequest, actor: Actor) -> HttpResponse:
    """List the project's collections. With POST, create one."""
    is_archive = request.GET.get("archived") == "1"
    values: dict[str, str] = {"language": "english", "chunk_tokens": "400", "overlap_tokens": "60"}
    context: dict[str, Any] = {"section": "collections", "is_archive": is_archive}
    status = 200
    if request.method == "POST":
        values = {name: request.POST.get(name, "").strip()[:20_000] for name in FIELDS}
        chunk_tokens, overlap_tokens = (whole(values[name]) for name in ("chunk_tokens", "overlap_tokens"))
        try:
            collection = collections.create(
                actor,
                name=values["name"],
                description=values["description"],
                language=values["language"],
                embedder=values["embedder"],
                # What is no number is refused by its name.
                chunk_tokens=-1 if chunk_tokens is None else chunk_tokens,
                overlap_tokens=-1 if overlap_tokens is None else overlap_tokens,
            )
            return done(
                request,
                f"Collection {collection.name} created. Add its first documents.",
                page_url("registry:collection", actor, collection.name),
            )
        except Problem as problem:
            context["errors"], status = errors_of(problem), problem.kind.status
    rows = Collection.objects.filter(project=actor.project, archived_at__isnull=not is_archive).order_by("name")
    context |= {
        "page": Paginator(collections.with_counts(rows), PAGE_SIZE).get_page(request.GET.get("page")),
        "values": values,
        "languages": collections.LANGUAGES,
        "embedders": embedders.embedder_names(),
    }
    return page(request, actor, "registry/collections/collection_list.html", context, status=status)


@accepts_files(documents.MAX_BYTES)
@in_project
def collection_detail(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """Show a collection: its documents, and what a question finds. With POST, put files."""
    collection = collections.get_collection(actor.project, name)
    context: dict[str, Any] = {"section": "collections", "collection": collection}
    status = 200
    if request.method == "POST":
        try:
            return _put_files(request, actor, collection)
        except Problem as problem:
            context["errors"], status = errors_of(problem), problem.kind.status
    query = request.GET.get("query", "").strip()[:MAX_QUERY_LENGTH]
    if query:
        try:
            context["hits"] = search(collection, query, SearchSettings(k=MAX_SHOWN_HITS))
        except Problem as problem:
            context["refusal"] = problem.detail
    revisions = documents.current_revisions(collection).defer("text")
    context |= {
        "query": query,
        "page": Paginator(revisions, PAGE_SIZE).get_page(request.GET.get("page")),
        "embedding": documents.embedding_of(collection),
        "waiting": indexing.waiting(collection),
        "chunk_count": Chunk.objects.filter(collection=collection, until_at=None).count(),
        "snippet": json.dumps({"retrieval": {"collection": name, "query": "{{ question }}", "k": 5}}, indent=2),
        "suffixes": ",".join(extraction.readable_suffixes()),
        "kinds": ", ".join(suffix.removeprefix(".").upper() for suffix in extraction.readable_suffixes()),
        "max_megabytes": documents.MAX_BYTES // 1_000_000,
    }
    return page(request, actor, "registry/collections/collection_detail.html", context, status=status)


def _put_files(request: HttpRequest, actor: Actor, collection: Collection) -> HttpResponse:
    """Put the files of a form; what cannot be read is named, and takes no other along."""
    actor.require(Right.EDIT)
    folder = request.POST.get("folder", "").strip().strip("/")
    files = request.FILES.getlist("files")
    if not files or len(files) > MAX_FILES:
        fault = Fault("/files", "count", f"Choose 1 to {MAX_FILES} files.")
        raise Problem("document.invalid", fault.message, faults=[fault])
    uploads = ((f"{folder}/{_name(file)}" if folder else _name(file), file.read) for file in files)
    outcomes, problems = file_imports.import_files(actor, collection, uploads, removes_others=False)
    tasks.start_collection(collection)
    if problems:
        whole_sentence = " ".join(f"{path}: {problem.detail}" for path, problem in problems)
        faults = [Fault("/files", problem.code, f"{path}: {problem.detail}") for path, problem in problems]
        raise Problem("document.invalid", f"{len(outcomes):,} put; refused: {whole_sentence}"[:2_000], faults=faults)
    whats = [outcome.what for outcome in outcomes]
    counted = ", ".join(f"{whats.count(what):,} {what}" for what in ("created", "updated", "unchanged"))
    return done(request, f"Documents: {counted}", page_url("registry:collection", actor, collection.name))


def _name(file: "UploadedFile[Any]") -> str:
    return (file.name or "").replace("\\", "/").rpartition("/")[2]


@in_project
def document_detail(request: HttpRequest, actor: Actor, name: str, path: str) -> HttpResponse:
    """Show what a document says, or said, cut into its chunks."""
    collection = collections.get_collection(actor.project, name)
    document = documents.get_document(collection, path)
    revisions = list(documents.revisions_of(document).defer("text")[:PAGE_SIZE])
    number = whole(request.GET.get("revision", ""))
    revision = DocumentRevision.objects.filter(document=document, number=number or revisions[0].number).first()
    if revision is None:
        raise Problem("document.not_found", f"There is no revision {number} of {path}.")
    chunks = Paginator(revision.chunks.defer("vector", "search_vector"), PAGE_SIZE)
    chunk = whole(request.GET.get("chunk", ""))
    number_of_page = (chunk - 1) // PAGE_SIZE + 1 if chunk else request.GET.get("page")
    context = {
        "section": "collections",
        "collection": collection,
        "document": document,
        "revision": revision,
        "revisions": revisions,
        "page": chunks.get_page(number_of_page),
        "chunk": chunk,
    }
    return page(request, actor, "registry/collections/document.html", context)


@in_project
@only_post
def document_remove(request: HttpRequest, actor: Actor, name: str, path: str) -> HttpResponse:
    collection = collections.get_collection(actor.project, name)
    address = page_url("registry:collection", actor, name)
    try:
        documents.remove(actor, collection, documents.get_document(collection, path))
    except Problem as problem:
        return refused(request, problem, address)
    return done(request, f"{path} removed", address)


@in_project
@only_post
def collection_archive(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    actor.require(Right.EDIT)
    try:
        collections.archive(actor, collections.get_collection(actor.project, name))
    except Problem as problem:
        return refused(request, problem, page_url("registry:collection", actor, name))
    return done(request, f"Collection {name} archived", page_url("registry:collection-list", actor))


@in_project
@only_post
def collection_restore(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    collections.restore(actor, collections.get_collection(actor.project, name))
    return done(request, f"Collection {name} restored", page_url("registry:collection", actor, name))
