"""What stands in the way of a verb on a promotion: the refusal that the verb would give, or None.

The verbs (registry.promotions.workflow) ask under their locks; a page asks beforehand, to say plainly why a button is not yours.
"""

from core.errors import Problem
from registry.accounts.permissions import Actor, Right
from registry.models import UNDECIDED, Environment, Promotion
from registry.promotions import approvals


def of_verbs(actor: Actor, promotion: Promotion, state: approvals.Standing) -> dict[str, str]:
    """Why the actor could not do a verb now, in a sentence each; a verb that is not in it would be done.

    The verbs themselves ask the same questions again under their locks.
    """
    refusals: dict[str, Problem | None] = {}
    if promotion.status in UNDECIDED:
        may_release = of_release(actor, promotion.environment)
        refusals = {
            "approve": of_decision(actor) or of_approval(actor, promotion, state),
            "request-changes": of_decision(actor),
            "reject": of_decision(actor),
            "apply": may_release or by_rules(state),
            "override": of_override(actor) or may_release or by_rules(state, overriding=True),
            "withdraw": of_right(actor, Right.EDIT) or of_withdrawal(actor, promotion),
        }
    else:
        decided = of_decided(promotion, "changed")
        refusals = dict.fromkeys(("approve", "request-changes", "reject", "apply", "override", "withdraw"), decided)
    refusals["comment"] = of_right(actor, Right.EDIT)
    return {verb: refusal.detail for verb, refusal in refusals.items() if refusal}


def of_right(actor: Actor, right: Right) -> Problem | None:
    try:
        actor.require(right)
    except Problem as problem:
        return problem
    return None


def of_decision(actor: Actor) -> Problem | None:
    if actor.user is None:
        return Problem("promotion.machine_approval", "A decision is a person's; a key or command cannot make one.")
    return of_right(actor, Right.APPROVE)


def of_approval(actor: Actor, promotion: Promotion, state: approvals.Standing) -> Problem | None:
    person = actor.user.pk if actor.user else None
    if person in approvals.persons_behind(promotion):
        own = "wrote this version" if promotion.version.author_id == person else "asked for this promotion"
        return Problem("promotion.own_approval", f"You {own}, so someone else approves it.")
    if any(review.by_id == person for review in state.approvals):
        return Problem("promotion.already_approved", "Your approval stands already.")
    return None


def of_withdrawal(actor: Actor, promotion: Promotion) -> Problem | None:
    asked = (actor.user and promotion.requested_by_id == actor.user.pk) or (
        actor.key and promotion.requested_by_key_id == actor.key.pk
    )
    if asked or actor.may(Right.ADMINISTER):
        return None
    return Problem("access.denied", "Only who asked for a promotion, or an admin, may withdraw it.")


def of_release(actor: Actor, environment: Environment) -> Problem | None:
    return of_right(actor, Right.APPLY if environment.protected else Right.RELEASE)


def of_override(actor: Actor) -> Problem | None:
    return of_right(actor, Right.ADMINISTER)


def by_rules(state: approvals.Standing, *, overriding: bool = False) -> Problem | None:
    """What the environment's rules still ask for."""
    if not state.is_approved:
        return Problem(
            "promotion.approvals_missing",
            _what_is_missing(state),
            needed=state.needed,
            given=len(state.approvals),
            void=[{"by": void.review.by_name, "why": void.why} for void in state.void],
        )
    if state.missing_checks and not overriding:
        sentence = f"Not passed on this version: {', '.join(state.missing_checks)}."
        return Problem("promotion.checks_missing", sentence, checks=state.missing_checks)
    if overriding and not state.missing_checks:
        return Problem("promotion.nothing_to_override", "All required checks have passed; just apply it.")
    return None


def _what_is_missing(state: approvals.Standing) -> str:
    if state.changes_requested:
        return f"{state.changes_requested[0].by_name} asked for changes."
    void = "".join(f" The approval of {void.review.by_name} is void: {void.why}." for void in state.void)
    return f"{len(state.approvals)} of {state.needed} approvals.{void}"


def of_decided(promotion: Promotion, verb: str) -> Problem:
    sentence = f"This promotion is {promotion.status}; it cannot be {verb}."
    return Problem("promotion.wrong_state", sentence, state=promotion.status)
