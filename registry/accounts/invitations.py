"""Invitations: an admin names an account and a role, and its user becomes a member by accepting.

Nobody is pulled into a project, and an admin learns nothing of accounts that are not in theirs: a name that no account
has is invited like any other.
"""

from datetime import timedelta

from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from core.errors import Fault, Problem
from core.references import quoted
from registry.accounts import audit, projects
from registry.accounts.permissions import Actor, Right, actor_for_user
from registry.models import Invitation, InvitationState, Membership, Project, Role, User

VALID_FOR = timedelta(days=30)
MAX_OPEN = 200
MAX_USERNAME_LENGTH = 150


@transaction.atomic
def invite(actor: Actor, *, username: str, role: Role) -> Invitation:
    """Invite an account by its name. An open invitation of the same name is replaced: it may be for another role."""
    actor.require(Right.ADMINISTER)
    _check_username(username)
    projects.lock(actor.project)
    if Membership.objects.filter(project=actor.project, user__username=username).exists():
        raise Problem("member.exists", f"{quoted(username)} is a member already.", faults=[_fault("exists")])
    own = Invitation.objects.filter(project=actor.project, state=InvitationState.OPEN)
    own.filter(username=username).update(state=InvitationState.WITHDRAWN, ended_at=timezone.now())
    if own.filter(expires_at__gt=timezone.now()).count() >= MAX_OPEN:
        raise Problem("invitation.too_many", f"A project has at most {MAX_OPEN} open invitations; withdraw some.")
    invitation = Invitation.objects.create(
        project=actor.project,
        username=username,
        role=role,
        expires_at=timezone.now() + VALID_FOR,
        by=actor.user,
        by_key=actor.key,
        by_name=actor.name,
    )
    audit.record(actor, "member.invited", username, after={"role": role})
    return invitation


def get_invitation(project: Project, number: int) -> Invitation:
    """Return a project's invitation, or raise `invitation.not_found`."""
    invitation = Invitation.objects.filter(project=project, pk=number).first()
    if invitation is None:
        raise Problem("invitation.not_found", f"There is no invitation {number} in {project.slug}.")
    return invitation


def open_invitations(project: Project) -> QuerySet[Invitation]:
    """Return a project's invitations that can be accepted, newest first."""
    rows = Invitation.objects.filter(project=project, state=InvitationState.OPEN, expires_at__gt=timezone.now())
    return rows.order_by("-id")


def invitations_of(user: User) -> QuerySet[Invitation]:
    """Return the invitations that a user can accept."""
    rows = Invitation.objects.filter(username=user.username, state=InvitationState.OPEN, expires_at__gt=timezone.now())
    return rows.select_related("project").order_by("id")


@transaction.atomic
def withdraw(actor: Actor, invitation: Invitation) -> Invitation:
    """Withdraw an invitation; `invitation.ended` where it was accepted or declined before."""
    actor.require(Right.ADMINISTER)
    projects.lock(invitation.project)
    invitation.refresh_from_db()
    if invitation.state == InvitationState.OPEN:
        _end(invitation, InvitationState.WITHDRAWN)
        audit.record(actor, "invitation.withdrawn", invitation.username)
    elif invitation.state != InvitationState.WITHDRAWN:
        raise Problem("invitation.ended", f"{quoted(invitation.username)} has {invitation.state} it already.")
    return invitation


@transaction.atomic
def accept(user: User, number: int) -> Membership:
    """Become a member by an open invitation, in its role. It counts only while whoever sent it administers the
    project."""
    invitation = _own(user, number)
    if invitation.by is not None:
        # Raises where the sender has left: nobody stands behind the invitation any more.
        try:
            actor_for_user(invitation.by, invitation.project).require(Right.ADMINISTER)
        except Problem:
            sentence = f"{invitation.by_name} does not administer {invitation.project.name} any more; ask for another."
            raise Problem("invitation.void", sentence) from None
    _end(invitation, InvitationState.ACCEPTED)
    return projects.join(user, invitation.project, Role(invitation.role))


@transaction.atomic
def decline(user: User, number: int) -> Invitation:
    """Decline an open invitation."""
    invitation = _own(user, number)
    _end(invitation, InvitationState.DECLINED)
    audit.record(Actor(invitation.project, user.username, frozenset(), user=user), "invitation.declined", user.username)
    return invitation


def _own(user: User, number: int) -> Invitation:
    """Return an open invitation of a user, with its project locked; `invitation.not_found` for everybody else's."""
    invitation = invitations_of(user).select_related("by").filter(pk=number).first()
    if invitation is None:
        raise Problem("invitation.not_found", "There is no such invitation for you, or it has ended.")
    projects.lock(invitation.project)
    # Somebody may have withdrawn it before the lock was ours.
    invitation.refresh_from_db(fields=["state"])
    if invitation.state != InvitationState.OPEN:
        raise Problem("invitation.not_found", "This invitation has ended.")
    return invitation


def _end(invitation: Invitation, state: InvitationState) -> None:
    invitation.state, invitation.ended_at = state, timezone.now()
    invitation.save(update_fields=["state", "ended_at"])


def _check_username(username: str) -> None:
    try:
        UnicodeUsernameValidator()(username)
    except ValidationError:
        is_name = False
    else:
        is_name = len(username) <= MAX_USERNAME_LENGTH
    if not is_name:
        raise Problem("request.invalid", "This cannot be a user name.", faults=[_fault("name")])


def _fault(code: str) -> Fault:
    message = "Is a member already." if code == "exists" else "Cannot be a user name."
    return Fault("/username", code, message)
