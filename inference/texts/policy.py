"""What a project keeps of the texts of its calls; and their end."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from core import redaction
from core.errors import Fault, Problem
from inference.models import CallText, TextPolicy
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.models import Project

MAX_DAYS = 365
# A sample of nothing: as if there were no policy.
NONE = 0.0


@dataclass(frozen=True)
class KeptTexts:
    """What is kept: a share of the calls from 0 to 1, for so many days, without what matches."""

    share: float = NONE
    days: int = 14
    presets: tuple[str, ...] = tuple(redaction.PRESETS)
    patterns: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {"share": self.share, "days": self.days, "presets": list(self.presets), "patterns": list(self.patterns)}


def policy_of(project: Project | int) -> KeptTexts:
    """Return what a project keeps; nothing, where nobody has said so."""
    row = TextPolicy.objects.filter(project=project).first()
    return KeptTexts(row.share, row.days, tuple(row.presets), tuple(row.patterns)) if row else KeptTexts()


@transaction.atomic
def set_policy(actor: Actor, *, share: float, days: int, presets: Iterable[str], patterns: Iterable[str]) -> KeptTexts:
    """Set what the project keeps from now on; texts that are there go when the days are over. Raises
    `text_policy.invalid`."""
    actor.require(Right.ADMINISTER)
    policy = KeptTexts(share, days, tuple(sorted(set(presets))), tuple(dict.fromkeys(patterns)))
    if faults := list(_faults(policy)):
        raise Problem("text_policy.invalid", faults[0].message, faults=faults)
    before = policy_of(actor.project)
    if policy == before:
        return policy
    members = {**policy.as_dict(), "changed_at": timezone.now(), "by_name": actor.name}
    TextPolicy.objects.update_or_create(project=actor.project, defaults=members)
    audit.record(actor, "call_texts.set", actor.project, before=before.as_dict(), after=policy.as_dict())
    return policy


def _faults(policy: KeptTexts) -> Iterable[Fault]:
    if not 0 <= policy.share <= 1:
        yield Fault("/share", "range", "Must be from 0 (none) to 1 (all).")
    if not 1 <= policy.days <= MAX_DAYS:
        yield Fault("/days", "range", f"Must be from 1 to {MAX_DAYS}.")
    for name in policy.presets:
        if name not in redaction.PRESETS:
            yield Fault("/presets", "choice", f"Names are: {', '.join(redaction.PRESETS)}.")
    if len(policy.patterns) > redaction.MAX_PATTERNS:
        yield Fault("/patterns", "count", f"At most {redaction.MAX_PATTERNS} patterns.")
    for place, pattern in enumerate(policy.patterns[: redaction.MAX_PATTERNS]):
        if sentence := redaction.check_pattern(pattern):
            yield Fault(f"/patterns/{place}", "pattern", sentence)


@transaction.atomic
def delete_texts(actor: Actor) -> int:
    """Delete all texts that the project keeps; returns their number. The records of the calls stay."""
    actor.require(Right.ADMINISTER)
    count = CallText.objects.filter(project=actor.project).delete()[0]
    if count:
        audit.record(actor, "call_texts.deleted", actor.project, after={"texts": count})
    return count


def clear_old() -> int:
    """Delete texts that are past their project's days; returns their number."""
    count = 0
    for policy in TextPolicy.objects.all():
        until = timezone.now() - timedelta(days=policy.days)
        count += CallText.objects.filter(project=policy.project_id, at__lt=until).delete()[0]
    return count
