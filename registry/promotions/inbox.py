"""The inbox of a user: promotions to review, and their own that need the next step.

The queries say in SQL what `approvals.get_approval_status` says of one promotion; tests compare the two.
"""

from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from registry.accounts import invitations
from registry.accounts.permissions import Actor, Right
from registry.models import (
    Decision,
    Promotion,
    PromotionContributor,
    PromotionStatus,
    PromptDraft,
    Release,
    Review,
    User,
)

# Comments decide nothing.
DECISIONS = Review.objects.exclude(decision=Decision.COMMENT)


def promotions_to_review(actor: Actor) -> QuerySet[Promotion]:
    """Return open promotions that this user may approve and has not reviewed, or whose approval has become void."""
    if actor.user is None or not actor.may(Right.APPROVE):
        return Promotion.objects.none()
    mine = PromotionContributor.objects.filter(promotion=OuterRef("pk"), user=actor.user)
    last_review = DECISIONS.filter(promotion=OuterRef("pk"), by=actor.user).order_by("-id")
    live = Release.objects.filter(environment=OuterRef("promotion__environment"), prompt=OuterRef("promotion__prompt"))
    standing = Review.objects.alias(live=Coalesce(Subquery(live.order_by("-number").values("pk")[:1]), 0)).filter(
        Q(decision=Decision.REQUEST_CHANGES)
        | Q(
            decision=Decision.APPROVE,
            bound_rules=OuterRef("environment__rules_revision"),
            live=Coalesce(F("bound_release"), 0),
        ),
        pk=OuterRef("my_last_review"),
    )
    return (
        _rows(actor, status=PromotionStatus.OPEN)
        .exclude(Exists(mine))
        .alias(my_last_review=Subquery(last_review.values("pk")[:1]))
        .exclude(Exists(standing))
    )


def promotions_to_release(actor: Actor) -> QuerySet[Promotion]:
    """Return the user's own approved promotions, whose next step is the release."""
    return _rows(actor, status=PromotionStatus.APPROVED, requested_by=_user(actor))


def promotions_to_answer(actor: Actor) -> QuerySet[Promotion]:
    """Return the user's own promotions with an unanswered request for changes."""
    later = DECISIONS.filter(promotion=OuterRef("promotion"), by=OuterRef("by"), pk__gt=OuterRef("pk"))
    change_requests = Review.objects.filter(~Exists(later), promotion=OuterRef("pk"), decision=Decision.REQUEST_CHANGES)
    return _rows(actor, status=PromotionStatus.OPEN, requested_by=_user(actor)).filter(Exists(change_requests))


def promotions_waiting_for_others(actor: Actor) -> QuerySet[Promotion]:
    """Return the user's own promotions that other users must act on."""
    return _rows(actor, status=PromotionStatus.OPEN, requested_by=_user(actor)).exclude(
        pk__in=promotions_to_answer(actor).values("pk")
    )


def uncommitted_drafts(actor: Actor) -> QuerySet[PromptDraft]:
    """Return the user's uncommitted drafts, newest first."""
    rows = PromptDraft.objects.filter(prompt__project=actor.project, user=_user(actor))
    return rows.select_related("prompt", "base").defer("document", "base__content").order_by("-updated_at")


def count_waiting(actor: Actor) -> int:
    """Count what waits for this user, in one query: promotions, and invitations into other projects."""
    if actor.user is None:
        return 0
    waiting = Q(pk__in=promotions_to_review(actor).values("pk"))
    waiting |= Q(pk__in=promotions_to_release(actor).values("pk")) | Q(pk__in=promotions_to_answer(actor).values("pk"))
    promotions = Promotion.objects.filter(waiting).order_by().values("pk")
    return promotions.union(invitations.invitations_of(actor.user).order_by().values("pk"), all=True).count()


def _rows(actor: Actor, **conditions: object) -> QuerySet[Promotion]:
    rows = Promotion.objects.filter(environment__project=actor.project, **conditions)
    return (
        rows.select_related("prompt", "version", "environment", "replaces__version")
        .defer("version__content", "replaces__version__content", "prompt__head_text")
        .order_by("id")
    )


def _user(actor: Actor) -> User | None:
    return actor.user
