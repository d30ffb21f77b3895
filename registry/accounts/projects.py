"""Projects and their members."""

import re

from django.db import IntegrityError, transaction
from django.utils import timezone

from core.errors import Problem
from core.references import quoted
from registry.accounts import api_keys, audit
from registry.accounts.permissions import Actor, Right, actor_for_command_line, actor_for_user
from registry.models import APIKey, Environment, Invitation, InvitationState, Membership, Project, Role, User
from registry.models.people import PROJECT_SLUG

STARTING_ENVIRONMENTS = (("development", False), ("staging", False), ("production", True))


@transaction.atomic
def create_project(*, slug: str, name: str) -> Project:
    """Create a project with its three usual environments, production protected. Only operators create projects."""
    if len(slug) > 50 or not re.fullmatch(PROJECT_SLUG, slug):
        raise Problem("project.invalid_name", "A project's slug is lower-case words joined by -.")
    try:
        with transaction.atomic():
            project = Project.objects.create(slug=slug, name=name)
    except IntegrityError:
        raise Problem("project.name_taken", f"A project named {quoted(slug)} exists.") from None
    Environment.objects.bulk_create(
        Environment(project=project, name=environment, position=position, protected=protected)
        for position, (environment, protected) in enumerate(STARTING_ENVIRONMENTS, start=1)
    )
    audit.record(actor_for_command_line(project), "project.created", project, after={"name": name})
    return project


@transaction.atomic
def set_member(actor: Actor, *, user: User, role: Role) -> Membership:
    """Change a member's role. Only an operator of the server adds a member: an admin invites
    (registry.accounts.invitations)."""
    actor.require(Right.ADMINISTER)
    lock(actor.project)
    previous = Membership.objects.filter(project=actor.project, user=user).first()
    if previous is None and not actor.is_operator:
        raise unknown_member(user.username)
    if previous and previous.role == Role.ADMIN and role != Role.ADMIN:
        _keep_an_admin(actor.project, without=user)
    if previous is None:
        _withdraw_invitations(actor.project, user)
    membership, _ = Membership.objects.update_or_create(project=actor.project, user=user, defaults={"role": role})
    before = {"role": previous.role} if previous else None
    audit.record(actor, "member.set", user.username, before=before, after={"role": role})
    return membership


def get_member(project: Project, username: str) -> User:
    """Return a project's member. Whether others have an account is not said."""
    user = User.objects.filter(username=username, memberships__project=project).first()
    if user is None:
        raise unknown_member(username)
    return user


def unknown_member(username: str) -> Problem:
    return Problem("member.unknown_user", f"{quoted(username)} is not a member.")


def join(user: User, project: Project, role: Role) -> Membership:
    """Make a user a member who has accepted that; whoever is one already stays as they are. The caller has the lock."""
    membership, is_new = Membership.objects.get_or_create(project=project, user=user, defaults={"role": role})
    if is_new:
        audit.record(actor_for_user(user, project), "member.joined", user.username, after={"role": role})
    return membership


@transaction.atomic
def remove_member(actor: Actor, *, user: User) -> list[APIKey]:
    """Remove a member; returns the keys that end with the membership, because this member held them."""
    actor.require(Right.ADMINISTER)
    lock(actor.project)
    membership = Membership.objects.filter(project=actor.project, user=user).first()
    if membership is None:
        raise unknown_member(user.username)
    if membership.role == Role.ADMIN:
        _keep_an_admin(actor.project, without=user)
    ended_keys = api_keys.keys_of(actor.project, user)
    for key in ended_keys:
        api_keys.revoke(actor, key)
    membership.delete()
    # None may bring them back, or into another role.
    _withdraw_invitations(actor.project, user)
    after = {"ended_keys": [key.name for key in ended_keys]}
    audit.record(actor, "member.removed", user.username, before={"role": membership.role}, after=after)
    return ended_keys


def _withdraw_invitations(project: Project, user: User) -> None:
    open_ones = Invitation.objects.filter(project=project, username=user.username, state=InvitationState.OPEN)
    open_ones.update(state=InvitationState.WITHDRAWN, ended_at=timezone.now())


def lock(project: Project) -> None:
    """Lock the project: two admins who remove each other at once do it one after the other."""
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)


def _keep_an_admin(project: Project, *, without: User) -> None:
    others = Membership.objects.filter(project=project, role=Role.ADMIN, user__is_active=True).exclude(user=without)
    if not others.exists():
        raise Problem("member.last_admin", "This is the project's last admin; make another user admin first.")
