"""Monitors: figures of a prompt's live calls that have to stay within a bound, checked by workers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from core.errors import Fault, Problem
from core.references import DEFAULT_ENVIRONMENT
from inference.models import Monitor, MonitorState
from inference.monitoring import alerts, drift, evidence
from inference.usage import rollups
from inference.usage.stats import UsageStats, sum_usage
from registry.accounts import audit, permissions
from registry.accounts.permissions import Actor, Right
from registry.models import Environment, Project, Prompt

CHECK_INTERVAL = timedelta(minutes=5)
MAX_MONITORS = 200
HOURS_RANGE = (1, 720)
MAX_MIN_CALLS = 1_000_000


@dataclass(frozen=True)
class MonitorFigure:
    """A figure that a monitor can have; its bound is a minimum or a maximum.

    `is_beyond` says whether calls show that it is beyond a bound, and chance alone does not explain it
    (inference.monitoring.evidence).
    """

    title: str
    unit: str
    is_least: bool
    maximum: float
    value: Callable[[UsageStats], float | None]
    calls: Callable[[UsageStats], int]
    is_beyond: Callable[[UsageStats, float], bool]


def _latency(title: str, share: float) -> MonitorFigure:
    def value(stats: UsageStats) -> float | None:
        estimate = stats.latency(share)
        return estimate.value if estimate else None

    def is_beyond(stats: UsageStats, bound: float) -> bool:
        return evidence.is_quantile_above(stats.latencies, share, bound)

    return MonitorFigure(title, "ms", False, 1e7, value, lambda stats: stats.timed, is_beyond)


def _mean(title: str, name: str, calls: Callable[[UsageStats], int], *, is_least: bool) -> MonitorFigure:
    """Build a figure that is a mean of values from 0 to 1."""

    def value(stats: UsageStats) -> float | None:
        estimate = getattr(stats, name)()
        return estimate.value if estimate else None

    def is_beyond(stats: UsageStats, bound: float) -> bool:
        mean = value(stats)
        compare = evidence.is_below if is_least else evidence.is_above
        return mean is not None and compare(mean, calls(stats), bound)

    return MonitorFigure(title, "", is_least, 1, value, calls, is_beyond)


MONITOR_FIGURES: Mapping[str, MonitorFigure] = {
    "latency_p50": _latency("Median latency", 0.5),
    "latency_p99": _latency("p99 latency", 0.99),
    "format_rate": _mean("Format adherence", "format_rate", lambda stats: stats.formatted, is_least=True),
    "failure_rate": _mean("Failures", "failure_rate", lambda stats: stats.calls, is_least=False),
    "score": _mean("Score", "score", lambda stats: stats.scored, is_least=True),
    "cost_per_call": MonitorFigure(
        *("Cost of a call", "USD", False, 1e4, lambda stats: stats.cost_per_call(), lambda stats: stats.priced),
        lambda stats, bound: evidence.is_mean_above(stats.cost_usd, stats.cost_squares, stats.priced, bound),
    ),
    # Compared with as many hours before; the length of questions stands for what comes in. What chance explains is no
    # drift at all (_drift_index).
    "drift": MonitorFigure(
        *("Drift of questions", "", False, 10, lambda _: None, lambda stats: stats.counted), lambda _stats, _bound: True
    ),
}


@transaction.atomic
def create(
    actor: Actor,
    prompt: Prompt,
    *,
    figure: str,
    bound: float,
    environment: str = DEFAULT_ENVIRONMENT,
    hours: int = 24,
    min_calls: int = 30,
) -> Monitor:
    """Watch a figure of a prompt's calls over the last hours, once there are `min_calls` of them."""
    actor.require(Right.EDIT)
    faults = []
    if figure not in MONITOR_FIGURES:
        faults.append(Fault("/figure", "choice", f"Must be one of: {', '.join(MONITOR_FIGURES)}."))
    elif not 0 <= bound <= MONITOR_FIGURES[figure].maximum:
        faults.append(Fault("/bound", "range", f"Must be from 0 to {MONITOR_FIGURES[figure].maximum:,.0f}."))
    if not Environment.objects.filter(project=actor.project, name=environment).exists():
        faults.append(Fault("/environment", "unknown", f"There is no environment {environment!r}."))
    if not HOURS_RANGE[0] <= hours <= HOURS_RANGE[1]:
        faults.append(Fault("/hours", "range", f"Must be from {HOURS_RANGE[0]} to {HOURS_RANGE[1]}."))
    if not 1 <= min_calls <= MAX_MIN_CALLS:
        faults.append(Fault("/min_calls", "range", f"Must be from 1 to {MAX_MIN_CALLS:,}."))
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
    if active_monitors().filter(project=actor.project).count() >= MAX_MONITORS:
        raise Problem("monitor.too_many", f"A project has at most {MAX_MONITORS} monitors.")
    monitor = Monitor.objects.create(
        project=actor.project,
        prompt=prompt,
        environment=environment,
        figure=figure,
        bound=bound,
        hours=hours,
        min_calls=min_calls,
        by_name=actor.name,
    )
    audit.record(
        actor, "monitor.created", monitor, after={"figure": figure, "bound": bound, "environment": environment}
    )
    return monitor


@transaction.atomic
def remove(actor: Actor, monitor: Monitor) -> None:
    """Remove a monitor; its alerts stay in the audit."""
    actor.require(Right.EDIT)
    if Monitor.objects.filter(pk=monitor.pk, removed_at=None).update(removed_at=timezone.now()):
        audit.record(actor, "monitor.removed", monitor)


def active_monitors() -> QuerySet[Monitor]:
    return Monitor.objects.filter(removed_at=None).select_related("project", "prompt").order_by("prompt__name", "id")


def get_monitor(project: Project, number: int) -> Monitor:
    """Return the project's monitor with this number, or raise `monitor.not_found`."""
    monitor = active_monitors().filter(project=project, pk=number).first()
    if monitor is None:
        raise Problem("monitor.not_found", f"There is no monitor {number}.")
    return monitor


def due_monitors() -> QuerySet[Monitor]:
    """Return monitors that were not checked for some minutes."""
    return (
        active_monitors()
        .filter(Q(looked_at=None) | Q(looked_at__lt=timezone.now() - CHECK_INTERVAL))
        .order_by("looked_at")
    )


def look(monitor: Monitor) -> Monitor:
    """Compute a monitor's figure; a change of its state is audited.

    Where the figure is beyond the bound, and chance may have brought it there, nothing can be told.
    """
    figure = MONITOR_FIGURES[monitor.figure]
    of_version = _usage_by_version(monitor, 0)
    now = sum_usage(of_version.values())
    calls = figure.calls(now)
    value = figure.value(now) if monitor.figure != "drift" else _drift_index(monitor, of_version)
    state = MonitorState.UNKNOWN
    if value is not None and calls >= monitor.min_calls:
        is_fine = value >= monitor.bound if figure.is_least else value <= monitor.bound
        if is_fine:
            state = MonitorState.OK
        # One that was breached is so until its figure is within the bound again.
        elif monitor.state == MonitorState.ALERT or figure.is_beyond(now, monitor.bound):
            state = MonitorState.ALERT
    _save_state(monitor, state, value, calls)
    return monitor


@transaction.atomic
def _save_state(monitor: Monitor, state: MonitorState, value: float | None, calls: int) -> None:
    locked = Monitor.objects.select_for_update().get(pk=monitor.pk)
    before = locked.state
    monitor.state, monitor.value, monitor.calls, monitor.looked_at = state, value, calls, timezone.now()
    locked.changed_at = monitor.changed_at = timezone.now() if before != state else locked.changed_at
    monitor.save(update_fields=["state", "value", "calls", "looked_at", "changed_at"])
    if state == MonitorState.OK:
        alerts.recovered(locked)
    elif state == MonitorState.ALERT:
        # Also where the breach began while it was muted.
        alerts.breached(locked, value, calls)
    if before != state and MonitorState.ALERT in (before, state):
        # Without calls it is not known whether the figure has recovered.
        recovery_verb = "monitor.recovered" if state == MonitorState.OK else "monitor.too_few_calls"
        verb = "monitor.alerted" if state == MonitorState.ALERT else recovery_verb
        actor = permissions.actor_for_command_line(monitor.project)
        audit.record(actor, verb, monitor, before={"state": before}, after={"state": state.value, "value": value})


def _usage_by_version(monitor: Monitor, back: int) -> dict[int, UsageStats]:
    """Return the usage of the monitor's hours, or of as many hours `back` times before, by version."""
    until = timezone.now() - back * timedelta(hours=monitor.hours)
    since = until - timedelta(hours=monitor.hours)
    of_prompt = {"version__prompt": monitor.prompt, "environment": monitor.environment}
    return rollups.by_version(rollups.between(since, until, **of_prompt))


def _drift_index(monitor: Monitor, now: Mapping[int, UsageStats]) -> float | None:
    """Return the stability index of the most called version against its own hours before; 0 where chance explains it.
    Another version has questions of another length, and that is no drift."""
    if not now:
        return None
    key = max(now, key=lambda version_key: now[version_key].calls)
    before = _usage_by_version(monitor, 1).get(key, UsageStats())
    change = drift.drift_of_histogram("Length of questions", before.questions, now[key].questions)
    if change is None or change.index is None:
        return None
    return change.index if change.p is not None and change.p < drift.SIGNIFICANCE else 0.0


def read_request(document: Mapping[str, Any]) -> dict[str, Any]:
    """Read a request for a monitor; missing members have their defaults."""
    names = ("figure", "bound", "environment", "hours", "min_calls")
    return {name: document[name] for name in names if document.get(name) is not None}
