"""Monitors: figures of a prompt's live calls that have to stay within a bound, checked by workers."""

import logging
from collections.abc import Mapping
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from core.errors import Fault, Problem
from core.references import DEFAULT_ENVIRONMENT
from evaluations.models import Run, RunState
from inference.models import Monitor, MonitorState
from inference.monitoring import alerts
from inference.monitoring.figures import CHECK_INTERVAL, GOLDEN_SET, MONITOR_FIGURES, SLOW_FIGURES, SLOW_INTERVAL
from registry.accounts import audit, permissions
from registry.accounts.permissions import Actor, Right
from registry.models import Environment, Project, Prompt

logger = logging.getLogger(__name__)
MAX_MONITORS = 200
HOURS_RANGE = (1, 720)
MAX_MIN_CALLS = 1_000_000


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
    run: Run | None = None,
) -> Monitor:
    """Watch a figure of a prompt's calls over the last hours, once there are `min_calls` of them. `run` is what the
    golden set's nightly runs are like (inference.monitoring.golden), which are made for the actor."""
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
    if (run is not None) != (figure == GOLDEN_SET):
        faults.append(Fault("/run", "required", "A golden set, and nothing else, names the run that it is like."))
    elif run is not None and (run.state != RunState.DONE or run.version.prompt_id != prompt.pk):
        faults.append(Fault("/run", "other", f"Must be a run of {prompt.name} that is done."))
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
        run=run,
        by=actor.user,
        by_key=actor.key,
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
    """Return monitors that were not checked for some minutes; those that read texts, for an hour."""
    now = timezone.now()
    is_due = Q(looked_at=None) | Q(looked_at__lt=now - SLOW_INTERVAL)
    is_due |= Q(looked_at__lt=now - CHECK_INTERVAL) & ~Q(figure__in=SLOW_FIGURES)
    return active_monitors().filter(is_due).order_by("looked_at")


def look_at_due(most: int) -> int:
    """Look at monitors that are due, the longest unseen first; returns how many. One that cannot be read keeps no
    other: it is unknown until the next time."""
    rows = list(due_monitors()[:most])
    for monitor in rows:
        try:
            look(monitor)
        except SoftTimeLimitExceeded:
            raise
        except Exception:
            logger.exception("monitor.not_looked_at monitor=%d", monitor.pk)
            _save_state(monitor, MonitorState.UNKNOWN, None, 0)
    return len(rows)


def look(monitor: Monitor) -> Monitor:
    """Compute a monitor's figure; a change of its state is audited.

    Where the figure is beyond the bound, and chance may have brought it there, nothing can be told.
    """
    figure = MONITOR_FIGURES[monitor.figure]
    reading = figure.read(monitor)
    state = MonitorState.UNKNOWN
    enough = min(monitor.min_calls, figure.most_calls or monitor.min_calls)
    if reading.value is not None and reading.calls >= enough:
        is_fine = reading.value >= monitor.bound if figure.is_least else reading.value <= monitor.bound
        if is_fine:
            state = MonitorState.OK
        # One that was breached is so until its figure is within the bound again.
        elif monitor.state == MonitorState.ALERT or reading.is_surely_beyond:
            state = MonitorState.ALERT
    _save_state(monitor, state, reading.value, reading.calls)
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


def read_request(document: Mapping[str, Any]) -> dict[str, Any]:
    """Read a request for a monitor; missing members have their defaults."""
    names = ("figure", "bound", "environment", "hours", "min_calls", "run")
    return {name: document[name] for name in names if document.get(name) is not None}
