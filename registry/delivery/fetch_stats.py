"""Statistics of fetches, which web processes count in memory and write in batches
(registry.delivery.fetch_recorder)."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Max, OuterRef, Q, QuerySet, Subquery, Sum
from django.utils import timezone

from registry.models import FetchCount, Prompt, PromptVersion

RETENTION = timedelta(days=400)


@dataclass(frozen=True)
class VersionFetches:
    """Fetches of a version in the last hour, day and 30 days (by whole hours), and the time of the last one."""

    version: PromptVersion
    hour: int
    day: int
    month: int
    last_at: datetime | None


def fetches_by_version(prompt: Prompt) -> list[VersionFetches]:
    """Return the fetches of every version that was ever fetched, newest version first."""
    now = timezone.now()

    def since(stretch: timedelta) -> Sum:
        return Sum("fetches__count", filter=Q(fetches__hour__gt=now - stretch), default=0)

    rows = prompt.versions.defer("content").annotate(
        of_hour=since(timedelta(hours=1)),
        of_day=since(timedelta(days=1)),
        of_month=since(timedelta(days=30)),
        last_fetched=Max("fetches__last_at"),
    )
    return [
        VersionFetches(row, row.of_hour, row.of_day, row.of_month, row.last_fetched)
        for row in rows.filter(last_fetched__isnull=False).order_by("-number")
    ]


def unused_prompts(prompts: QuerySet[Prompt], days: int) -> QuerySet[Prompt]:
    """Return prompts that are older than `days` and were not fetched since."""
    border = timezone.now() - timedelta(days=days)
    newest = FetchCount.objects.filter(version__prompt=OuterRef("pk")).order_by("-last_at")
    annotated = prompts.filter(created_at__lt=border).annotate(fetched_at=Subquery(newest.values("last_at")[:1]))
    return annotated.filter(Q(fetched_at=None) | Q(fetched_at__lt=border))


def clear_old() -> int:
    """Delete counts older than RETENTION."""
    return FetchCount.objects.filter(hour__lt=timezone.now() - RETENTION).delete()[0]
