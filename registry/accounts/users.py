"""Users' own accounts: name, e-mail address and password. Roles in a project are in registry.accounts.projects."""

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from core.errors import Fault, Problem
from infra.http.request_id import request_id
from registry.models import AuditEntry, User

MAX_NAME = 150
MAX_EMAIL = 254


@transaction.atomic
def change_profile(user: User, *, first_name: str, last_name: str, email: str) -> None:
    """Change a user's own name and e-mail address."""
    faults = [
        Fault(f"/{field}", "too_long", f"Must have at most {MAX_NAME} characters.")
        for field, value in (("first_name", first_name), ("last_name", last_name))
        if len(value) > MAX_NAME
    ]
    try:
        if email:
            validate_email(email)
    except ValidationError:
        faults.append(Fault("/email", "email", "Is not an e-mail address."))
    if len(email) > MAX_EMAIL:
        faults.append(Fault("/email", "too_long", f"Must have at most {MAX_EMAIL} characters."))
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
    after = {"first_name": first_name, "last_name": last_name, "email": email}
    before = {field: getattr(user, field) for field in after}
    if after == before:
        return
    for field, value in after.items():
        setattr(user, field, value)
    user.save(update_fields=list(after))
    _record(user, "account.changed", before, after)


@transaction.atomic
def change_password(user: User, password: str) -> None:
    """Set a user's own password; the caller has checked the old one and the new one's strength."""
    user.set_password(password)
    user.save(update_fields=["password"])
    _record(user, "account.password_changed", None, None)


def _record(user: User, action: str, before: object, after: object) -> None:
    """Write an audit entry without a project: an account belongs to none."""
    AuditEntry.objects.create(
        actor=user.username,
        action=action,
        target=user.username,
        before=before,
        after=after,
        request_id=request_id.get(),
    )
