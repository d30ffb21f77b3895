"""What waits for a person: promotions to review, and their own that need the next step.

The queries say in SQL what `approvals.standing` says of one promotion; tests hold the two to the same answer.
"""

from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from registry.accounts.permissions import Actor, Right
from registry.models import Decision, Promotion, PromotionStatus, PromptDraft, Release, Review, User

# Comments decide nothing.
DECISIONS = Review.objects.exclude(decision=Decision.COMMENT)


def to_review(actor: Actor) -> QuerySet[Promotion]:
    """Open promotions that this person may approve and has not spoken about, or whose approval has become void."""
    if actor.user is None or not actor.may(Right.APPROVE):
        return Promotion.objects.none()
    mine = Q(requested_by=actor.user) | Q(version__author=actor.user)
    mine |= Q(requested_by_key__created_by=actor.user) | Q(version__author_key__created_by=actor.user)
    last_word = DECISIONS.filter(promotion=OuterRef("pk"), by=actor.user).order_by("-id")
    live = Release.objects.filter(environment=OuterRef("promotion__environment"), prompt=OuterRef("promotion__prompt"))
    standing = Review.objects.alias(live=Coalesce(Subquery(live.order_by("-number").values("pk")[:1]), 0)).filter(
        Q(decision=Decision.REQUEST_CHANGES)
        | Q(
            decision=Decision.APPROVE,
            bound_rules=OuterRef("environment__rules_revision"),
            live=Coalesce(F("bound_release"), 0),
        ),
        pk=OuterRef("my_last_word"),
    )
    return (
        _rows(actor, status=PromotionStatus.OPEN)
        .exclude(mine)
        .alias(my_last_word=Subquery(last_word.values("pk")[:1]))
        .exclude(Exists(standing))
    )


def to_release(actor: Actor) -> QuerySet[Promotion]:
    """The person's own promotions that are approved: making them live is the next step."""
    return _rows(actor, status=PromotionStatus.APPROVED, requested_by=_person(actor))


def to_answer(actor: Actor) -> QuerySet[Promotion]:
    """The person's own promotions to which a reviewer asked for changes and has said nothing else since."""
    later = DECISIONS.filter(promotion=OuterRef("promotion"), by=OuterRef("by"), pk__gt=OuterRef("pk"))
    asked = Review.objects.filter(~Exists(later), promotion=OuterRef("pk"), decision=Decision.REQUEST_CHANGES)
    return _rows(actor, status=PromotionStatus.OPEN, requested_by=_person(actor)).filter(Exists(asked))


def waiting_elsewhere(actor: Actor) -> QuerySet[Promotion]:
    """The person's own promotions that somebody else must act on."""
    return _rows(actor, status=PromotionStatus.OPEN, requested_by=_person(actor)).exclude(
        pk__in=to_answer(actor).values("pk")
    )


def drafts(actor: Actor) -> QuerySet[PromptDraft]:
    """What the person has begun to write and not committed, newest first."""
    rows = PromptDraft.objects.filter(prompt__project=actor.project, user=_person(actor))
    return rows.select_related("prompt", "base").defer("document", "base__content").order_by("-updated_at")


def count(actor: Actor) -> int:
    """How many promotions wait for this person; one query."""
    if actor.user is None:
        return 0
    waiting = Q(pk__in=to_review(actor).values("pk"))
    waiting |= Q(pk__in=to_release(actor).values("pk")) | Q(pk__in=to_answer(actor).values("pk"))
    return Promotion.objects.filter(waiting).count()


def _rows(actor: Actor, **conditions: object) -> QuerySet[Promotion]:
    rows = Promotion.objects.filter(environment__project=actor.project, **conditions)
    return (
        rows.select_related("prompt", "version", "environment", "replaces__version")
        .defer("version__content", "replaces__version__content", "prompt__head_text")
        .order_by("id")
    )


def _person(actor: Actor) -> User | None:
    return actor.user
