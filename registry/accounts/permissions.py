"""Permissions: one table for the roles of users and one for the scopes of keys, checked inside every verb."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from core.errors import Problem
from registry.models import APIKey, Membership, Project, Role, Scope, User


class Right(StrEnum):
    SEE = "see"
    EDIT = "edit prompts and ask for promotions"
    RELEASE = "release to an unprotected environment"
    APPLY = "apply an approved promotion or roll back"
    APPROVE = "approve or reject"
    RECORD_CHECKS = "record checks"
    OBSERVE = "send live calls"
    INFER = "ask models through the inference service"
    ADMINISTER = "administer the project"


_EDITOR = frozenset({Right.SEE, Right.EDIT, Right.RELEASE, Right.APPLY})
_REVIEWER = _EDITOR | {Right.APPROVE}

ROLE_RIGHTS: dict[Role, frozenset[Right]] = {
    Role.VIEWER: frozenset({Right.SEE}),
    Role.EDITOR: _EDITOR,
    Role.REVIEWER: _REVIEWER,
    Role.ADMIN: _REVIEWER | {Right.ADMINISTER},
}
# A key never approves. Checks are recorded by machines: a user cannot pass a gate by hand, and an admin who has to
# release anyway overrides it with a reason.
SCOPE_RIGHTS: dict[Scope, frozenset[Right]] = {
    Scope.READ: frozenset({Right.SEE}),
    Scope.WRITE: _EDITOR | {Right.RECORD_CHECKS, Right.OBSERVE},
    Scope.OBSERVE: frozenset({Right.OBSERVE}),
    Scope.INFER: frozenset({Right.INFER}),
}
# What only keys may do.
MACHINE_RIGHTS = frozenset({Right.RECORD_CHECKS, Right.OBSERVE, Right.INFER})
# Whoever has a shell on the server administers it; approving stays with two users.
COMMAND_RIGHTS = frozenset(Right) - {Right.APPROVE}


@dataclass(frozen=True)
class Actor:
    """A user, a key or a command acting in one project."""

    project: Project
    name: str
    rights: frozenset[Right]
    user: User | None = None
    key: APIKey | None = None
    # Whether it is who runs the server, by a command or in the administration site.
    is_operator: bool = False

    def may(self, right: Right) -> bool:
        return right in self.rights

    def require(self, right: Right) -> None:
        """`access.denied` unless the actor has the right."""
        if right not in self.rights:
            who = "You" if self.user else self.name
            raise Problem("access.denied", f"{who} may not {right.value}.")


def actor_for_user(user: User, project: Project) -> Actor:
    """Return a signed-in user's actor in a project; `not_found` for outsiders, as if there were no project."""
    membership = Membership.objects.filter(user=user, project=project).first() if user.is_active else None
    if membership is None:
        raise Problem("not_found", "There is no such project.")
    membership.project = project
    return actor_for_member(membership, user)


def actor_for_member(membership: Membership, user: User) -> Actor:
    return Actor(membership.project, user.username, ROLE_RIGHTS[Role(membership.role)], user=user)


def actor_for_key(key: APIKey) -> Actor:
    """Return a usable key's actor in its project. A key that somebody holds gives no right to change things that its
    owner does not have."""
    role = None
    if key.owner_id is not None:
        membership = Membership.objects.filter(user=key.owner_id, project=key.project_id, user__is_active=True).first()
        role = Role(membership.role) if membership else None
    rights = rights_of_key(key.scopes, is_owned=key.owner_id is not None, owner_role=role)
    return Actor(key.project, f"key {key.name} ({key.key_id})", rights, key=key)


def rights_of_key(scopes: Iterable[str], *, is_owned: bool, owner_role: Role | None) -> frozenset[Right]:
    """Return the rights of a key with these scopes; `owner_role` is its owner's, None where that is no member now."""
    rights = frozenset[Right]().union(*(SCOPE_RIGHTS[Scope(scope)] for scope in scopes))
    if is_owned:
        own_rights = ROLE_RIGHTS[owner_role] if owner_role else frozenset[Right]()
        rights &= own_rights | (MACHINE_RIGHTS if Right.EDIT in own_rights else frozenset({Right.OBSERVE}))
    return rights


def actor_for_command_line(project: Project) -> Actor:
    return Actor(project, "command line", COMMAND_RIGHTS, is_operator=True)


def actor_for_operator(user: User, project: Project) -> Actor:
    """Return a user's actor in the administration site: superusers administer every project there, but approve in
    none."""
    if user.is_superuser and user.is_active:
        return Actor(project, user.username, COMMAND_RIGHTS, user=user, is_operator=True)
    return actor_for_user(user, project)
