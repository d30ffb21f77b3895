"""Documents of a collection: what each says now and said before, by revisions that are never changed."""

import base64
import functools
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isfinite
from pathlib import Path
from typing import Any

from django.db import transaction
from django.db.models import F, OuterRef, QuerySet, Subquery
from django.utils import timezone

from core.errors import Fault, Problem
from core.references import quoted
from infra.bulk_copy import copy_rows
from infra.limited.policy import DOCUMENTS, WITH_FILES
from infra.limited.pool import LimitedPool
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.content import tokens
from registry.models import Chunk, Collection, CollectionEmbedding, Document, DocumentRevision
from registry.retrieval import chunking, extraction, indexing

MAX_BYTES = 20_000_000
MAX_PATH = 500
NOT_STORED = re.compile("[\0\ud800-\udfff]")
MAX_METADATA, MAX_METADATA_TEXT = 20, 300
CHUNK_FIELDS = (
    *("collection", "revision", "position", "titles", "start", "end", "text", "tokens", "metadata", "language"),
    "from_at",
)


@dataclass(frozen=True)
class Outcome:
    """What became of a file: `created`, `updated`, `unchanged` or `removed`; and its newest revision."""

    what: str
    revision: DocumentRevision


@functools.cache
def _pool() -> LimitedPool:
    return LimitedPool(1, DOCUMENTS, modules=[extraction.__name__], patience=WITH_FILES)


def get_document(collection: Collection, path: str) -> Document:
    """Return a document by its path, or raise `document.not_found`."""
    document = Document.objects.filter(collection=collection, path=path).first()
    if document is None:
        raise Problem("document.not_found", f"There is no document {quoted(path)} in {collection}.")
    document.collection = collection
    return document


def current_revisions(collection: Collection, as_of: datetime | None = None) -> QuerySet[DocumentRevision]:
    """Return what the documents of a collection say, or said at a moment; removed ones are left out."""
    revisions = DocumentRevision.objects.filter(document=OuterRef("document")).order_by("-number")
    revisions = revisions if as_of is None else revisions.filter(at__lte=as_of)
    newest = DocumentRevision.objects.filter(document__collection=collection)
    newest = newest.filter(pk=Subquery(revisions.values("pk")[:1]), is_removed=False)
    return newest.select_related("document").order_by("document__path")


def put(
    actor: Actor, collection: Collection, path: str, data: bytes, *, metadata: Mapping[str, Any] | None = None
) -> Outcome:
    """Add a document, or what it says from now on. The same bytes with the same metadata change nothing.

    Raises `document.invalid`, `document.too_large`, `document.unreadable` or `document.unsupported`.
    """
    actor.require(Right.EDIT)
    indexing.require_in_use(collection)
    _check(path, metadata)
    if len(data) > MAX_BYTES:
        raise Problem("document.too_large", f"The file has {len(data):,} bytes; at most {MAX_BYTES:,} are read.")
    sha256 = hashlib.sha256(data).hexdigest()
    newest = _newest(collection, path)
    if newest and _is_same(newest, sha256, metadata):
        indexing.await_missing(collection)
        return Outcome("unchanged", newest)
    arguments = {"path": path, "data": base64.b64encode(data).decode()}
    extracted = _pool().call(
        extraction.read, arguments, owner=actor.project.pk, code="document.too_expensive", subject="The document"
    )
    pieces = _cut(collection, extracted["text"])
    if not pieces:
        raise Problem("document.unreadable", "There is nothing in it that could be found.")
    members: dict[str, Any] = {
        **{"sha256": sha256, "size": len(data), "text": extracted["text"]},
        "title": extracted["title"] or Path(path).stem[:300],
        "media_type": extraction.MEDIA_TYPES.get(extraction.suffix_of(path), ""),
    }
    with transaction.atomic():
        indexing.lock_in_use(collection)
        newest = _newest(collection, path)
        if newest and _is_same(newest, sha256, metadata):
            return Outcome("unchanged", newest)
        document, _ = Document.objects.get_or_create(collection=collection, path=path)
        # Metadata that are not named stay as they are.
        before = newest.metadata if newest and not newest.is_removed else {}
        members["metadata"] = before if metadata is None else dict(metadata)
        revision = _revise(actor, collection, document, newest, **members)
        _insert_chunks(collection, revision, pieces)
        indexing.await_embedding(collection)
        what = "updated" if newest and not newest.is_removed else "created"
        after = {"collection": collection.name, "revision": revision.number, "sha256": sha256}
        audit.record(actor, f"document.{what}", document, after=after)
    return Outcome(what, revision)


@transaction.atomic
def remove(actor: Actor, collection: Collection, document: Document) -> Outcome:
    """Take a document out; what it said stays, for questions about a moment before."""
    actor.require(Right.EDIT)
    indexing.lock_in_use(collection)
    newest = _newest(collection, document.path)
    if newest is None or newest.is_removed:
        raise Problem("document.not_found", f"{document.path} is removed already.")
    revision = _revise(actor, collection, document, newest, is_removed=True, metadata={})
    audit.record(actor, "document.removed", document, after={"collection": collection.name})
    return Outcome("removed", revision)


def _check(path: str, metadata: Mapping[str, Any] | None) -> None:
    faults = []
    parts = path.split("/")
    if not 1 <= len(path) <= MAX_PATH or not all(parts) or {".", ".."} & set(parts) or not path.isprintable():
        sentence = f"A path has 1 to {MAX_PATH} characters, and names between its slashes: billing/refunds.md."
        faults.append(Fault("/path", "path", sentence))
    texts = metadata or {}
    is_plain = len(texts) <= MAX_METADATA and all(
        isinstance(name, str)
        and 1 <= len(name) <= 60
        and isinstance(value, str | int | float | bool)
        and (not isinstance(value, float) or isfinite(value))
        and len(str(value)) <= MAX_METADATA_TEXT
        and not NOT_STORED.search(f"{name}{value}")
        for name, value in texts.items()
    )
    if not is_plain:
        sentence = f"At most {MAX_METADATA} names with texts, numbers, true or false: they are searched by."
        faults.append(Fault("/metadata", "type", sentence))
    if faults:
        raise Problem("document.invalid", faults[0].message, faults=faults)


def _newest(collection: Collection, path: str) -> DocumentRevision | None:
    rows = DocumentRevision.objects.filter(document__collection=collection, document__path=path)
    return rows.select_related("document").order_by("-number").first()


def _is_same(revision: DocumentRevision, sha256: str, metadata: Mapping[str, Any] | None) -> bool:
    """Return whether a file says what a document says; metadata that are not named stay."""
    # As JSON: for Python 1 is True.
    is_same_metadata = metadata is None or json.dumps(revision.metadata, sort_keys=True) == json.dumps(
        dict(metadata), sort_keys=True
    )
    return not revision.is_removed and revision.sha256 == sha256 and is_same_metadata


def _cut(collection: Collection, text: str) -> list[chunking.Piece]:
    def count(part: str) -> int:
        return tokens.count(part, "").tokens

    try:
        return chunking.cut(text, count, max_tokens=collection.chunk_tokens, overlap_tokens=collection.overlap_tokens)
    except ValueError as error:
        raise Problem("document.too_large", str(error)) from None


def _revise(
    actor: Actor, collection: Collection, document: Document, newest: DocumentRevision | None, **members: Any
) -> DocumentRevision:
    """Write the next revision, and end the chunks of the one before."""
    # After the document's last moment, whatever the clock says: searches ask by it.
    at = max(timezone.now(), newest.at + timedelta(microseconds=1)) if newest else timezone.now()
    revision = DocumentRevision.objects.create(
        document=document,
        number=newest.number + 1 if newest else 1,
        author=actor.user,
        author_key=actor.key,
        author_name=actor.name,
        at=at,
        **members,
    )
    Chunk.objects.filter(collection=collection, revision__document=document, until_at=None).update(until_at=at)
    return revision


def _insert_chunks(collection: Collection, revision: DocumentRevision, pieces: Iterable[chunking.Piece]) -> None:
    rows = (
        (
            *(collection.pk, revision.pk, position, json.dumps([revision.title, *_below_title(piece, revision)])),
            *(piece.start, piece.end, revision.text[piece.start : piece.end], piece.tokens),
            *(json.dumps(revision.metadata), collection.language, revision.at),
        )
        for position, piece in enumerate(pieces, 1)
    )
    copy_rows(Chunk, CHUNK_FIELDS, rows)


def _below_title(piece: chunking.Piece, revision: DocumentRevision) -> list[str]:
    """Return the titles of a piece below the document's own."""
    titles = list(piece.titles)
    return titles[1:] if titles[:1] == [revision.title] else titles


def embedding_of(collection: Collection) -> CollectionEmbedding | None:
    """Return the work that embeds a collection, with its progress; None where there was none yet."""
    return CollectionEmbedding.objects.filter(collection=collection).first()


def revisions_of(document: Document) -> QuerySet[DocumentRevision]:
    """Return what a document has said, the newest first."""
    return DocumentRevision.objects.filter(document=document).order_by(F("number").desc())
