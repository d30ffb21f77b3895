"""The audit trail: one entry per change, written in the change's own transaction."""

from typing import Any

from infra.http.request_id import request_id
from registry.accounts.permissions import Actor
from registry.models import AuditEntry

MAX_TEXT = 2_000


def record(actor: Actor, action: str, target: object, *, before: Any = None, after: Any = None) -> None:
    """Record that `actor` did `action` (`promotion.approved`) to `target` (as text), with what changed."""
    AuditEntry.objects.create(
        project=actor.project,
        actor=actor.name,
        action=action,
        target=str(target)[:300],
        before=_shortened(before),
        after=_shortened(after),
        request_id=request_id.get(),
    )


def _shortened(value: Any) -> Any:
    """Cut long texts: the log says what changed, the whole text is in the row that it names."""
    if isinstance(value, dict):
        return {name: _shortened(member) for name, member in value.items()}
    if isinstance(value, str) and len(value) > MAX_TEXT:
        return f"{value[:MAX_TEXT]}…"
    return value
