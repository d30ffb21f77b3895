"""What a version's search finds for a request, and how it was searched."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models.functions import Substr

from core.content import DEFAULTS
from core.errors import Fault, Problem
from core.retrieval import Context
from registry.models import Chunk, Collection, Project
from registry.retrieval import indexing
from registry.retrieval.search import Hit, SearchSettings, search


@dataclass(frozen=True)
class SearchMode:
    """How a version's collection is searched: now, among what documents said at a moment (`as_of`), or not at all, to
    measure what searching is worth (not `is_on`)."""

    is_on: bool = True
    as_of: datetime | None = None


SEARCHES_NOW = SearchMode()


@dataclass(frozen=True)
class Retrieval:
    """Chunks that were found for a query."""

    collection: Collection
    query: str
    as_of: datetime | None
    hits: Sequence[Hit]
    # Chunks of what documents say now that are found by their words alone, because they are not embedded yet.
    waiting: int = 0

    def seen(self) -> list[dict[str, Any]]:
        """Return the chunks as templates see them (core.retrieval)."""
        members = ("text", "title", "source", "score")
        return [{name: hit.as_dict()[name] for name in members} for hit in self.hits]

    def as_dict(self) -> dict[str, Any]:
        """Return the form used in responses."""
        return {
            "collection": self.collection.name,
            "query": self.query,
            "as_of": self.as_of.isoformat() if self.as_of else None,
            "not_embedded": self.waiting,
            "tokens": sum(hit.tokens for hit in self.hits),
            "chunks": [hit.as_dict() for hit in self.hits],
        }


def settings_of(retrieval: Mapping[str, Any]) -> SearchSettings:
    """Read the settings of a content's `retrieval`, in normal form."""
    members = {**DEFAULTS["retrieval"], **retrieval}
    return SearchSettings(
        k=members["k"],
        min_score=members["min_score"],
        token_budget=members.get("token_budget"),
        neighbours=members["neighbours"],
        filter=members.get("filter", {}),
    )


def require_collection(project: Project, content: Mapping[str, Any]) -> None:
    """Raise `content.unknown_collection` where a content searches a collection that is not there."""
    name = content.get("retrieval", {}).get("collection")
    if name is None or Collection.objects.filter(project=project, name=name, archived_at=None).exists():
        return
    sentence = f"There is no collection {name}."
    raise Problem("content.unknown_collection", sentence, faults=[Fault("/retrieval/collection", "unknown", sentence)])


def retrieved_chunks(rendered: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Return what a record keeps of the chunks that a rendered request has; None where nothing is searched."""
    if "retrieval" not in rendered:
        return None
    members = ("source", "revision", "chunk", "start", "end", "score")
    return [{name: chunk[name] for name in members} for chunk in rendered["retrieval"]["chunks"]]


def retrieved_documents(project: int, retrieval: Mapping[str, Any], retrieved: Sequence[Mapping[str, Any]]) -> str:
    """Return what a request was shown of the chunks that a record keeps: revisions never change."""
    rows = Chunk.objects.filter(collection__project=project, collection__name=retrieval["collection"])
    chunks = []
    for kept_chunk in retrieved:
        place = {"revision__document__path": kept_chunk["source"], "revision__number": kept_chunk["revision"]}
        # Its own text, and that of the neighbours which were joined to it.
        part = Substr("revision__text", kept_chunk["start"] + 1, kept_chunk["end"] - kept_chunk["start"])
        row = rows.filter(**place, position=kept_chunk["chunk"]).annotate(part=part).values("titles", "part").first()
        title = " > ".join(row["titles"]) if row else ""
        chunks.append({"source": kept_chunk["source"], "title": title, "text": row["part"] if row else ""})
    return str(Context(chunks))


def find(project: int, retrieval: Mapping[str, Any], query: str, as_of: datetime | None = None) -> Retrieval:
    """Search as a content says, among what documents say now or said at a moment."""
    collection = Collection.objects.filter(project=project, name=retrieval["collection"]).first()
    if collection is None:
        raise Problem("collection.not_found", f"There is no collection {retrieval['collection']}.")
    hits = search(collection, query, settings_of(retrieval), as_of)
    return Retrieval(collection, query, as_of, hits, indexing.waiting(collection) if as_of is None else 0)
