"""API keys: `cbk_<id>_<secret>`, shown once, kept as a digest."""

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Iterable
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Protocol

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from core.errors import Fault, Problem
from core.references import quoted
from registry.accounts import audit, permissions
from registry.accounts.key_limits import NO_LIMITS, DailyLimits, check_limits
from registry.accounts.permissions import Actor, Right
from registry.models import APIKey, Environment, Membership, Project, Scope, User

ALPHABET = string.ascii_letters + string.digits
ID_LENGTH = 12
SECRET_LENGTH = 32
TOKEN = re.compile(rf"cbk_([A-Za-z0-9]{{{ID_LENGTH}}})_([A-Za-z0-9]{{{SECRET_LENGTH}}})")
# A busy key writes its last use at most this often.
NOTE_USE_EVERY = timedelta(minutes=1)


@transaction.atomic
def issue(
    actor: Actor,
    *,
    name: str,
    scopes: Iterable[str],
    expires_at: datetime | None = None,
    owner: User | None = None,
    environment: str = "",
    limits: DailyLimits = NO_LIMITS,
) -> tuple[APIKey, str]:
    """Create a key; returns its row and the token, which cannot be read again.

    The key's owner is the member who holds it and answers for what is done with it: the four-eyes rule counts the owner
    as the author of what the key commits, and the key ends with the owner's membership. A key without an owner is a
    service's; who made it answers for it. `environment` is where its calls of the inference service go that name none,
    `limits` what it may ask there on a day.
    """
    actor.require(Right.ADMINISTER)
    wanted_scopes = sorted(set(scopes))
    unknown = [scope for scope in wanted_scopes if scope not in Scope.values]
    if unknown or not wanted_scopes:
        raise Problem("key.unknown_scope", f"Scopes are {', '.join(Scope.values)}; at least one is needed.")
    if not 1 <= len(name.strip()) <= 100:
        raise Problem("key.invalid", "A key needs a name of 1 to 100 characters.")
    if expires_at is not None and expires_at <= timezone.now():
        raise Problem("key.invalid", "A key cannot expire in the past.")
    if environment and not Environment.objects.filter(project=actor.project, name=environment).exists():
        sentence = f"There is no environment {quoted(environment)}."
        raise Problem("key.invalid", sentence, faults=[Fault("/environment", "choice", sentence)])
    check_limits(limits)
    # The lock of who removes a member: no key is issued to somebody who is being removed.
    Project.objects.select_for_update(no_key=True).get(pk=actor.project.pk)
    if owner and not Membership.objects.filter(project=actor.project, user=owner, user__is_active=True).exists():
        raise _not_an_owner(owner.username)
    key_id, secret = _random(ID_LENGTH), _random(SECRET_LENGTH)
    key = APIKey.objects.create(
        project=actor.project,
        name=name.strip(),
        key_id=key_id,
        digest=_digest(secret),
        scopes=wanted_scopes,
        owner=owner,
        environment=environment,
        created_by=actor.user,
        expires_at=expires_at,
        **{member.name: getattr(limits, member.name) for member in fields(limits)},
    )
    after = {
        "scopes": wanted_scopes,
        "expires_at": str(expires_at or ""),
        "owner": owner.username if owner else None,
        **({"environment": environment} if environment else {}),
        **(limits.as_dict() if limits else {}),
    }
    audit.record(actor, "key.issued", key, after=after)
    return key, f"cbk_{key_id}_{secret}"


def get_owner(project: Project, username: str) -> User:
    """Return the member who is to hold a key. Whether others have an account is not said."""
    user = User.objects.filter(username=username, memberships__project=project).first()
    if user is None:
        raise _not_an_owner(username)
    return user


def _not_an_owner(username: str) -> Problem:
    sentence = f"{quoted(username)} is not a member, and cannot hold a key."
    return Problem("key.invalid", sentence, faults=[Fault("/owner", "choice", sentence)])


def get_key(project: Project, key_id: str) -> APIKey:
    """Return the project's key of that id, or raise `not_found`."""
    key = APIKey.objects.filter(project=project, key_id=key_id).select_related("owner", "created_by").first()
    if key is None:
        raise Problem("not_found", "There is no such key.")
    return key


@transaction.atomic
def revoke(actor: Actor, key: APIKey) -> None:
    """Revoke a key for good; revoking it twice is no error."""
    actor.require(Right.ADMINISTER)
    if APIKey.objects.filter(pk=key.pk, project=actor.project, revoked_at=None).update(revoked_at=timezone.now()):
        audit.record(actor, "key.revoked", key)


def keys_of(project: Project, owner: User) -> list[APIKey]:
    """Return the usable keys that somebody holds in a project: those that end with their membership."""
    rows = APIKey.objects.filter(project=project, owner=owner, revoked_at=None).order_by("name")
    return [key for key in rows if key.is_usable]


def authenticate(token: str) -> APIKey:
    """The usable key that a token belongs to, or `auth.invalid_key`, whatever the reason."""
    matched = TOKEN.fullmatch(token)
    if matched:
        key = APIKey.objects.select_related("project").filter(key_id=matched[1]).first()
        if key and is_secret_of(key, matched[2]) and key.is_usable:
            return key
    raise Problem("auth.invalid_key", "The API key is unknown, revoked or past its end.")


def is_secret_of(key: APIKey, secret: str) -> bool:
    return hmac.compare_digest(key.digest, _digest(secret))


def require_usable(key: APIKey) -> None:
    """`auth.invalid_key` where a key was revoked or has expired since it was used."""
    if not key.is_usable:
        raise Problem("auth.invalid_key", f"The key {key.name} is revoked or past its end.")


def note_use(key: APIKey, at: datetime | None = None) -> None:
    """Remember that the key was used, with at most one write per NOTE_USE_EVERY."""
    now = at or timezone.now()
    stale = now - NOTE_USE_EVERY
    if key.last_used_at is None or key.last_used_at < stale:
        unused = Q(last_used_at=None) | Q(last_used_at__lt=stale)
        APIKey.objects.filter(unused, pk=key.pk).update(last_used_at=now)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


class StartedWork(Protocol):
    """A work row that a user or a key started."""

    by: User | None
    by_key: APIKey | None


def actor_for_work(row: StartedWork, project: Project) -> Actor:
    """Return the actor who started the work, with the rights of now: a worker acts for no user who has lost theirs."""
    if row.by:
        return permissions.actor_for_user(row.by, project)
    if row.by_key:
        require_usable(row.by_key)
        return permissions.actor_for_key(row.by_key)
    return permissions.actor_for_command_line(project)
