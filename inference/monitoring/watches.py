"""Watches of releases: what the two weeks after a release were like, against the two weeks before with what was live.

They begin by themselves. One that is replaced earlier is judged by the time that it was live.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from inference.models import ReleaseWatch
from inference.usage import rollups
from inference.usage.stats import UsageStats, sum_usage
from inference.usage.versus import Contrast, contrasts
from registry.accounts import audit, permissions
from registry.models import Prompt, Release

LENGTH = timedelta(days=14)
# Fewer calls are no two weeks.
MIN_CALLS = 30


@dataclass(frozen=True)
class Watched:
    """What a watch shows: usage after the release and before it, their figures against each other, and the sentence."""

    after: UsageStats
    before: UsageStats
    figures: Sequence[Contrast]
    sentence: str


def begin() -> int:
    """Begin to watch the releases of the last two weeks that are not watched yet; returns how many."""
    recent = Release.objects.filter(created_at__gt=timezone.now() - LENGTH, watch=None)
    watches = [ReleaseWatch(release=release, ends_at=release.created_at + LENGTH) for release in recent]
    return len(ReleaseWatch.objects.bulk_create(watches, ignore_conflicts=True))


def end_due(now: datetime | None = None) -> int:
    """End the watches that are over, each with its sentence; returns how many."""
    moment = now or timezone.now()
    count = 0
    for watch in ReleaseWatch.objects.filter(ended_at=None).select_related("release__environment"):
        if min(watch.ends_at, _replaced_at(watch.release) or watch.ends_at) <= moment:
            _end(watch)
            count += 1
    return count


@transaction.atomic
def _end(watch: ReleaseWatch) -> None:
    row = ReleaseWatch.objects.select_for_update(of=("self",)).get(pk=watch.pk)
    if row.ended_at is not None:
        return
    release = Release.objects.select_related("version", "prompt__project", "environment").get(pk=row.release_id)
    watched = look(release)
    row.ended_at, row.sentence = timezone.now(), watched.sentence
    row.figures = [asdict(figure) for figure in watched.figures]
    row.save(update_fields=["ended_at", "sentence", "figures"])
    actor = permissions.actor_for_command_line(release.prompt.project)
    audit.record(actor, "release.watched", release.prompt, after={"release": release.pk, "sentence": row.sentence})


def look(release: Release) -> Watched:
    """Return what can be said of a release so far."""
    until = min(release.created_at + LENGTH, timezone.now(), _replaced_at(release) or timezone.now())
    after = _usage(release, release.version_id, release.created_at, until)
    earlier = _before(release)
    before = UsageStats()
    if earlier is not None:
        before = _usage(release, earlier.version_id, release.created_at - LENGTH, release.created_at)
    figures = contrasts(before, after)
    return Watched(after, before, figures, _sentence(release, earlier, until, after, before, figures))


def _usage(release: Release, version: int, since: datetime, until: datetime) -> UsageStats:
    # The minute in which it was released belongs to both: what counts is the version.
    rows = rollups.between(
        since.replace(second=0, microsecond=0), until, version=version, environment=release.environment.name
    )
    return sum_usage(map(rollups.usage_in, rows))


def _before(release: Release) -> Release | None:
    """Return what was live before, with its version; None for a first release, or the same version again."""
    rows = Release.objects.filter(environment=release.environment_id, prompt=release.prompt_id, pk__lt=release.pk)
    earlier = rows.select_related("version").defer("version__content").order_by("-pk").first()
    return None if earlier is None or earlier.version_id == release.version_id else earlier


def _replaced_at(release: Release) -> datetime | None:
    rows = Release.objects.filter(environment=release.environment_id, prompt=release.prompt_id, pk__gt=release.pk)
    return rows.order_by("pk").values_list("created_at", flat=True).first()


def _sentence(
    release: Release,
    earlier: Release | None,
    until: datetime,
    after: UsageStats,
    before: UsageStats,
    figures: Sequence[Contrast],
) -> str:
    name = f"v{release.version.number}"
    days = max(1, round((until - release.created_at) / timedelta(days=1)))
    begin_of_it = (
        f"In {days} day{'s' if days > 1 else ''} {name} had {after.calls:,} calls in {release.environment.name}"
    )
    if after.calls < MIN_CALLS:
        return f"{begin_of_it}: too few to tell anything."
    if earlier is None:
        return f"{begin_of_it}; there is no other version before it to set it against."
    if before.calls < MIN_CALLS:
        return f"{begin_of_it}; v{earlier.version.number} before it had {before.calls:,}, too few to set it against."
    parts = []
    words = {"worse": (False, None), "better": (True, None), "higher": (None, True), "lower": (None, False)}
    for word, (is_better, is_higher) in words.items():
        of_word = [figure for figure in figures if figure.is_better is is_better]
        if is_better is None:
            of_word = [figure for figure in of_word if figure.is_higher is is_higher]
        titles = [_change(figure) for figure in of_word]
        if titles:
            parts.append(f"{word}: {', '.join(titles)}")
    changes = "; ".join(parts) if parts else "no figure differs surely"
    return f"{begin_of_it}. Against v{earlier.version.number} in the two weeks before, {changes}."


def _change(figure: Contrast) -> str:
    if figure.change is None:
        return figure.title.lower()
    amount = f"{figure.change.value:+,.0f} ms" if figure.unit == "ms" else f"{figure.change.value:+.3f}"
    return f"{figure.title.lower()} {amount}"


def watches_of(prompt: Prompt, environment: str) -> QuerySet[ReleaseWatch]:
    """Return the watches of a prompt's releases in an environment, the newest first."""
    rows = ReleaseWatch.objects.filter(Q(release__prompt=prompt) & Q(release__environment__name=environment))
    related = ("release__version", "release__environment", "release__prompt")
    return rows.select_related(*related).defer("release__version__content").order_by("-release_id")


def as_dict(watch: ReleaseWatch) -> dict[str, Any]:
    """Return a watch as answers have it; one that goes on with what can be said so far."""
    release = watch.release
    return {
        "prompt": release.prompt.name,
        "version": release.version.number,
        "environment": release.environment.name,
        "released_at": release.created_at,
        "ends_at": watch.ends_at,
        "ended_at": watch.ended_at,
        "sentence": watch.sentence or look(release).sentence,
    }
