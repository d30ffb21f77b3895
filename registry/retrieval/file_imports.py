"""Taking files over into a collection: each becomes a document, or what a document says from now on."""

from collections.abc import Callable, Iterable

from core.errors import Problem
from registry.accounts.permissions import Actor
from registry.models import Collection
from registry.retrieval import documents
from registry.retrieval.documents import Outcome

# What concerns every file, not the one: who asks, and a machine that has no time.
STATUSES_OF_ALL = (401, 403, 503)


def import_files(
    actor: Actor,
    collection: Collection,
    files: Iterable[tuple[str, Callable[[], bytes]]],
    *,
    removes_others: bool,
    may_replace_all: bool = False,
) -> tuple[list[Outcome], list[tuple[str, Problem]]]:
    """Put files (paths, and what reads them) one after the other, and remove what is not among them, if
    `removes_others`. Returns what became of them, and those that could not be read, whose documents stay as they are.

    Before anything is changed, `document.invalid` where there is no file, and `collection.other_files` where not one
    of the documents there are is among the files, unless they `may_replace_all`.
    """
    files = list(files)
    paths = {path for path, _ in files}
    present = documents.current_revisions(collection).defer("text")
    if removes_others:
        _refuse_other_folder(collection, set(present.values_list("document__path", flat=True)), paths, may_replace_all)
    outcomes, refused = [], []
    for path, read in files:
        try:
            outcomes.append(documents.put(actor, collection, path, read()))
        except Problem as problem:
            if problem.kind.status in STATUSES_OF_ALL:
                raise
            refused.append((path, problem))
    if removes_others:
        gone = list(present.exclude(document__path__in=paths))
        outcomes += [documents.remove(actor, collection, revision.document) for revision in gone]
    return outcomes, refused


def _refuse_other_folder(collection: Collection, present: set[str], paths: set[str], may_replace_all: bool) -> None:
    if not paths:
        raise Problem("document.invalid", "There is no file at all: that would remove every document.")
    if present and not present & paths and not may_replace_all:
        sentence = (
            f"None of the {len(present):,} documents of {collection} ({min(present)}, for example) is among the files"
        )
        raise Problem("collection.other_files", f"{sentence}: all of them would be removed. Is it another folder?")
