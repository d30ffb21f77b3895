"""A prompt's usage over time, by the hour or the day, with its releases: what the charts of its page are drawn from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from inference.models import RollupSpan
from inference.usage import rollups
from inference.usage.estimates import IntervalEstimate
from inference.usage.stats import UsageStats
from infra.charts import CurveChart, curve_chart
from registry.models import Prompt, Release

MAX_RELEASES = 20
Value = Callable[[UsageStats], float | None]


@dataclass(frozen=True)
class Timeline:
    """Usage by steps of time, and when which version was released."""

    since: datetime
    until: datetime
    span: RollupSpan
    steps: Mapping[datetime, UsageStats]
    releases: Sequence[tuple[datetime, str]]

    @property
    def unit(self) -> str:
        return "hours" if self.span == RollupSpan.HOUR else "days"

    def place(self, at: datetime) -> float:
        """Return how many steps after the beginning a moment is."""
        return (at - self.since) / timedelta(minutes=self.span)


def timeline_of(prompt: Prompt, environment: str, days: int) -> Timeline:
    """Return the usage of a prompt in an environment in the last days; a single day by the hour."""
    until = timezone.now()
    span = RollupSpan.HOUR if days <= 1 else RollupSpan.DAY
    since = rollups.start_of(until - timedelta(days=days), span) + timedelta(minutes=span)
    rows = rollups.between(since, until, version__prompt=prompt, environment=environment)
    released = Release.objects.filter(prompt=prompt, environment__name=environment, created_at__gte=since)
    released = released.select_related("version").defer("version__content").order_by("-id")[:MAX_RELEASES]
    return Timeline(
        since=since,
        until=until,
        span=span,
        steps=rollups.by_time(rows, span),
        releases=[
            (release.created_at, f"v{release.version.number}, {release.get_kind_display().lower()}")
            for release in released
        ],
    )


def _estimated(read: Callable[[UsageStats], IntervalEstimate | None], times: float = 1.0) -> Value:
    def value(stats: UsageStats) -> float | None:
        estimate = read(stats)
        return None if estimate is None else estimate.value * times

    return value


def _latency(share: float) -> Value:
    return _estimated(lambda stats: stats.latency(share))


def _tokens(place: int) -> Value:
    def value(stats: UsageStats) -> float | None:
        means = stats.tokens_per_call()
        return means[place] if means else None

    return value


def _cost(stats: UsageStats) -> float | None:
    cost = stats.cost_per_call()
    return None if cost is None else cost * 1_000


# Charts by their keys: the title, and each line by its name.
CHARTS: Mapping[str, tuple[str, Mapping[str, Value]]] = {
    "volume": ("Calls", {"calls": lambda stats: float(stats.calls)}),
    "latency": ("Latency, ms", {"p50": _latency(0.5), "p95": _latency(0.95), "p99": _latency(0.99)}),
    "tokens": ("Tokens of a call", {"in": _tokens(0), "out": _tokens(1)}),
    "cost": ("1,000 calls, US dollars", {"cost": _cost}),
    "quality": (
        "Format and score, %",
        {"format": _estimated(UsageStats.format_rate, 100), "score": _estimated(UsageStats.score, 100)},
    ),
    "failures": ("Failures, %", {"failures": _estimated(UsageStats.failure_rate, 100)}),
}


def charts_of(timeline: Timeline) -> list[CurveChart]:
    """Draw the figures that calls have, with the releases as marks; those with two points at least."""
    marks = [(timeline.place(at), name) for at, name in timeline.releases]
    steps, charts = timeline.steps.items(), []
    for key, (title, lines) in CHARTS.items():
        series = [
            (name, [(timeline.place(start), y) for start, stats in steps if (y := value(stats)) is not None])
            for name, value in lines.items()
        ]
        series = [(name, pairs) for name, pairs in series if pairs]
        if any(len(pairs) > 1 for _, pairs in series):
            reach = timeline.place(timeline.until)
            charts.append(curve_chart(key, title, series, across=timeline.unit, marks=marks, reach=reach))
    return charts
