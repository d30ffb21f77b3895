"""Snapshots of an environment: what was live in it, by the tag of the whole, so that a client gets what has changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Exists, OuterRef
from django.db.models.functions import Now
from django.utils import timezone

from core.errors import Problem
from registry.content.content_hash import content_hash
from registry.models import Environment, PromptVersion, Snapshot

# A client that was away for longer gets all of it.
KEPT = timedelta(days=7)


@dataclass(frozen=True)
class Changed:
    """Versions that are live now and were not, and names of prompts that were live and are not."""

    versions: list[PromptVersion]
    removed: list[str]


def keep(environment: Environment, live: Mapping[str, str]) -> str:
    """The tag of what is live (prompt name to content hash); remembered, so that one can ask what came since."""
    tag = content_hash(dict(live))
    newest = Snapshot.objects.filter(environment=environment).order_by("-created_at").only("tag").first()
    if newest is None or newest.tag != tag:
        # What was live before and is live again, such as after a rollback, is the newest again.
        members = {"live": dict(live), "created_at": Now()}
        Snapshot.objects.update_or_create(environment=environment, tag=tag, defaults=members)
    return tag


def changed(environment: Environment, since: str, live: Sequence[PromptVersion]) -> Changed:
    """What has changed since a tag; `snapshot.too_old` where nobody remembers it."""
    before = Snapshot.objects.filter(environment=environment, tag=since).first()
    if before is None:
        raise Problem("snapshot.too_old", "Nobody remembers that snapshot; ask for all of it.")
    now = {version.prompt.name for version in live}
    return Changed(
        versions=[version for version in live if before.live.get(version.prompt.name) != version.content_hash],
        removed=sorted(before.live.keys() - now),
    )


def clear_old() -> int:
    """Forget snapshots that nobody is thought to have any more: those that others came after so long ago."""
    border = timezone.now() - KEPT
    later = Snapshot.objects.filter(
        environment=OuterRef("environment"), created_at__gt=OuterRef("created_at"), created_at__lt=border
    )
    return Snapshot.objects.filter(Exists(later), created_at__lt=border).delete()[0]
