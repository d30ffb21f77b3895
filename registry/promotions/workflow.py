"""Promotions: requesting a release, reviewing it, and applying it.

    open ──approve──▶ approved ──apply──▶ applied        (from open too, where its approvals suffice)
      ▲ ◀─request changes, approvals void─┘
      └──▶ rejected | withdrawn                          (from open or approved)

Every verb takes the locks in one order: environment, prompt, promotion.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.utils import timezone

from core.errors import Fault, Problem
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.models import (
    Decision,
    Environment,
    Project,
    Promotion,
    PromotionStatus,
    Prompt,
    PromptVersion,
    Release,
    ReleaseKind,
    Review,
)
from registry.promotions import approvals, contributors, environments, guards, releases
from registry.prompts import lifecycle as prompts

TRANSITIONS: dict[PromotionStatus, frozenset[PromotionStatus]] = {
    PromotionStatus.OPEN: frozenset(
        {
            PromotionStatus.APPROVED,
            PromotionStatus.APPLIED,
            PromotionStatus.REJECTED,
            PromotionStatus.WITHDRAWN,
        }
    ),
    PromotionStatus.APPROVED: frozenset(
        {PromotionStatus.OPEN, PromotionStatus.APPLIED, PromotionStatus.REJECTED, PromotionStatus.WITHDRAWN}
    ),
    PromotionStatus.APPLIED: frozenset(),
    PromotionStatus.REJECTED: frozenset(),
    PromotionStatus.WITHDRAWN: frozenset(),
}
MAX_TEXT = 5_000


def get_promotion(project: Project, number: int) -> Promotion:
    """Return the project's promotion with this id, or `promotion.not_found`."""
    rows = Promotion.objects.filter(environment__project=project, pk=number)
    promotion = rows.select_related("environment", "prompt", "version").first()
    if promotion is None:
        raise Problem("promotion.not_found", f"There is no promotion {number}.")
    return promotion


@transaction.atomic
def request(
    actor: Actor,
    prompt: Prompt,
    version: PromptVersion,
    environment: Environment,
    *,
    reason: str = "",
    derived_from: Sequence[PromptVersion] = (),
) -> Promotion:
    """Request a promotion: that a version be made live in an environment. `derived_from`: versions whose text was
    copied into it, so that their authors stand behind it too."""
    actor.require(Right.EDIT)
    _refuse_long(reason, "/reason")
    locked_environment = environments.lock(environment)
    locked = prompts.lock(prompt)
    if locked.archived_at:
        raise Problem("prompt.archived", f"{prompt.name} is archived.")
    _raise_if(guards.version_refusal(version))
    live = approvals.live_release(locked_environment, locked)
    if live and live.version_id == version.pk and not guards.may_release_again(locked_environment, version):
        raise Problem("promotion.already_live", f"Version {version.number} is live in {environment.name} already.")
    needs_approval = locked_environment.approvals_needed > 0
    try:
        with transaction.atomic():
            promotion = Promotion.objects.create(
                environment=locked_environment,
                prompt=locked,
                version=version,
                status=PromotionStatus.OPEN if needs_approval else PromotionStatus.APPROVED,
                reason=reason,
                replaces=live,
                requested_by=actor.user,
                requested_by_key=actor.key,
                requested_by_name=actor.name,
            )
    except IntegrityError:
        sentence = f"Version {version.number} is already proposed for {environment.name}."
        raise Problem("promotion.already_open", sentence) from None
    contributors.record(promotion, derived_from)
    audit.record(actor, "promotion.requested", promotion, after={"id": promotion.pk, "reason": reason})
    return promotion


@transaction.atomic
def approve(actor: Actor, promotion: Promotion, *, comment: str = "", seen: str | None = None) -> Promotion:
    """Approve as a reviewer who does not stand behind the promotion (registry.promotions.contributors).

    `seen` is the binding that the reviewer looked at (`Standing.binding`); `request.precondition` where it is no
    longer what the approval would be bound to.
    """
    _raise_if(guards.decision_refusal(actor))
    locked = _lock_undecided(promotion, "approved")
    before = approvals.get_approval_status(locked)
    _raise_if(guards.approval_refusal(actor, locked, before))
    if seen is not None and seen != before.binding:
        raise Problem("request.precondition", "What you reviewed has changed; read the difference again.")
    _review(actor, locked, Decision.APPROVE, comment)
    if approvals.get_approval_status(locked).is_approved and locked.status == PromotionStatus.OPEN:
        _transition(locked, PromotionStatus.APPROVED)
    return locked


@transaction.atomic
def request_changes(actor: Actor, promotion: Promotion, *, comment: str) -> Promotion:
    """Request changes: hold a promotion back until this reviewer approves it."""
    _raise_if(guards.decision_refusal(actor))
    _require_text(comment, "/comment", "Say what should change.")
    locked = _lock_undecided(promotion, "sent back")
    _review(actor, locked, Decision.REQUEST_CHANGES, comment)
    if locked.status == PromotionStatus.APPROVED:
        _transition(locked, PromotionStatus.OPEN)
    return locked


@transaction.atomic
def reject(actor: Actor, promotion: Promotion, *, comment: str = "") -> Promotion:
    """End a promotion as a reviewer."""
    _raise_if(guards.decision_refusal(actor))
    locked = _lock_undecided(promotion, "rejected")
    _review(actor, locked, Decision.REJECT, comment)
    _transition(locked, PromotionStatus.REJECTED)
    return locked


@transaction.atomic
def add_comment(actor: Actor, promotion: Promotion, *, comment: str) -> Review:
    """Comment without deciding; also after the decision."""
    actor.require(Right.EDIT)
    _require_text(comment, "/comment", "Write a comment.")
    locked = _lock(promotion)
    last = locked.reviews.order_by("-id").first()
    if last and (last.decision, last.by_name, last.comment) == (Decision.COMMENT, actor.name, comment):
        # A form that was sent twice.
        return last
    return _review(actor, locked, Decision.COMMENT, comment)


@transaction.atomic
def withdraw(actor: Actor, promotion: Promotion) -> Promotion:
    """Withdraw a promotion as its requester or an admin."""
    actor.require(Right.EDIT)
    locked = _lock_undecided(promotion, "withdrawn")
    _raise_if(guards.withdrawal_refusal(actor, locked))
    _transition(locked, PromotionStatus.WITHDRAWN)
    audit.record(actor, "promotion.withdrawn", locked, after={"id": locked.pk})
    return locked


@dataclass(frozen=True)
class Override:
    reason: str


@transaction.atomic
def apply(
    actor: Actor, promotion: Promotion, *, expected_live: str | None = None, override: Override | None = None
) -> Release:
    """Make the promoted version live, after checking every rule again under the locks.

    `expected_live` is the hash that the caller believes to be live, or the promotion's binding as the caller saw it.

    `override` (an admin's, with a written reason) passes required checks that have not passed; it does
    not replace approvals: the four-eyes rule holds for everybody.
    """
    if override:
        _raise_if(guards.override_refusal(actor))
        _require_text(override.reason, "/reason", "Write why the checks are overridden.")
    locked = _lock_undecided(promotion, "applied")
    environment = locked.environment
    _raise_if(guards.release_refusal(actor, environment))
    if locked.prompt.archived_at:
        raise Problem("prompt.archived", f"{locked.prompt.name} is archived.")
    live = approvals.live_release(environment, locked.prompt)
    releases.refuse_other_live(live, expected_live, approvals.current_binding(locked, live))
    if live and live.version_id == locked.version_id and not guards.may_release_again(environment, locked.version):
        sentence = f"Version {locked.version.number} is live in {environment.name} already."
        raise Problem("promotion.already_live", sentence)
    approval_status = approvals.get_approval_status(locked)
    _raise_if(guards.rules_refusal(approval_status, overriding=override is not None))
    if override:
        locked.override_reason, locked.override_by_name = override.reason, actor.name
        locked.save(update_fields=["override_reason", "override_by_name"])
        audit.record(actor, "promotion.checks_overridden", locked, after={"id": locked.pk, "reason": override.reason})
    _transition(locked, PromotionStatus.APPLIED)
    return releases.record(
        actor,
        environment,
        locked.prompt,
        locked.version,
        live=live,
        kind=ReleaseKind.PROMOTE,
        promotion=locked,
        approvals_given=len(approval_status.approvals),
        reason=locked.reason,
    )


def _raise_if(refusal: Problem | None) -> None:
    if refusal:
        raise refusal


def _lock(promotion: Promotion) -> Promotion:
    environment = environments.lock(promotion.environment)
    prompt = prompts.lock(promotion.prompt)
    locked_rows = Promotion.objects.select_for_update(of=("self",), no_key=True)
    row = locked_rows.select_related("version").get(pk=promotion.pk)
    row.environment, row.prompt = environment, prompt
    return row


def _lock_undecided(promotion: Promotion, verb: str) -> Promotion:
    locked = _lock(promotion)
    if not TRANSITIONS[PromotionStatus(locked.status)]:
        raise guards.decided_problem(locked, verb)
    return locked


def _transition(promotion: Promotion, to: PromotionStatus) -> None:
    """Change the status by a conditional update: only one of two concurrent changes succeeds, whatever was locked."""
    status = PromotionStatus(promotion.status)
    if to not in TRANSITIONS[status]:
        raise Problem("promotion.wrong_state", f"A promotion that is {status} cannot become {to}.", state=status)
    decided = timezone.now() if not TRANSITIONS[to] else None
    if Promotion.objects.filter(pk=promotion.pk, status=status).update(status=to, decided_at=decided) != 1:
        raise Problem("promotion.wrong_state", f"This promotion is no longer {status}.", state=status)
    promotion.status, promotion.decided_at = to, decided


AUDITED_AS = {
    Decision.APPROVE: "promotion.approved",
    Decision.REQUEST_CHANGES: "promotion.changes_requested",
    Decision.REJECT: "promotion.rejected",
    Decision.COMMENT: "promotion.commented",
}


def _review(actor: Actor, promotion: Promotion, decision: Decision, comment: str) -> Review:
    _refuse_long(comment, "/comment")
    review = Review.objects.create(
        promotion=promotion,
        decision=decision,
        comment=comment,
        by=actor.user,
        by_name=actor.name,
        bound_release=approvals.live_release(promotion.environment, promotion.prompt),
        bound_rules=promotion.environment.rules_revision,
    )
    audit.record(actor, AUDITED_AS[decision], promotion, after={"id": promotion.pk, "comment": comment})
    return review


def _require_text(text: str, pointer: str, sentence: str) -> None:
    if not text.strip():
        raise Problem("promotion.reason_required", sentence, faults=[Fault(pointer, "required", sentence)])
    _refuse_long(text, pointer)


def _refuse_long(text: str, pointer: str) -> None:
    if len(text) > MAX_TEXT:
        fault = Fault(pointer, "too_long", f"Must have at most {MAX_TEXT:,} characters.")
        raise Problem("request.invalid", fault.message, faults=[fault])
