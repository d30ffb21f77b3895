"""Collections: names for documents that are searched together."""

from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Count, Max, Q, QuerySet
from django.utils import timezone

from core.errors import Fault, Problem
from core.references import is_prompt_name, quoted
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.examples import embedders
from registry.models import Collection, Project
from registry.retrieval import indexing, usage

# Configurations of text search that every PostgreSQL has; `simple` is for what is none of these languages.
LANGUAGES = (
    *("simple", "arabic", "danish", "dutch", "english", "finnish", "french", "german", "greek", "hungarian"),
    *("italian", "norwegian", "portuguese", "romanian", "russian", "spanish", "swedish", "turkish"),
)
MIN_CHUNK_TOKENS, MAX_CHUNK_TOKENS = 50, 4_000
MAX_DESCRIPTION = 20_000


def get_collection(project: Project, name: str) -> Collection:
    """Return the project's collection of that name, or raise `collection.not_found`."""
    collection = Collection.objects.filter(project=project, name=name).first()
    if collection is None:
        raise Problem("collection.not_found", f"There is no collection {quoted(name)} in {project.slug}.")
    collection.project = project
    return collection


@transaction.atomic
def create(
    actor: Actor,
    *,
    name: str,
    description: str = "",
    language: str = "english",
    embedder: str = "",
    chunk_tokens: int = 400,
    overlap_tokens: int = 60,
) -> Collection:
    """Create a collection. Its embedder and its chunks stay as they are: another one is another collection."""
    actor.require(Right.EDIT)
    embedder = embedder or embedders.default_embedder()
    faults = []
    if not is_prompt_name(name):
        faults.append(Fault("/name", "name", "Words of a-z, 0-9 and -, joined by dots: support.handbook."))
    if len(description) > MAX_DESCRIPTION:
        faults.append(Fault("/description", "too_long", f"Must have at most {MAX_DESCRIPTION:,} characters."))
    if language not in LANGUAGES:
        faults.append(Fault("/language", "choice", f"Must be one of: {', '.join(LANGUAGES)}."))
    if embedder not in embedders.embedder_names():
        faults.append(Fault("/embedder", "choice", f"Must be one of: {', '.join(embedders.embedder_names())}."))
    if not MIN_CHUNK_TOKENS <= chunk_tokens <= MAX_CHUNK_TOKENS:
        faults.append(Fault("/chunk_tokens", "range", f"Must be from {MIN_CHUNK_TOKENS} to {MAX_CHUNK_TOKENS:,}."))
    if not 0 <= overlap_tokens <= chunk_tokens // 2:
        faults.append(Fault("/overlap_tokens", "range", "Must be from 0 to half of chunk_tokens."))
    if faults:
        raise Problem("collection.invalid", faults[0].message, faults=faults)
    members: dict[str, Any] = {"description": description, "language": language, "embedder": embedder}
    members |= {"chunk_tokens": chunk_tokens, "overlap_tokens": overlap_tokens}
    try:
        with transaction.atomic():
            collection = Collection.objects.create(
                project=actor.project, name=name, created_by_name=actor.name, **members
            )
    except IntegrityError:
        sentence = f"There is a collection {quoted(name)} already."
        raise Problem("collection.name_taken", sentence, faults=[Fault("/name", "taken", sentence)]) from None
    audit.record(actor, "collection.created", collection, after={"name": name, **members})
    return collection


@transaction.atomic
def archive(actor: Actor, collection: Collection) -> None:
    """Take a collection out of lists and searches; `collection.in_use` where a prompt in use searches it."""
    actor.require(Right.EDIT)
    # Whoever commits or releases what searches it holds it as well.
    indexing.lock(collection)
    if names := usage.prompts_searching(collection):
        sentence = f"{collection.name} is searched by {', '.join(names)}."
        raise Problem("collection.in_use", sentence, used_by=names)
    if Collection.objects.filter(pk=collection.pk, archived_at=None).update(archived_at=timezone.now()):
        audit.record(actor, "collection.archived", collection)


@transaction.atomic
def restore(actor: Actor, collection: Collection) -> None:
    """Take an archived collection back."""
    actor.require(Right.EDIT)
    if Collection.objects.filter(pk=collection.pk).exclude(archived_at=None).update(archived_at=None):
        audit.record(actor, "collection.restored", collection)


def with_counts(rows: QuerySet[Collection]) -> QuerySet[Collection]:
    """Annotate collections with the chunks that they have now, and when they were changed last."""
    now = Q(chunks__until_at=None)
    return rows.select_related("embedding").annotate(
        chunk_count=Count("chunks", filter=now), changed_at=Max("chunks__from_at", filter=now)
    )
