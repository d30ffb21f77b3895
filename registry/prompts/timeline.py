"""A prompt's history as one line: its versions and its releases, newest first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from itertools import islice

from registry.models import Prompt, PromptVersion, Release
from registry.prompts.resolution import with_live_environments


@dataclass(frozen=True)
class TimelineEvent:
    """An event: a version was committed, or became live somewhere."""

    at: datetime
    version: PromptVersion
    release: Release | None = None


@dataclass(frozen=True)
class TimelinePage:
    """A page of the timeline; `older` is the time before which the next page lies, None on the last page."""

    moments: Sequence[TimelineEvent]
    older: datetime | None


def timeline_page(
    prompt: Prompt, *, before: datetime | None = None, length: int = 30, releases_only: bool = False
) -> TimelinePage:
    """Return up to `length` events before a time."""
    versions = with_live_environments(prompt.versions.defer("content")).order_by("-created_at", "-number")
    releases = prompt.releases.select_related("environment", "version", "promotion", "restores__version")
    releases = releases.defer("version__content", "restores__version__content").order_by("-created_at", "-id")
    if before:
        versions, releases = versions.filter(created_at__lt=before), releases.filter(created_at__lt=before)
    committed = (
        [] if releases_only else [TimelineEvent(version.created_at, version) for version in versions[: length + 1]]
    )
    released = [TimelineEvent(release.created_at, release.version, release) for release in releases[: length + 1]]
    line = list(islice(merge(committed, released, key=lambda event: event.at, reverse=True), length + 1))
    return TimelinePage(line[:length], line[length - 1].at if len(line) > length else None)
