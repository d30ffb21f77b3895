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

# The address of a version by its hash stands where a set's name does otherwise.
RESERVED_NAMES = frozenset({"versions"})
MAX_DESCRIPTION = 20_000
MAX_MESSAGE = 500
BATCH = 2_000
EXAMPLE_FIELDS = ("example_set", "digest", "input", "output", "note", "tags", "label", "tokens")


@dataclass(frozen=True)
class Committed:
    """The version that has the committed examples, and whether the commit made it."""

    version: ExampleSetVersion
    created: bool


def named(project: Project, name: str) -> ExampleSet:
    """The project's set of that name, or `example_set.not_found`."""
    found = ExampleSet.objects.filter(project=project, name=name).select_related("head").first()
    if found is None:
        raise Problem("example_set.not_found", f"There is no example set {quoted(name)} in {project.slug}.")
    found.project = project
    return found


def selected(project: Project, name: str, selector: str) -> ExampleSetVersion:
    """A version by number, `latest`, or the start of its hash; `example_set.unknown_selector` where there is none."""
    example_set = named(project, name)
    versions = example_set.versions.all()
    match parse_selector(selector):
        case Number(value):
            found = versions.filter(number=value).first()
        case Latest():
            found = example_set.head
        case HashPrefix(value):
            found = versions.filter(content_hash__startswith=value).first()
        case _:
            found = None
    if found is None:
        raise Problem("example_set.unknown_selector", f"{name} has no version {quoted(selector)}.")
    found.example_set = example_set
    return found


def pinned(project_id: int, digest: str) -> ExampleSetVersion:
    """The version with this hash, or `content.unknown_example_set`. Of sets with equal examples it is the oldest."""
    versions = ExampleSetVersion.objects.filter(example_set__project=project_id, content_hash=digest)
    found = versions.select_related("example_set").order_by("id").first()
    if found is None:
        sentence = f"This project has no example set with the hash {digest}."
        raise Problem("content.unknown_example_set", sentence)
    return found


@transaction.atomic
def create(actor: Actor, *, name: str, description: str = "") -> ExampleSet:
    """A set without versions."""
    actor.require(Right.EDIT)
    if name in RESERVED_NAMES or not is_prompt_name(name):
        rule = "lower-case letters and digits in words joined by . - or _, at most 200 characters"
        raise Problem("example_set.invalid_name", f"An example set's name is {rule}; {quoted(name)} is not.")
    _check_description(description)
    try:
        with transaction.atomic():
            made = ExampleSet.objects.create(
                project=actor.project, name=name, description=description, created_by_name=actor.name
            )
    except IntegrityError:
        raise Problem("example_set.name_taken", f"There is an example set {quoted(name)} already.") from None
    audit.record(actor, "example_set.created", made, after={"description": description})
    return made


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
    users = used_by(locked)
    if users:
        raise Problem("example_set.in_use", f"{locked.name} is used by {', '.join(users)}.", used_by=users)
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
) -> Committed:
    """Add examples as the set's next version, or find that the newest has just these.

    `examples` is a list of documents or of examples in normal form. `expected_latest` is the newest version's hash as
    the author saw it: `request.precondition` where it has changed. What embeds them is waiting when this returns.
    """
    actor.require(Right.EDIT)
    if len(message) > MAX_MESSAGE:
        fault = Fault("/message", "too_long", f"Must have at most {MAX_MESSAGE} characters.")
        raise Problem("request.invalid", fault.message, faults=[fault])
    shots = _normal(examples)
    if not shots:
        raise Problem(
            "examples.invalid", "A set has at least one example.", faults=[Fault("", "required", "Is empty.")]
        )
    digest = set_hash(shots)
    with transaction.atomic():
        locked = lock(example_set)
        latest = locked.head
        if expected_latest is not None and expected_latest != (latest.content_hash if latest else ""):
            sentence = f"Somebody committed to {locked.name} meanwhile."
            raise Problem("request.precondition", sentence, latest=latest and latest.number)
        # An earlier version that had them is none: going back to it is a step forward, as it is for everything here.
        if latest and latest.content_hash == digest:
            latest.example_set = locked
            return Committed(latest, created=False)
        if locked.archived_at:
            raise Problem("example_set.archived", f"{locked.name} is archived; restore it to commit.")
        version = _insert(actor, locked, shots, digest, message)
        await_embedding(version, embedders.default())
        after = {"hash": digest, "size": len(shots), "message": message}
        audit.record(actor, "example_set.committed", version, after=after)
    return Committed(version, created=True)


@transaction.atomic
def revise(
    actor: Actor,
    example_set: ExampleSet,
    *,
    changed: Mapping[int, object],
    removed: Iterable[int] = (),
    added: Sequence[object] = (),
    message: str = "",
) -> Committed:
    """Commit the newest version with some examples changed (by key), some removed, and some added at the end.

    What others committed meanwhile stays, unless it touched the same examples: `examples.changed_elsewhere`.
    """
    locked = lock(example_set)
    current = [(place.example_id, shot(place.example)) for place in places(locked.head)] if locked.head else []
    gone = set(removed)
    lost = (gone | changed.keys()) - {key for key, _ in current}
    if lost:
        sentence = f"Somebody changed or removed {len(lost)} of these examples meanwhile; look at the newest version."
        raise Problem("examples.changed_elsewhere", sentence)
    kept = [changed.get(key, one.as_dict()) for key, one in current if key not in gone]
    return commit(actor, locked, examples=[*kept, *added], message=message)


@transaction.atomic
def add(actor: Actor, example_set: ExampleSet, *, added: Sequence[Shot], replace: bool, message: str = "") -> Committed:
    """Commit the newest version with examples from a file added at its end, or with these alone."""
    locked = lock(example_set)
    kept = list(shots(locked.head)) if locked.head and not replace else []
    return commit(actor, locked, examples=[*kept, *added], message=message)


def await_embedding(version: ExampleSetVersion, embedder: str) -> None:
    """Leave the work of embedding a version where workers find it; nothing to do where only wording is compared."""
    if not embedders.is_lexical(embedder):
        Embedding.objects.get_or_create(version=version, embedder=embedder)


def lock(example_set: ExampleSet) -> ExampleSet:
    """The set's row, locked until the transaction ends."""
    locked = ExampleSet.objects.select_for_update(no_key=True).get(pk=example_set.pk)
    locked.project = example_set.project
    return locked


def places(version: ExampleSetVersion) -> QuerySet[ExamplePlace]:
    """A version's examples in their order."""
    return ExamplePlace.objects.filter(version=version).select_related("example").order_by("position")


def shots(version: ExampleSetVersion) -> Iterator[Shot]:
    for place in places(version).iterator(chunk_size=BATCH):
        yield shot(place.example)


def shot(example: Example) -> Shot:
    """A stored example in its normal form."""
    return Shot(example.input, example.output, example.note, tuple(example.tags))


def used_by(example_set: ExampleSet) -> list[str]:
    """Prompts in use whose newest or live version picks from the set, by name."""
    newer = Release.objects.filter(
        environment=OuterRef("environment"), prompt=OuterRef("prompt"), number__gt=OuterRef("number")
    )
    live = Release.objects.filter(~Exists(newer), version=OuterRef("pk"))
    pinning = PromptVersion.objects.filter(example_set__example_set=example_set, prompt__archived_at=None)
    in_use = pinning.filter(Exists(live)) | pinning.filter(prompt__head=F("pk"))
    return sorted(set(in_use.values_list("prompt__name", flat=True)))


def shown_versions(project: Project) -> QuerySet[ExampleSetVersion]:
    """What prompts may show just now: the newest version of each set in use, and what the newest or a live version of a
    prompt in use picks from."""
    heads = ExampleSet.objects.filter(project=project, archived_at=None, head__isnull=False).values("head")
    newer = Release.objects.filter(
        environment=OuterRef("environment"), prompt=OuterRef("prompt"), number__gt=OuterRef("number")
    )
    live = Release.objects.filter(~Exists(newer), version=OuterRef("pk"))
    pinning = PromptVersion.objects.filter(prompt__project=project, prompt__archived_at=None, example_set__isnull=False)
    picked = pinning.filter(Exists(live)) | pinning.filter(prompt__head=F("pk"))
    return ExampleSetVersion.objects.filter(Q(pk__in=heads) | Q(pk__in=picked.values("example_set")))


def expected_tokens(version: ExampleSetVersion, asked: Mapping[str, Any]) -> int:
    """The tokens that a prompt's choice of examples adds to a call: exact where the choice is always the same, else
    as many examples of the set's mean length; never more than the budget."""
    rows = places(version)
    limit = example_selection.wanted(asked)
    if asked.get("select", "fixed") in example_selection.BY_SIMILARITY:
        mean = rows.aggregate(mean=Avg("example__tokens"))["mean"] or 0
        found = round(mean * min(limit or version.size, version.size))
    else:
        found = rows.filter(position__lte=limit or version.size).aggregate(sum=Sum("example__tokens"))["sum"] or 0
    return min(found, int(asked.get("token_budget", found)))


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
    kept = _keep(example_set, shots)
    rows = ((version.pk, position, kept[one.digest]) for position, one in enumerate(shots, start=1))
    copy_rows(ExamplePlace, ("version", "position", "example"), rows)
    example_set.head = version
    ExampleSet.objects.filter(pk=example_set.pk).update(head=version)
    return version


def _keep(example_set: ExampleSet, shots: Iterable[Shot]) -> dict[str, int]:
    """The key of each example by its digest; those that the set has never had are stored."""
    by_digest = {one.digest: one for one in shots}
    mine = Example.objects.filter(example_set=example_set, digest__in=list(by_digest))
    kept = dict(mine.values_list("digest", "pk"))
    new = by_digest.keys() - kept.keys()
    if new:
        rows = (_row(example_set, one) for digest, one in by_digest.items() if digest in new)
        copy_rows(Example, EXAMPLE_FIELDS, rows)
        kept = dict(mine.values_list("digest", "pk"))
    return kept


def _row(example_set: ExampleSet, one: Shot) -> tuple[Any, ...]:
    """The values of EXAMPLE_FIELDS."""
    size = tokens.count(one.input).tokens + tokens.count(one.output).tokens
    return (example_set.pk, one.digest, one.input, one.output, one.note, list(one.tags), one.label, size)


def _normal(examples: object) -> list[Shot]:
    """Examples that were read from a file are in normal form already."""
    if isinstance(examples, list) and examples and all(isinstance(one, Shot) for one in examples):
        if len(examples) > MAX_EXAMPLES:
            raise Problem("examples.too_many", f"A set has at most {MAX_EXAMPLES:,} examples.")
        return list(dict.fromkeys(examples))
    return read_examples(examples)


def _check_description(description: str) -> None:
    if len(description) > MAX_DESCRIPTION:
        fault = Fault("/description", "too_long", f"Must have at most {MAX_DESCRIPTION:,} characters.")
        raise Problem("request.invalid", fault.message, faults=[fault])
