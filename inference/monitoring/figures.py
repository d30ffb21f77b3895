"""The figures that a monitor can have: how each is read, and whether it is surely beyond a bound."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone

from evaluations.comparisons import slas
from inference.models import Monitor, NightlyRun
from inference.monitoring import drift, evidence, inputs
from inference.usage import rollups
from inference.usage.estimates import bin_of
from inference.usage.stats import UsageStats, sum_usage

CHECK_INTERVAL, SLOW_INTERVAL = timedelta(minutes=5), timedelta(hours=1)
GOLDEN_SET = "golden_set"
# A night that is longer ago says nothing of now.
STALE_AFTER = timedelta(days=2)
# Slow calls are looked for in the monitor's hours and in their last twelfth: what is over by now is no alarm, and what
# has just begun is none yet (Google, "The Site Reliability Workbook", 2018, chapter 5).
SHORT_WINDOW = 12
# Of calls, this many may be slower than the target for p99.
ALLOWED = 0.01


@dataclass(frozen=True)
class Reading:
    """A figure as it is now, None where nobody can tell; of how many calls (or cases) it is, and whether it is beyond
    the monitor's bound, and chance alone does not explain it (inference.monitoring.evidence)."""

    value: float | None
    calls: int
    is_surely_beyond: bool = False


@dataclass(frozen=True)
class MonitorFigure:
    """A figure that a monitor can have; its bound is a minimum or a maximum."""

    title: str
    unit: str
    is_least: bool
    maximum: float
    read: Callable[[Monitor], Reading]
    hint: str = ""
    # As many calls are read at most: more are never there.
    most_calls: int | None = None


def _latency(title: str, share: float) -> MonitorFigure:
    def read(monitor: Monitor) -> Reading:
        stats = usage_of(monitor)
        estimate = stats.latency(share)
        is_beyond = evidence.is_quantile_above(stats.latencies, share, monitor.bound)
        return Reading(estimate.value if estimate else None, stats.timed, is_beyond)

    return MonitorFigure(title, "ms", False, 1e7, read)


def _mean(title: str, name: str, calls: Callable[[UsageStats], int], *, is_least: bool) -> MonitorFigure:
    """Build a figure that is a mean of values from 0 to 1."""

    def read(monitor: Monitor) -> Reading:
        stats = usage_of(monitor)
        estimate = getattr(stats, name)()
        compare = evidence.is_below if is_least else evidence.is_above
        value, n = estimate.value if estimate else None, calls(stats)
        return Reading(value, n, value is not None and compare(value, n, monitor.bound))

    return MonitorFigure(title, "", is_least, 1, read)


def _read_cost_per_call(monitor: Monitor) -> Reading:
    stats = usage_of(monitor)
    is_beyond = evidence.is_mean_above(stats.cost_usd, stats.cost_squares, stats.priced, monitor.bound)
    return Reading(stats.cost_per_call(), stats.priced, is_beyond)


def _read_cost_a_day(monitor: Monitor) -> Reading:
    """What a day costs at the pace of the window; what was spent was spent, and no chance is in it."""
    stats = usage_of(monitor)
    value = stats.cost_usd * 24 / monitor.hours if stats.priced else None
    return Reading(value, stats.priced, True)


def _read_latency_burn(monitor: Monitor) -> Reading:
    """How many times as many calls as allowed are slower than the project's target for p99: of both windows the lower,
    because both have to be beyond."""
    target = slas.get_slas(monitor.project).p99_latency_ms
    windows = [usage_of(monitor), sum_usage(usage_by_version(monitor, 0, parts=SHORT_WINDOW).values())]
    if target is None or not all(stats.timed for stats in windows):
        return Reading(None, windows[0].timed)
    # Bins that begin above the target, as elsewhere (inference.usage.estimates).
    slow = [
        sum(count for number, count in stats.latencies.items() if number > bin_of(float(target))) / stats.timed
        for stats in windows
    ]
    bound = min(1.0, monitor.bound * ALLOWED)
    is_beyond = all(evidence.is_above(share, stats.timed, bound) for share, stats in zip(slow, windows, strict=True))
    return Reading(min(slow) / ALLOWED, windows[0].timed, is_beyond)


def _read_drift(monitor: Monitor) -> Reading:
    """The stability index of the most called version's questions against its own hours before; 0 where chance explains
    it. Another version has questions of another length, and that is no drift."""
    now = usage_by_version(monitor, 0)
    calls = sum_usage(now.values()).counted
    if not now:
        return Reading(None, calls)
    key = most_called(now)
    before = usage_by_version(monitor, 1).get(key, UsageStats())
    return _of_drift(drift.drift_of_histogram("Length of questions", before.questions, now[key].questions), calls)


def _read_languages(monitor: Monitor) -> Reading:
    windows = _texts(monitor)
    before, now = (inputs.languages_of(texts) for texts in windows)
    return _of_drift(drift.drift_of_labels("Languages", before, now), len(windows[1]))


def _read_topics(monitor: Monitor) -> Reading:
    before, now = _texts(monitor)
    mixing = inputs.separation(before, now)
    if mixing is None:
        return Reading(None, len(now))
    return Reading(mixing.value if mixing.p < drift.SIGNIFICANCE else 0.0, len(now), True)


def _texts(monitor: Monitor) -> tuple[list[str], list[str]]:
    """Return the kept questions of the most called version, of the monitor's hours before and of its last ones."""
    now = usage_by_version(monitor, 0)
    if not now:
        return [], []
    until, hours = timezone.now(), timedelta(hours=monitor.hours)
    windows = [(until - 2 * hours, until - hours), (until - hours, until)]
    before, last = (inputs.questions_of(most_called(now), monitor.environment, *window) for window in windows)
    return before, last


def _of_drift(change: drift.Drift | None, calls: int) -> Reading:
    if change is None or change.index is None:
        return Reading(None, calls)
    is_sure = change.p is not None and change.p < drift.SIGNIFICANCE
    return Reading(change.index if is_sure else 0.0, calls, True)


def _read_golden_set(monitor: Monitor) -> Reading:
    """By how much the quality of the last night's run is below its reference; what is surely more than the margin is
    beyond it (inference.monitoring.golden)."""
    rows = NightlyRun.objects.filter(monitor=monitor, settled_at__isnull=False)
    last = rows.order_by("-day").first()
    if last is None or last.loss is None or last.settled_at < timezone.now() - STALE_AFTER:  # type: ignore[operator]  # settled
        return Reading(None, 0)
    return Reading(max(0.0, last.loss), max(last.cases, monitor.min_calls), last.is_worse)


def usage_of(monitor: Monitor) -> UsageStats:
    """Return the usage of the monitor's hours."""
    return sum_usage(usage_by_version(monitor, 0).values())


def usage_by_version(monitor: Monitor, back: int, *, parts: int = 1) -> dict[int, UsageStats]:
    """Return the usage of the monitor's hours, of the last of so many `parts` of them, or of as many hours `back` times
    before, by version."""
    hours = timedelta(hours=monitor.hours)
    until = timezone.now() - back * hours
    of_prompt = {"version__prompt": monitor.prompt, "environment": monitor.environment}
    return rollups.by_version(rollups.between(until - hours / parts, until, **of_prompt))


def most_called(usage: Mapping[int, UsageStats]) -> int:
    """Return the version with most calls."""
    return max(usage, key=lambda key: usage[key].calls)


MONITOR_FIGURES: Mapping[str, MonitorFigure] = {
    "latency_p50": _latency("Median latency", 0.5),
    "latency_p99": _latency("p99 latency", 0.99),
    "latency_burn": MonitorFigure(
        *("Slow calls, times as many as allowed", "", False, 100, _read_latency_burn),
        "allowed is 1 % above the SLA for p99; over the window and its last twelfth",
    ),
    "format_rate": _mean("Format adherence", "format_rate", lambda stats: stats.formatted, is_least=True),
    "failure_rate": _mean("Failures", "failure_rate", lambda stats: stats.calls, is_least=False),
    "score": _mean("Score", "score", lambda stats: stats.scored, is_least=True),
    "cost_per_call": MonitorFigure("Cost of a call", "USD", False, 1e4, _read_cost_per_call),
    "cost_a_day": MonitorFigure("Cost of a day at this pace", "USD", False, 1e7, _read_cost_a_day),
    # Compared with as many hours before. What chance explains is no drift at all.
    "drift": MonitorFigure("Drift of questions, by length", "", False, 10, _read_drift, "stability index"),
    "language_drift": MonitorFigure(
        *("Drift of questions, by language", "", False, 10, _read_languages),
        *("stability index; of texts that are kept", inputs.MAX_TEXTS),
    ),
    "topic_drift": MonitorFigure(
        *("Drift of questions, by meaning", "", False, 1, _read_topics),
        *("0 alike, 1 nothing alike; of texts that are kept", inputs.MAX_TEXTS),
    ),
    GOLDEN_SET: MonitorFigure(
        "Golden set every night: quality lost", "", False, 1, _read_golden_set, "against the first night, case by case"
    ),
}
# They read texts.
SLOW_FIGURES = ("language_drift", "topic_drift")
