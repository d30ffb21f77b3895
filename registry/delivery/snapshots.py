"""Snapshots of an environment: what was live in it, by tag, so that a client can ask for the changes since."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Exists, OuterRef
from django.db.models.functions import Now
from django.utils import timezone

from core.errors import Problem
from registry.content.content_hash import content_hash
from registry.models import Environment, PromptVersion, Snapshot

# A client that was away for longer gets the whole snapshot.
RETENTION = timedelta(days=7)
# When it was live last is written at most so often: each answer to a client that comes anew would write.
SEEN_AGAIN = timedelta(hours=1)


@dataclass(frozen=True)
class SnapshotChanges:
    """Versions that have become live, and names of prompts that are live no more."""

    versions: list[PromptVersion]
    removed: list[str]


def record_snapshot(
    environment: Environment, live: Mapping[str, str], experiments: Mapping[str, Any] | None = None
) -> str:
    """Store what is live (prompt name to content hash) and return its tag, by which changes can be asked for later.
    `experiments` are in the tag where there are any."""
    tag = content_hash({"live": dict(live), "experiments": dict(experiments)} if experiments else dict(live))
    row = Snapshot.objects.filter(environment=environment, tag=tag).only("created_at").first()
    if row is None or timezone.now() - row.created_at > SEEN_AGAIN:
        # What is live goes on to be new; so does what is live again, such as after a rollback.
        members = {"live": dict(live), "created_at": Now()}
        Snapshot.objects.update_or_create(environment=environment, tag=tag, defaults=members)
    return tag


def changes_since(environment: Environment, since: str, live: Sequence[PromptVersion]) -> SnapshotChanges:
    """Return what has changed since a tag; `snapshot.too_old` where it is no longer stored."""
    before = Snapshot.objects.filter(environment=environment, tag=since).first()
    if before is None:
        raise Problem("snapshot.too_old", "That snapshot is no longer stored; ask for the whole snapshot.")
    now = {version.prompt.name for version in live}
    return SnapshotChanges(
        versions=[version for version in live if before.live.get(version.prompt.name) != version.content_hash],
        removed=sorted(before.live.keys() - now),
    )


def clear_old() -> int:
    """Delete snapshots that were replaced more than RETENTION ago: no client is expected to have them."""
    border = timezone.now() - RETENTION
    later = Snapshot.objects.filter(
        environment=OuterRef("environment"), created_at__gt=OuterRef("created_at"), created_at__lt=border
    )
    return Snapshot.objects.filter(Exists(later), created_at__lt=border).delete()[0]
