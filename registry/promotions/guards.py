"""Guards of the verbs on a promotion: each returns the refusal that the verb would raise, or None.

The verbs (registry.promotions.workflow) check them under their locks; a page checks beforehand, to show why a button is
disabled.
"""

from django.conf import settings
from django.utils.module_loading import import_string

from core.errors import Problem
from registry.accounts.permissions import Actor, Right
from registry.models import UNDECIDED, Environment, Promotion, PromptVersion
from registry.promotions import approvals


def version_refusal(version: PromptVersion) -> Problem | None:
    """Return the first refusal of a version by the apps that know what its content is for (settings.VERSION_GUARDS)."""
    guards = map(import_string, settings.VERSION_GUARDS)
    return next(filter(None, (guard(version) for guard in guards)), None)


def may_release_again(environment: Environment, version: PromptVersion) -> bool:
    """Return whether a version that is live may be released once more (settings.MAY_RELEASE_AGAIN)."""
    return bool(import_string(settings.MAY_RELEASE_AGAIN)(environment, version))


def blocked_reasons(actor: Actor, promotion: Promotion, status: approvals.ApprovalStatus) -> dict[str, str]:
    """Return the reason for each verb that the actor cannot do now; a verb without a reason is allowed.

    The verbs themselves check the same guards again under their locks.
    """
    refusals: dict[str, Problem | None] = {}
    if promotion.status in UNDECIDED:
        release_refused = release_refusal(actor, promotion.environment)
        refusals = {
            "approve": decision_refusal(actor) or approval_refusal(actor, promotion, status),
            "request-changes": decision_refusal(actor),
            "reject": decision_refusal(actor),
            "apply": release_refused or rules_refusal(status),
            "override": override_refusal(actor) or release_refused or rules_refusal(status, overriding=True),
            "withdraw": right_refusal(actor, Right.EDIT) or withdrawal_refusal(actor, promotion),
        }
    else:
        decided = decided_problem(promotion, "changed")
        refusals = dict.fromkeys(("approve", "request-changes", "reject", "apply", "override", "withdraw"), decided)
    refusals["comment"] = right_refusal(actor, Right.EDIT)
    return {verb: refusal.detail for verb, refusal in refusals.items() if refusal}


def right_refusal(actor: Actor, right: Right) -> Problem | None:
    try:
        actor.require(right)
    except Problem as problem:
        return problem
    return None


def decision_refusal(actor: Actor) -> Problem | None:
    if actor.user is None:
        return Problem("promotion.machine_approval", "Only users decide on promotions; a key or command cannot.")
    return right_refusal(actor, Right.APPROVE)


def approval_refusal(actor: Actor, promotion: Promotion, status: approvals.ApprovalStatus) -> Problem | None:
    person = actor.user.pk if actor.user else None
    reasons = approvals.contributors_by_user(promotion).get(person or 0)
    if reasons:
        sentence = f"You {' and '.join(reasons)}, so another user has to approve it."
        return Problem("promotion.own_approval", sentence, reasons=reasons)
    if any(review.by_id == person for review in status.approvals):
        return Problem("promotion.already_approved", "Your approval stands already.")
    return None


def withdrawal_refusal(actor: Actor, promotion: Promotion) -> Problem | None:
    is_requester = (actor.user and promotion.requested_by_id == actor.user.pk) or (
        actor.key and promotion.requested_by_key_id == actor.key.pk
    )
    if is_requester or actor.may(Right.ADMINISTER):
        return None
    return Problem("access.denied", "Only the requester of a promotion, or an admin, may withdraw it.")


def release_refusal(actor: Actor, environment: Environment) -> Problem | None:
    return right_refusal(actor, Right.APPLY if environment.protected else Right.RELEASE)


def override_refusal(actor: Actor) -> Problem | None:
    return right_refusal(actor, Right.ADMINISTER)


def rules_refusal(status: approvals.ApprovalStatus, *, overriding: bool = False) -> Problem | None:
    """Return the refusal by the environment's rules, or None where they are met."""
    if not status.is_approved:
        return Problem(
            "promotion.approvals_missing",
            _missing_approvals(status),
            needed=status.needed,
            given=len(status.approvals),
            void=[{"by": void.review.by_name, "why": void.why} for void in status.void],
        )
    if status.missing_checks and not overriding:
        sentence = f"Not passed on this version: {', '.join(status.missing_checks)}."
        return Problem("promotion.checks_missing", sentence, checks=status.missing_checks)
    if overriding and not status.missing_checks:
        return Problem("promotion.nothing_to_override", "All required checks have passed; just release it.")
    return None


def _missing_approvals(status: approvals.ApprovalStatus) -> str:
    if status.changes_requested:
        return f"{status.changes_requested[0].by_name} asked for changes."
    void = "".join(f" The approval of {void.review.by_name} is void: {void.why}." for void in status.void)
    return f"{len(status.approvals)} of {status.needed} approvals.{void}"


def decided_problem(promotion: Promotion, verb: str) -> Problem:
    sentence = f"This promotion is {promotion.status}; it cannot be {verb}."
    return Problem("promotion.wrong_state", sentence, state=promotion.status)
