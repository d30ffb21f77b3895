"""What searches a collection: versions in use (live, or the newest of their prompts), or what they name."""

from collections.abc import Iterable

from django.conf import settings
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.fields.json import KT
from django.utils.module_loading import import_string

from registry.models import Collection, PromptVersion, Release
from registry.retrieval import indexing


def collections_searched(version: PromptVersion) -> set[str]:
    """Return the names of the collections that are searched where a version is live: its own, and what apps know of
    (settings.COLLECTIONS_SEARCHED)."""
    own = {str(retrieval["collection"])} if (retrieval := version.content.get("retrieval")) else set()
    finders = map(import_string, settings.COLLECTIONS_SEARCHED)
    return own.union(*(finder(version) for finder in finders))


def prompts_searching(collection: Collection) -> list[str]:
    """Return the prompts whose newest version, or a live one, searches a collection."""
    newer = Release.objects.filter(
        environment=OuterRef("environment"), prompt=OuterRef("prompt"), number__gt=OuterRef("number")
    )
    live = Release.objects.filter(~Exists(newer), version=OuterRef("pk"))
    in_use = PromptVersion.objects.filter(
        Q(Exists(live)) | Q(prompt__head=F("pk")), prompt__project=collection.project_id, prompt__archived_at=None
    ).select_related("prompt__project")
    own = in_use.filter(content__retrieval__collection=collection.name)
    # What is no prompt (a config) names versions and collections in its text.
    texts = in_use.filter(content__kind="text").alias(text=KT("content__text"))
    naming = texts.filter(Q(text__contains="@sha256:") | Q(text__contains=collection.name))
    others = (version for version in naming if collection.name in collections_searched(version))
    return sorted({version.prompt.name for version in (*own, *others)})


def lock_collections(project: int, names: Iterable[str]) -> None:
    """Lock collections that something is about to search, until the transaction ends; `collection.archived` where one
    is."""
    for collection in Collection.objects.filter(project=project, name__in=set(names)).order_by("pk"):
        indexing.lock_in_use(collection)
