"""A prompt's history as one line: its versions and its releases, newest first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from itertools import islice

from registry.models import Prompt, PromptVersion, Release
from registry.prompts.resolution import deliverable


@dataclass(frozen=True)
class Moment:
    """Something that happened: a version was committed, or became live somewhere."""

    at: datetime
    version: PromptVersion
    release: Release | None = None


@dataclass(frozen=True)
class Stretch:
    """A part of the line; `older` is the time before which the next part lies, None at the beginning."""

    moments: Sequence[Moment]
    older: datetime | None


def stretch(
    prompt: Prompt, *, before: datetime | None = None, length: int = 30, releases_only: bool = False
) -> Stretch:
    """Up to `length` moments before a time."""
    versions = deliverable(prompt.versions.defer("content")).order_by("-created_at", "-number")
    releases = prompt.releases.select_related("environment", "version", "promotion", "restores__version")
    releases = releases.defer("version__content", "restores__version__content").order_by("-created_at", "-id")
    if before:
        versions, releases = versions.filter(created_at__lt=before), releases.filter(created_at__lt=before)
    committed = [] if releases_only else [Moment(one.created_at, one) for one in versions[: length + 1]]
    released = [Moment(one.created_at, one.version, one) for one in releases[: length + 1]]
    line = list(islice(merge(committed, released, key=lambda moment: moment.at, reverse=True), length + 1))
    return Stretch(line[:length], line[length - 1].at if len(line) > length else None)
