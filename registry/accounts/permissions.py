"""Who may do what: one table for people's roles and one for keys' scopes, asked inside every verb."""

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
    OBSERVE = "send observations"
    ADMINISTER = "administer the project"


_EDITOR = frozenset({Right.SEE, Right.EDIT, Right.RELEASE, Right.APPLY})
_REVIEWER = _EDITOR | {Right.APPROVE}

ROLE_RIGHTS: dict[Role, frozenset[Right]] = {
    Role.VIEWER: frozenset({Right.SEE}),
    Role.EDITOR: _EDITOR,
    Role.REVIEWER: _REVIEWER,
    Role.ADMIN: _REVIEWER | {Right.ADMINISTER},
}
# A key never approves. Checks are the word of a machine: a person cannot vouch for a gate by hand, and an admin who
# must pass one anyway overrides it with a reason.
SCOPE_RIGHTS: dict[Scope, frozenset[Right]] = {
    Scope.READ: frozenset({Right.SEE}),
    Scope.WRITE: _EDITOR | {Right.RECORD_CHECKS, Right.OBSERVE},
    Scope.OBSERVE: frozenset({Right.OBSERVE}),
}
# Whoever has a shell on the server administers it; approving stays with two people.
COMMAND_RIGHTS = frozenset(Right) - {Right.APPROVE}


@dataclass(frozen=True)
class Actor:
    """Somebody acting in one project: a person, a key, or a command."""

    project: Project
    name: str
    rights: frozenset[Right]
    user: User | None = None
    key: APIKey | None = None

    def may(self, right: Right) -> bool:
        return right in self.rights

    def require(self, right: Right) -> None:
        """`access.denied` unless the actor has the right."""
        if right not in self.rights:
            who = "You" if self.user else self.name
            raise Problem("access.denied", f"{who} may not {right.value}.")


def person(user: User, project: Project) -> Actor:
    """The actor that a signed-in person is in a project; `not_found` for outsiders, as if there were no project."""
    membership = Membership.objects.filter(user=user, project=project).first() if user.is_active else None
    if membership is None:
        raise Problem("not_found", "There is no such project.")
    membership.project = project
    return member(membership, user)


def member(membership: Membership, user: User) -> Actor:
    return Actor(membership.project, user.username, ROLE_RIGHTS[Role(membership.role)], user=user)


def machine(key: APIKey) -> Actor:
    """The actor that a usable key is in its project."""
    rights = frozenset[Right]().union(*(SCOPE_RIGHTS[Scope(scope)] for scope in key.scopes))
    return Actor(key.project, f"key {key.name} ({key.key_id})", rights, key=key)


def command_line(project: Project) -> Actor:
    return Actor(project, "command line", COMMAND_RIGHTS)


def operator(user: User, project: Project) -> Actor:
    """A person in the administration site: a superuser administers every project there, but approves in none."""
    if user.is_superuser and user.is_active:
        return Actor(project, user.username, COMMAND_RIGHTS, user=user)
    return person(user, project)


def answerable_person(user_id: int | None, key: APIKey | None) -> int | None:
    """The person behind an act: the user, or who made the key that was used. Four eyes counts persons."""
    return user_id if user_id is not None else (key.created_by_id if key else None)
