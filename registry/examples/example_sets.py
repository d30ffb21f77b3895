"""Example sets: names for few-shot examples, and their immutable versions."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Avg, Exists, F, OuterRef, Q, QuerySet, Sum
from django.utils import timezone

from core import example_selection
from core.errors import Fault, Problem
from core.examples import MAX_EXAMPLES, Shot, read_examples, set_hash
from core.references import HashPrefix, Latest, Number, is_prompt_name, parse_selector, quoted
from infra.bulk_copy import copy_rows
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.content import tokens
from registry.examples import embedders
from registry.models import (
    Embedding,
    Example,
    ExamplePlace,
    ExampleSet,
    ExampleSetVersion,
    Project,
    PromptVersion,
    Release,
)

# Taken by the address of a version by its hash.
RESERVED_NAMES = frozenset({"versions"})
MAX_DESCRIPTION = 20_000
MAX_MESSAGE = 500
BATCH = 2_000
EXAMPLE_FIELDS = ("example_set", "digest", "input", "output", "note", "tags", "label", "tokens")


@dataclass(frozen=True)
class CommitResult:
    """The version with the committed examples, and whether the commit created it."""

    version: ExampleSetVersion
    created: bool


def get_example_set(project: Project, name: str) -> ExampleSet:
    """Return the project's set of that name, or `example_set.not_found`."""
    example_set = ExampleSet.objects.filter(project=project, name=name).select_related("head").first()
    if example_set is None:
        raise Problem("example_set.not_found", f"There is no example set {quoted(name)} in {project.slug}.")
    example_set.project = project
    return example_set


def get_version(project: Project, name: str, selector: str) -> ExampleSetVersion:
    """Return a version by number, `latest`, or the start of its hash; `example_set.unknown_selector` where none
    fits."""
    example_set = get_example_set(project, name)
    versions = example_set.versions.all()
    match parse_selector(selector):
        case Number(value):
            version = versions.filter(number=value).first()
        case Latest():
            version = example_set.head
        case HashPrefix(value):
            version = versions.filter(content_hash__startswith=value).first()
        case _:
            version = None
    if version is None:
        raise Problem("example_set.unknown_selector", f"{name} has no version {quoted(selector)}.")
    version.example_set = example_set
    return version


def get_version_by_hash(project_id: int, digest: str) -> ExampleSetVersion:
    """Return the oldest version with this hash, or raise `example_set.unknown_selector`."""
    version = _first_with_hash(project_id, digest)
    if version is None:
        raise Problem("example_set.unknown_selector", f"This project has no example set with the hash {digest[:80]}.")
    return version


def _first_with_hash(project_id: int, digest: str) -> ExampleSetVersion | None:
    versions = ExampleSetVersion.objects.filter(example_set__project=project_id, content_hash=digest)
    return versions.select_related("example_set").order_by("id").first()


def get_pinned_version(project_id: int, digest: str) -> ExampleSetVersion:
    """Return the oldest version with the hash that a content pins, or `content.unknown_example_set`."""
    version = _first_with_hash(project_id, digest)
    if version is None:
        sentence = f"This project has no example set with the hash {digest}."
        raise Problem("content.unknown_example_set", sentence)
    return version


@transaction.atomic
def create(actor: Actor, *, name: str, description: str = "") -> ExampleSet:
    """Create a set without versions."""
    actor.require(Right.EDIT)
    if name in RESERVED_NAMES or not is_prompt_name(name):
        rule = "lower-case letters and digits in words joined by . - or _, at most 200 characters"
        raise Problem("example_set.invalid_name", f"An example set's name is {rule}; {quoted(name)} is not.")
    _check_description(description)
    try:
        with transaction.atomic():
            example_set = ExampleSet.objects.create(
                project=actor.project, name=name, description=description, created_by_name=actor.name
            )
    except IntegrityError:
        raise Problem("example_set.name_taken", f"There is an example set {quoted(name)} already.") from None
    audit.record(actor, "example_set.created", example_set, after={"description": description})
    return example_set


@transaction.atomic
def describe(actor: Actor, example_set: ExampleSet, *, description: str) -> ExampleSet:
    actor.require(Right.EDIT)
    _check_description(description)
    locked = lock(example_set)
    if locked.description != description:
        before = {"description": locked.description}
        locked.description = description
        locked.save(update_fields=["description"])
        audit.record(actor, "example_set.described", locked, before=before, after={"description": description})
    return locked


@transaction.atomic
def archive(actor: Actor, example_set: ExampleSet) -> ExampleSet:
    """Take a set out of use; nothing is deleted. `example_set.in_use` where a prompt in use picks from it."""
    actor.require(Right.EDIT)
    locked = lock(example_set)
    if locked.archived_at:
        return locked
    prompt_names = prompts_using(locked)
    if prompt_names:
        sentence = f"{locked.name} is used by {', '.join(prompt_names)}."
        raise Problem("example_set.in_use", sentence, used_by=prompt_names)
    locked.archived_at = timezone.now()
    locked.save(update_fields=["archived_at"])
    audit.record(actor, "example_set.archived", locked)
    return locked


@transaction.atomic
def restore(actor: Actor, example_set: ExampleSet) -> ExampleSet:
    actor.require(Right.EDIT)
    locked = lock(example_set)
    if locked.archived_at:
        locked.archived_at = None
        locked.save(update_fields=["archived_at"])
        audit.record(actor, "example_set.restored", locked)
    return locked


def commit(
    actor: Actor,
    example_set: ExampleSet,
    *,
    examples: object,
    message: str = "",
    expected_latest: str | None = None,
) -> CommitResult:
    """Add examples as the set's next version, or return the newest version if it has exactly these.

    `examples` is a list of documents or of examples in normal form. `expected_latest` is the newest version's hash as
    the author saw it: `request.precondition` where it has changed. Their embedding is queued when this returns.
    """
    actor.require(Right.EDIT)
    if len(message) > MAX_MESSAGE:
        fault = Fault("/message", "too_long", f"Must have at most {MAX_MESSAGE} characters.")
        raise Problem("request.invalid", fault.message, faults=[fault])
    shots = _normal_shots(examples)
    if not shots:
        raise Problem(
            "examples.invalid", "A set has at least one example.", faults=[Fault("", "required", "Is empty.")]
        )
    digest = set_hash(shots)
    with transaction.atomic():
        locked = lock(example_set)
        latest = locked.head
        if expected_latest is not None and expected_latest != (latest.content_hash if latest else ""):
            sentence = f"Another user committed to {locked.name} meanwhile."
            raise Problem("request.precondition", sentence, latest=latest and latest.number)
        # Only the newest counts: going back to the examples of an earlier version is a new version.
        if latest and latest.content_hash == digest:
            latest.example_set = locked
            return CommitResult(latest, created=False)
        if locked.archived_at:
            raise Problem("example_set.archived", f"{locked.name} is archived; restore it to commit.")
        version = _insert(actor, locked, shots, digest, message)
        await_embedding(version, embedders.default_embedder())
        after = {"hash": digest, "size": len(shots), "message": message}
        audit.record(actor, "example_set.committed", version, after=after)
    return CommitResult(version, created=True)


@transaction.atomic
def revise(
    actor: Actor,
    example_set: ExampleSet,
    *,
    changed: Mapping[int, object],
    removed: Iterable[int] = (),
    added: Sequence[object] = (),
    message: str = "",
) -> CommitResult:
    """Commit the newest version with some examples changed (by key), some removed, and some added at the end.

    Changes that others committed meanwhile stay, unless they touched the same examples: `examples.changed_elsewhere`.
    """
    locked = lock(example_set)
    current = (
        [(place.example_id, stored_shot(place.example)) for place in version_places(locked.head)] if locked.head else []
    )
    removed_keys = set(removed)
    missing_keys = (removed_keys | changed.keys()) - {key for key, _ in current}
    if missing_keys:
        sentence = f"Another user changed or removed {len(missing_keys)} of these examples; look at the newest version."
        raise Problem("examples.changed_elsewhere", sentence)
    remaining = [changed.get(key, current_shot.as_dict()) for key, current_shot in current if key not in removed_keys]
    return commit(actor, locked, examples=[*remaining, *added], message=message)


@transaction.atomic
def add(
    actor: Actor, example_set: ExampleSet, *, added: Sequence[Shot], replace: bool, message: str = ""
) -> CommitResult:
    """Commit the newest version with examples from a file added at its end, or with these alone."""
    locked = lock(example_set)
    existing = list(version_shots(locked.head)) if locked.head and not replace else []
    return commit(actor, locked, examples=[*existing, *added], message=message)


def await_embedding(version: ExampleSetVersion, embedder: str) -> None:
    """Queue the embedding of a version for workers; there is none where only wording is compared."""
    if not embedders.is_lexical(embedder):
        Embedding.objects.get_or_create(version=version, embedder=embedder)


def lock(example_set: ExampleSet) -> ExampleSet:
    """Return the set's row, locked until the transaction ends."""
    locked = ExampleSet.objects.select_for_update(no_key=True).get(pk=example_set.pk)
    locked.project = example_set.project
    return locked


def version_places(version: ExampleSetVersion) -> QuerySet[ExamplePlace]:
    """Return a version's examples in their order."""
    return ExamplePlace.objects.filter(version=version).select_related("example").order_by("position")


def version_shots(version: ExampleSetVersion) -> Iterator[Shot]:
    for place in version_places(version).iterator(chunk_size=BATCH):
        yield stored_shot(place.example)


def stored_shot(example: Example) -> Shot:
    """Return a stored example in its normal form."""
    return Shot(example.input, example.output, example.note, tuple(example.tags))


def prompts_using(example_set: ExampleSet) -> list[str]:
    """Return the names of prompts in use whose newest or live version picks from the set."""
    newer = Release.objects.filter(
        environment=OuterRef("environment"), prompt=OuterRef("prompt"), number__gt=OuterRef("number")
    )
    live = Release.objects.filter(~Exists(newer), version=OuterRef("pk"))
    pinning = PromptVersion.objects.filter(example_set__example_set=example_set, prompt__archived_at=None)
    in_use = pinning.filter(Exists(live)) | pinning.filter(prompt__head=F("pk"))
    return sorted(set(in_use.values_list("prompt__name", flat=True)))


def versions_in_use(project: Project) -> QuerySet[ExampleSetVersion]:
    """Return the versions that prompts may show: the newest version of each set in use, and those that the newest or a
    live version of a prompt in use picks from."""
    heads = ExampleSet.objects.filter(project=project, archived_at=None, head__isnull=False).values("head")
    newer = Release.objects.filter(
        environment=OuterRef("environment"), prompt=OuterRef("prompt"), number__gt=OuterRef("number")
    )
    live = Release.objects.filter(~Exists(newer), version=OuterRef("pk"))
    pinning = PromptVersion.objects.filter(prompt__project=project, prompt__archived_at=None, example_set__isnull=False)
    picked = pinning.filter(Exists(live)) | pinning.filter(prompt__head=F("pk"))
    return ExampleSetVersion.objects.filter(Q(pk__in=heads) | Q(pk__in=picked.values("example_set")))


def expected_tokens(version: ExampleSetVersion, selection: Mapping[str, Any]) -> int:
    """Return the tokens that a prompt's examples add to a call: exact where the choice is always the same, else
    estimated by the set's mean length; never more than the budget."""
    rows = version_places(version)
    limit = example_selection.max_count(selection)
    if selection.get("select", "fixed") in example_selection.BY_SIMILARITY:
        mean = rows.aggregate(mean=Avg("example__tokens"))["mean"] or 0
        total = round(mean * min(limit or version.size, version.size))
    else:
        total = rows.filter(position__lte=limit or version.size).aggregate(sum=Sum("example__tokens"))["sum"] or 0
    return min(total, int(selection.get("token_budget", total)))


def _insert(
    actor: Actor, example_set: ExampleSet, shots: Sequence[Shot], digest: str, message: str
) -> ExampleSetVersion:
    version = ExampleSetVersion.objects.create(
        example_set=example_set,
        number=example_set.head.number + 1 if example_set.head else 1,
        content_hash=digest,
        size=len(shots),
        message=message,
        author=actor.user,
        author_key=actor.key,
        author_name=actor.name,
    )
    example_keys = _save_examples(example_set, shots)
    rows = (
        (version.pk, position, example_keys[example_shot.digest])
        for position, example_shot in enumerate(shots, start=1)
    )
    copy_rows(ExamplePlace, ("version", "position", "example"), rows)
    example_set.head = version
    ExampleSet.objects.filter(pk=example_set.pk).update(head=version)
    return version


def _save_examples(example_set: ExampleSet, shots: Iterable[Shot]) -> dict[str, int]:
    """Return the key of each example by its digest; examples that are new to the set are stored."""
    by_digest = {example_shot.digest: example_shot for example_shot in shots}
    mine = Example.objects.filter(example_set=example_set, digest__in=list(by_digest))
    stored = dict(mine.values_list("digest", "pk"))
    new = by_digest.keys() - stored.keys()
    if new:
        rows = (_row(example_set, example_shot) for digest, example_shot in by_digest.items() if digest in new)
        copy_rows(Example, EXAMPLE_FIELDS, rows)
        stored = dict(mine.values_list("digest", "pk"))
    return stored


def _row(example_set: ExampleSet, example_shot: Shot) -> tuple[Any, ...]:
    """Return the values of EXAMPLE_FIELDS."""
    size = tokens.count(example_shot.input).tokens + tokens.count(example_shot.output).tokens
    return (
        example_set.pk,
        example_shot.digest,
        example_shot.input,
        example_shot.output,
        example_shot.note,
        list(example_shot.tags),
        example_shot.label,
        size,
    )


def _normal_shots(examples: object) -> list[Shot]:
    """Normalise examples; those read from a file are in normal form already."""
    if isinstance(examples, list) and examples and all(isinstance(example, Shot) for example in examples):
        if len(examples) > MAX_EXAMPLES:
            raise Problem("examples.too_many", f"A set has at most {MAX_EXAMPLES:,} examples.")
        return list(dict.fromkeys(examples))
    return read_examples(examples)


def _check_description(description: str) -> None:
    if len(description) > MAX_DESCRIPTION:
        fault = Fault("/description", "too_long", f"Must have at most {MAX_DESCRIPTION:,} characters.")
        raise Problem("request.invalid", fault.message, faults=[fault])
