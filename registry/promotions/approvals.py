"""The approvals and checks of a promotion: which approvals hold, which are void and why, and which checks have passed.

An approval is bound to what it was given for: the version's hash (a promotion's version never changes), the release
that was live in the environment, and the environment's rules. Where any of them has changed it is void.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Q

from registry.accounts import audit
from registry.accounts.permissions import ROLE_RIGHTS, Actor, Right
from registry.content.content_hash import content_hash
from registry.models import (
    UNDECIDED,
    CheckStatus,
    Decision,
    Environment,
    Membership,
    Promotion,
    PromotionStatus,
    Prompt,
    PromptVersion,
    Release,
    Review,
    VersionCheck,
)

APPROVING_ROLES = [role for role, rights in ROLE_RIGHTS.items() if Right.APPROVE in rights]


@dataclass(frozen=True)
class VoidApproval:
    review: Review
    why: str


@dataclass(frozen=True)
class ApprovalStatus:
    """The state of a promotion against its environment's rules right now."""

    needed: int
    approvals: list[Review] = field(default_factory=list)
    void: list[VoidApproval] = field(default_factory=list)
    changes_requested: list[Review] = field(default_factory=list)
    checks: dict[str, VersionCheck | None] = field(default_factory=dict)
    binding: str = ""

    @property
    def is_approved(self) -> bool:
        return len(self.approvals) >= self.needed and not self.changes_requested

    @property
    def missing_checks(self) -> list[str]:
        """Required checks whose newest result is not a pass."""
        return [name for name, check in self.checks.items() if check is None or check.status != CheckStatus.PASSED]


def live_release(environment: Environment, prompt: Prompt) -> Release | None:
    """Return the newest release of a prompt in an environment, with its version."""
    releases = Release.objects.filter(environment=environment, prompt=prompt).select_related("version")
    return releases.order_by("-number").first()


def compared_release(promotion: Promotion) -> Release | None:
    """Return the release that a promotion is compared with: what it replaced, or would replace now; None where nothing
    was live."""
    releases = Release.objects.filter(environment=promotion.environment_id, prompt=promotion.prompt_id)
    own = releases.filter(promotion=promotion.pk).first()
    if own is not None:
        return releases.filter(number=own.number - 1).select_related("version").first()
    if promotion.status in UNDECIDED:
        return live_release(promotion.environment, promotion.prompt)
    return promotion.replaces


def current_binding(promotion: Promotion, live: Release | None) -> str:
    """Return what a decision made now is bound to, as one text that a reviewer can send back (`If-Match`)."""
    return content_hash(
        {
            "version": promotion.version.content_hash,
            "live": live.pk if live else 0,
            "rules": promotion.environment.rules_revision,
        }
    )


def count_possible_approvers(promotion: Promotion) -> int:
    """Count the members who may approve a promotion: who has the role for it, and does not stand behind it."""
    members = Membership.objects.filter(
        project=promotion.environment.project_id, role__in=APPROVING_ROLES, user__is_active=True
    )
    contributors = promotion.contributors.exclude(user=None).values("user")
    return members.exclude(user__in=contributors).count()


def get_approval_status(promotion: Promotion) -> ApprovalStatus:
    """Evaluate the reviews and checks of a promotion, as of now."""
    environment = promotion.environment
    live = live_release(environment, promotion.prompt)
    is_decided = promotion.status not in UNDECIDED
    reviews = promotion.reviews.exclude(decision=Decision.COMMENT).select_related("by").order_by("id")
    last_reviews = {review.by_id: review for review in reviews}
    may_approve = set(
        Membership.objects.filter(
            project=environment.project_id,
            role__in=APPROVING_ROLES,
            user__is_active=True,
            user__in=last_reviews,
        ).values_list("user_id", flat=True)
    )
    contributors = contributors_by_user(promotion)
    result = ApprovalStatus(
        needed=_approvals_needed(promotion),
        checks=newest_checks(promotion.version, environment, environment.checks_needed, until=promotion.decided_at),
        binding=current_binding(promotion, live),
    )
    for review in last_reviews.values():
        if review.decision == Decision.REQUEST_CHANGES and (is_decided or review.by_id in may_approve):
            result.changes_requested.append(review)
        elif review.decision == Decision.APPROVE:
            # Approvals of a decided promotion stay as they were given: its own release is what changed the environment.
            reason = None if is_decided else _void_reason(review, promotion, live, may_approve, contributors)
            result.void.append(VoidApproval(review, reason)) if reason else result.approvals.append(review)
    return result


def _approvals_needed(promotion: Promotion) -> int:
    """Return the approvals that a promotion needs: one more where a key without owner and maker did a part of it.
    Whoever has that key may be the one who approves; then the second pair of eyes is another reviewer's."""
    needed = promotion.environment.approvals_needed
    return needed + 1 if needed and promotion.is_unanswered else needed


def contributors_by_user(promotion: Promotion) -> dict[int, list[str]]:
    """Return why each user who stands behind a promotion does (registry.promotions.contributors); their approvals do
    not count."""
    return {row.user_id: row.reasons for row in promotion.contributors.all()}


def newest_checks(
    version: PromptVersion, environment: Environment, names: Iterable[str], *, until: datetime | None = None
) -> dict[str, VersionCheck | None]:
    """Return the newest result of each named check on a version; None where there is none. What a gate of the
    environment measures counts only as measured, for this very prompt. A decision keeps what it was made on: what came
    after `until` does not count."""
    check_names = list(names)
    newest: dict[str, VersionCheck | None] = dict.fromkeys(check_names)
    if check_names:
        is_measured = Q(name__in=environment.measured_checks)
        measured_here = Q(prompt=version.prompt_id, environment=environment)
        results = VersionCheck.objects.filter(
            (is_measured & measured_here) | (~is_measured & Q(prompt=None)),
            project_id=environment.project_id,
            content_hash=version.content_hash,
            name__in=check_names,
        )
        if until is not None:
            results = results.filter(created_at__lte=until)
        newest |= {check.name: check for check in results.order_by("name", "-id").distinct("name")}
    return newest


def reopen_unapproved(actor: Actor, environment: Environment, why: str, prompt: Prompt | None = None) -> None:
    """Reopen approved promotions whose approvals no longer suffice, after the live release or the rules have changed.

    The caller holds the environment's lock.
    """
    approved = Promotion.objects.filter(environment=environment, status=PromotionStatus.APPROVED)
    if prompt:
        approved = approved.filter(prompt=prompt)
    for promotion in approved.select_related("version", "prompt").order_by("pk"):
        promotion.environment = environment
        if get_approval_status(promotion).is_approved:
            continue
        moved = Promotion.objects.filter(pk=promotion.pk, status=PromotionStatus.APPROVED)
        if moved.update(status=PromotionStatus.OPEN):
            audit.record(actor, "promotion.approvals_void", promotion, after={"why": why})


def _void_reason(
    review: Review,
    promotion: Promotion,
    live: Release | None,
    may_approve: set[int],
    contributors: dict[int, list[str]],
) -> str | None:
    environment = promotion.environment
    if review.bound_release_id != (live.pk if live else None):
        now = f"version {live.version.number}" if live else "nothing"
        return f"{environment.name} has changed since: {now} is live there now"
    if review.bound_rules != environment.rules_revision:
        return f"the rules of {environment.name} have changed since"
    if review.by_id not in may_approve:
        return f"{review.by_name} may no longer approve"
    if review.by_id in contributors:
        return f"{review.by_name} {contributors[review.by_id][0]}"
    return None
