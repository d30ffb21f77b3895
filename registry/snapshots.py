"""Snapshots of an environment: what was live in it, by the tag of the whole, so that a client gets what has changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone

from registry.identity import content_hash
from registry.models import Environment, PromptVersion, Snapshot
from registry.problems import Problem

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
    Snapshot.objects.get_or_create(environment=environment, tag=tag, defaults={"live": dict(live)})
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
    """Forget snapshots that nobody is thought to have any more."""
    return Snapshot.objects.filter(created_at__lt=timezone.now() - KEPT).delete()[0]
