"""Contributors of a promotion: everybody whose work it would make live. None of them may approve it.

Four eyes means that somebody else reads what a model will read. So it is not enough to look at who asked and who wrote
the version: whoever wrote a partial, an example set or a prompt that the version pins and that is new in the
environment stands behind it too, and so does the holder of the key that did any of it. They are recorded when a
promotion is requested, with their reasons, and the database refuses their approvals (registry.models.governance).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from registry.models import APIKey, ExampleSetVersion, Promotion, PromotionContributor, PromptVersion, Release, User
from registry.prompts.pinned import WITH_AUTHOR, Pinned, get_versions, pinned_by

MAX_REASON_LENGTH = 300


@dataclass(frozen=True)
class Contribution:
    """What somebody did: by hand, or with a key."""

    user: User | None
    key: APIKey | None
    what: str


@dataclass(frozen=True)
class _Reviewed:
    """Ids of what the environment's reviewers have approved before."""

    versions: set[int]
    example_sets: set[int]


def record(promotion: Promotion, derived_from: Sequence[PromptVersion] = ()) -> None:
    """Write down who stands behind a promotion that is being requested; `derived_from` are versions whose text was
    copied into its own."""
    reasons: dict[int, list[str]] = {}
    for contribution in contributions(promotion, derived_from):
        for person, how in _people(contribution):
            reasons.setdefault(person.pk, []).append(f"{contribution.what}{how}"[:MAX_REASON_LENGTH])
    PromotionContributor.objects.bulk_create(
        PromotionContributor(promotion=promotion, user_id=user, reasons=list(dict.fromkeys(reasons[user])))
        for user in sorted(reasons)
    )


def contributions(promotion: Promotion, derived_from: Sequence[PromptVersion] = ()) -> Iterator[Contribution]:
    """Yield what was done for a promotion: the request, the version, and everything that is new in the environment of
    what it grew from and what it pins. Not new is what was released there with approvals, or is pinned by what is live
    with approvals."""
    version = promotion.version
    yield Contribution(promotion.requested_by, promotion.requested_by_key, "asked for this")
    yield Contribution(version.author, version.author_key, f"wrote {version}")
    reviewed = _reviewed_before(promotion)
    pinned = pinned_by(version, *derived_from)
    for row in _with_ancestors(pinned.versions, reviewed.versions):
        if row.pk != version.pk:
            yield Contribution(row.author, row.author_key, f"wrote {row}")
    for examples in _with_earlier_examples(pinned.example_sets, reviewed.example_sets):
        yield Contribution(examples.author, examples.author_key, f"wrote the examples {examples}")


def _with_ancestors(versions: Mapping[int, PromptVersion], reviewed: set[int]) -> Iterator[PromptVersion]:
    """Yield the versions that are new, and those that they grew from, back to one that is reviewed: their text is in
    them."""
    level = {pk: row for pk, row in versions.items() if pk not in reviewed}
    seen = set(level) | reviewed
    while level:
        yield from level.values()
        parents = {row.parent_id for row in level.values() if row.parent_id and row.parent_id not in seen}
        level = get_versions(parents)
        seen |= parents


def _with_earlier_examples(
    example_sets: Mapping[int, ExampleSetVersion], reviewed: set[int]
) -> Iterator[ExampleSetVersion]:
    """Yield the versions of example sets that are new, and those between them and the newest reviewed one: a version
    carries on the examples of those before it."""
    for row in example_sets.values():
        if row.pk in reviewed:
            continue
        versions = ExampleSetVersion.objects.filter(example_set=row.example_set_id)
        newest_reviewed = versions.filter(pk__in=reviewed, number__lt=row.number).order_by("-number").first()
        newer = versions.filter(number__lte=row.number, number__gt=newest_reviewed.number if newest_reviewed else 0)
        yield from newer.select_related("example_set", *WITH_AUTHOR[1:])


def _reviewed_before(promotion: Promotion) -> _Reviewed:
    """Return what went live in the environment with approvals. What went live while nobody had to approve is as new as
    ever."""
    live = promotion.replaces
    pinned = pinned_by(live.version) if live and live.approvals else Pinned()
    released = Release.objects.filter(environment=promotion.environment, approvals__gte=1)
    return _Reviewed(
        pinned.versions.keys() | set(released.values_list("version_id", flat=True)), set(pinned.example_sets)
    )


def _people(contribution: Contribution) -> Iterator[tuple[User, str]]:
    """Yield who answers for a contribution: who did it, or of a key who holds it and who made it, because both have
    seen it."""
    key = contribution.key
    if contribution.user:
        yield contribution.user, ""
    elif key is not None:
        if key.owner:
            yield key.owner, f" with the key {key.name}"
        if key.created_by and key.created_by != key.owner:
            yield key.created_by, f" with the key {key.name}, which they made"
