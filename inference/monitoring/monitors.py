"""Monitors: a figure of a prompt's live calls that has to stay within a bound, looked at by workers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from core.errors import Fault, Problem
from core.references import DEFAULT_ENVIRONMENT
from inference.calls import log as call_log
from inference.calls.usage_stats import Traffic, added
from inference.models import Monitor, MonitorState, Call
from inference.monitoring import drift
from registry.accounts import audit, permissions
from registry.accounts.permissions import Actor, Right
from registry.models import Environment, Project, Prompt

EVERY = timedelta(minutes=5)
MOST = 200
HOURS = (1, 720)
MOST_FEWEST = 1_000_000


@dataclass(frozen=True)
class Watched:
    """A figure that can be watched: the bound is the least that it may be, or the most."""

    title: str
    unit: str
    is_least: bool
    largest: float
    value: Callable[[Traffic], float | None]
    calls: Callable[[Traffic], int]


def _p(share: float) -> Callable[[Traffic], float | None]:
    def value(traffic: Traffic) -> float | None:
        found = traffic.latency(share)
        return found.value if found else None

    return value


def _share(name: str) -> Callable[[Traffic], float | None]:
    def value(traffic: Traffic) -> float | None:
        found = getattr(traffic, name)()
        return found.value if found else None

    return value


WATCHED: Mapping[str, Watched] = {
    "latency_p50": Watched("Median latency", "ms", False, 1e7, _p(0.5), lambda one: one.timed),
    "latency_p99": Watched("p99 latency", "ms", False, 1e7, _p(0.99), lambda one: one.timed),
    "format_rate": Watched("Format adherence", "", True, 1, _share("format_rate"), lambda one: one.formatted),
    "failure_rate": Watched("Failures", "", False, 1, _share("failure_rate"), lambda one: one.calls),
    "score": Watched("Score", "", True, 1, _share("score"), lambda one: one.scored),
    "cost_per_call": Watched(
        "Cost of a call", "USD", False, 1e4, lambda one: one.cost_per_call(), lambda one: one.priced
    ),
    # Against as many hours before; the length of questions stands for what comes in.
    "drift": Watched("Drift of questions", "", False, 10, lambda _: None, lambda one: one.counted),
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
    fewest: int = 30,
) -> Monitor:
    """Watch a figure of a prompt's calls over the last hours, once there are `fewest` of them."""
    actor.require(Right.EDIT)
    faults = []
    if figure not in WATCHED:
        faults.append(Fault("/figure", "choice", f"Must be one of: {', '.join(WATCHED)}."))
    elif not 0 <= bound <= WATCHED[figure].largest:
        faults.append(Fault("/bound", "range", f"Must be from 0 to {WATCHED[figure].largest:,.0f}."))
    if not Environment.objects.filter(project=actor.project, name=environment).exists():
        faults.append(Fault("/environment", "unknown", f"There is no environment {environment!r}."))
    if not HOURS[0] <= hours <= HOURS[1]:
        faults.append(Fault("/hours", "range", f"Must be from {HOURS[0]} to {HOURS[1]}."))
    if not 1 <= fewest <= MOST_FEWEST:
        faults.append(Fault("/fewest", "range", f"Must be from 1 to {MOST_FEWEST:,}."))
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
    if in_use().filter(project=actor.project).count() >= MOST:
        raise Problem("monitor.too_many", f"A project has at most {MOST} monitors.")
    made = Monitor.objects.create(
        project=actor.project,
        prompt=prompt,
        environment=environment,
        figure=figure,
        bound=bound,
        hours=hours,
        fewest=fewest,
        by_name=actor.name,
    )
    audit.record(actor, "monitor.created", made, after={"figure": figure, "bound": bound, "environment": environment})
    return made


@transaction.atomic
def remove(actor: Actor, monitor: Monitor) -> None:
    """Watch it no more; what it said stays in the audit."""
    actor.require(Right.EDIT)
    if Monitor.objects.filter(pk=monitor.pk, removed_at=None).update(removed_at=timezone.now()):
        audit.record(actor, "monitor.removed", monitor)


def in_use() -> QuerySet[Monitor]:
    return Monitor.objects.filter(removed_at=None).select_related("project", "prompt").order_by("prompt__name", "id")


def numbered(project: Project, number: int) -> Monitor:
    """The project's monitor with this number, or `monitor.not_found`."""
    found = in_use().filter(project=project, pk=number).first()
    if found is None:
        raise Problem("monitor.not_found", f"There is no monitor {number}.")
    return found


def due() -> QuerySet[Monitor]:
    """Monitors that nobody has looked at for some minutes."""
    return in_use().filter(Q(looked_at=None) | Q(looked_at__lt=timezone.now() - EVERY)).order_by("looked_at")


def look(monitor: Monitor) -> Monitor:
    """Work out a monitor's figure; a change of its state is audited."""
    watched = WATCHED[monitor.figure]
    of_version = _traffic(monitor, 0)
    now = added(of_version.values())
    calls = watched.calls(now)
    value = watched.value(now) if monitor.figure != "drift" else _drift(monitor, of_version)
    state = MonitorState.UNKNOWN
    if value is not None and calls >= monitor.fewest:
        is_fine = value >= monitor.bound if watched.is_least else value <= monitor.bound
        state = MonitorState.OK if is_fine else MonitorState.ALERT
    _keep(monitor, state, value, calls)
    return monitor


@transaction.atomic
def _keep(monitor: Monitor, state: MonitorState, value: float | None, calls: int) -> None:
    locked = Monitor.objects.select_for_update().get(pk=monitor.pk)
    before = locked.state
    monitor.state, monitor.value, monitor.calls, monitor.looked_at = state, value, calls, timezone.now()
    monitor.changed_at = timezone.now() if before != state else locked.changed_at
    monitor.save(update_fields=["state", "value", "calls", "looked_at", "changed_at"])
    if before != state and MonitorState.ALERT in (before, state):
        # Without calls nothing has recovered; nobody knows.
        silent = "monitor.recovered" if state == MonitorState.OK else "monitor.silent"
        verb = "monitor.alerted" if state == MonitorState.ALERT else silent
        actor = permissions.command_line(monitor.project)
        audit.record(actor, verb, monitor, before={"state": before}, after={"state": state.value, "value": value})


def _traffic(monitor: Monitor, back: int) -> dict[int, Traffic]:
    """The calls of the monitor's hours, or of as many hours `back` times before, by version."""
    until = timezone.now() - back * timedelta(hours=monitor.hours)
    rows = Call.objects.filter(
        version__prompt=monitor.prompt,
        environment=monitor.environment,
        at__gt=until - timedelta(hours=monitor.hours),
        at__lte=until,
    )
    found: dict[int, Traffic] = {}
    for (version, *_), traffic in call_log.added_up(rows).items():
        found[version] = found.get(version, Traffic()) + traffic
    return found


def _drift(monitor: Monitor, now: Mapping[int, Traffic]) -> float | None:
    """The stability index of the version that is asked most against its own hours before; what chance makes as well is
    none. Another version has questions of another length, and that is no drift."""
    if not now:
        return None
    key = max(now, key=lambda one: now[one].calls)
    before = _traffic(monitor, 1).get(key, Traffic())
    found = drift.of_bins("Length of questions", before.questions, now[key].questions)
    if found is None or found.index is None:
        return None
    return found.index if found.p is not None and found.p < drift.CHANCE else 0.0


def asked_for(document: Mapping[str, Any]) -> dict[str, Any]:
    """A monitor as it is written; what is not given is the default."""
    names = ("figure", "bound", "environment", "hours", "fewest")
    return {name: document[name] for name in names if document.get(name) is not None}
