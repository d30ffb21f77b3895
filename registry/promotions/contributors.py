"""Contributors of a promotion: everybody whose work it would make live. None of them may approve it.

Four eyes means that somebody else reads what a model will read. So it is not enough to look at who asked and who wrote
the version: whoever wrote a partial, an example set or a prompt that the version pins and that is new in the
environment stands behind it too, and so does the holder of the key that did any of it. They are recorded when a
promotion is requested, with their reasons, and the database refuses their approvals (registry.models.governance).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from core.errors import Problem
from registry.models import (
    APIKey,
    Environment,
    ExampleSetVersion,
    Promotion,
    PromotionContributor,
    PromptVersion,
    Release,
    User,
)
from registry.prompts.pinned import WITH_AUTHOR, Pinned, pinned_by

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
    copied into its own. Where a key did something that nobody answers for, that is written down too.

    Raises `promotion.unknown_pin` where it names a version that does not exist: whoever commits that later would not
    stand behind it.
    """
    pinned = pinned_by(promotion.version, *derived_from)
    if pinned.unresolved:
        names = sorted(pinned.unresolved)
        sentence = f"It names what does not exist here: {', '.join(names[:3])}."
        raise Problem("promotion.unknown_pin", sentence, references=names)
    reasons: dict[int, list[str]] = {}
    is_unanswered = False
    for contribution in contributions(promotion, pinned):
        people = list(_people(contribution))
        is_unanswered |= contribution.key is not None and not people
        for person, reason in people:
            reasons.setdefault(person.pk, []).append(reason[:MAX_REASON_LENGTH])
    PromotionContributor.objects.bulk_create(
        PromotionContributor(promotion=promotion, user_id=user, reasons=list(dict.fromkeys(reasons[user])))
        for user in sorted(reasons)
    )
    if is_unanswered:
        promotion.is_unanswered = True
        promotion.save(update_fields=["is_unanswered"])


def contributions(promotion: Promotion, pinned: Pinned) -> Iterator[Contribution]:
    """Yield what was done for a promotion: the request, the version, and everything that is new in the environment of
    what it grew from and what it pins. Not new is what was released there with approvals, or is pinned by what is live
    with approvals."""
    version = promotion.version
    yield Contribution(promotion.requested_by, promotion.requested_by_key, "asked for this")
    yield Contribution(version.author, version.author_key, f"wrote {version}")
    reviewed = _reviewed_before(promotion)
    for row in pinned.versions.values():
        if row.pk not in reviewed.versions:
            for written in _grown_from(row, reviewed.versions):
                if written.pk != version.pk:
                    yield Contribution(written.author, written.author_key, f"wrote {written}")
    for examples in pinned.example_sets.values():
        if examples.pk not in reviewed.example_sets:
            for collected in _collected_from(examples, reviewed.example_sets):
                yield Contribution(collected.author, collected.author_key, f"wrote the examples {collected}")


def _grown_from(version: PromptVersion, reviewed: set[int]) -> Iterator[PromptVersion]:
    """Yield a version and those between it and the newest reviewed one: a merge, or a commit with another parent, may
    carry on the text of any of them. One by each author is enough."""
    versions = PromptVersion.objects.filter(prompt=version.prompt_id, number__lte=version.number)
    newest_reviewed = versions.filter(pk__in=reviewed).order_by("-number").values_list("number", flat=True).first()
    newer = versions.filter(number__gt=newest_reviewed or 0).order_by("author_id", "author_key_id", "-number")
    return newer.distinct("author_id", "author_key_id").defer("content").select_related(*WITH_AUTHOR).iterator()


def _collected_from(version: ExampleSetVersion, reviewed: set[int]) -> Iterator[ExampleSetVersion]:
    """Yield a version of an example set and those between it and the newest reviewed one: it carries on their
    examples. One by each author is enough."""
    versions = ExampleSetVersion.objects.filter(example_set=version.example_set_id, number__lte=version.number)
    newest_reviewed = versions.filter(pk__in=reviewed).order_by("-number").values_list("number", flat=True).first()
    newer = versions.filter(number__gt=newest_reviewed or 0).order_by("author_id", "author_key_id", "-number")
    related = ("example_set", *WITH_AUTHOR[1:])
    return newer.distinct("author_id", "author_key_id").select_related(*related).iterator()


def reviewed_pins(environment: Environment, live: Release | None) -> Pinned:
    """Return what a live release pins that reviewers have seen. What went live in a protected environment while nobody
    had to approve is as new as ever; where nobody has to approve at all, everything that is live counts."""
    if live is None or (environment.approvals_needed and not live.approvals):
        return Pinned()
    return pinned_by(live.version, until=live.created_at)


def _reviewed_before(promotion: Promotion) -> _Reviewed:
    """Return what went live in the environment with approvals."""
    pinned = reviewed_pins(promotion.environment, promotion.replaces)
    released = Release.objects.filter(environment=promotion.environment, approvals__gte=1)
    return _Reviewed(
        pinned.versions.keys() | set(released.values_list("version_id", flat=True)), set(pinned.example_sets)
    )


def _people(contribution: Contribution) -> Iterator[tuple[User, str]]:
    """Yield who answers for a contribution, with the reason: who did it, or of a key who holds it and who made it,
    because both have seen it."""
    key = contribution.key
    if contribution.user:
        yield contribution.user, contribution.what
    elif key is not None:
        if key.owner:
            yield key.owner, f"{contribution.what} with the key {key.name}"
        if key.created_by and key.created_by != key.owner:
            yield key.created_by, f"made the key {key.name}, which {contribution.what}"
