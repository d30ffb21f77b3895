"""Alerts: of a monitor that is breached, or of what an experiment does by itself; until somebody has dealt with it, or
the figure has recovered."""

from datetime import timedelta

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from core.errors import Fault, Problem
from inference.models import Alert, ExperimentEvent, Monitor
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.models import Project, Prompt

MAX_NOTE = 1_000
EVENT_WITH_RUN = ("event__run__experiment", "event__run__prompt", "event__run__environment")
MUTED_HOURS = (1, 24 * 30)


def open_alerts(project: Project) -> QuerySet[Alert]:
    """Return the alerts that nobody has resolved, the newest first."""
    return alerts_of(project).filter(resolved_at=None, monitor__removed_at=None).order_by("-opened_at", "-id")


def open_alerts_of(prompt: Prompt) -> QuerySet[Alert]:
    """Return the open alerts of a prompt's monitors and experiments."""
    return open_alerts(prompt.project).filter(Q(monitor__prompt=prompt) | Q(event__run__prompt=prompt))


def alerts_of(project: Project) -> QuerySet[Alert]:
    """Return a project's alerts with what they are about."""
    rows = Alert.objects.filter(Q(monitor__project=project) | Q(event__run__experiment__project=project))
    return rows.select_related("monitor__prompt", *EVENT_WITH_RUN)


def get_alert(project: Project, number: int) -> Alert:
    """Return the project's alert with this number, or raise `alert.not_found`."""
    alert = alerts_of(project).filter(pk=number).first()
    if alert is None:
        raise Problem("alert.not_found", f"There is no alert {number}.")
    return alert


def breached(monitor: Monitor, value: float | None, calls: int) -> None:
    """Open an alert for a monitor that is breached, unless one is open, or there was one of this breach (since
    `changed_at`), or it is muted. The caller holds the monitor's lock."""
    now = timezone.now()
    if monitor.muted_until is not None and monitor.muted_until > now:
        return
    of_this_breach = Q(resolved_at=None) | Q(opened_at__gte=monitor.changed_at)
    if not Alert.objects.filter(of_this_breach, monitor=monitor).exists():
        Alert.objects.create(monitor=monitor, opened_at=now, value=value, calls=calls)


def experiment_acted(event: ExperimentEvent) -> Alert:
    """Open an alert of what an experiment has done by itself; in the transaction that does it."""
    return Alert.objects.create(event=event, opened_at=timezone.now(), calls=0)


def recovered(monitor: Monitor) -> None:
    """Resolve the open alert of a monitor whose figure is within its bound again."""
    Alert.objects.filter(monitor=monitor, resolved_at=None).update(resolved_at=timezone.now(), resolved_by="recovered")


@transaction.atomic
def acknowledge(actor: Actor, alert: Alert, note: str = "") -> Alert:
    """Say that somebody looks after an alert; `alert.closed` where it is resolved."""
    row = _lock_open(actor, alert)
    if len(note) > MAX_NOTE:
        fault = Fault("/note", "length", f"Must have at most {MAX_NOTE:,} characters.")
        raise Problem("request.invalid", fault.message, faults=[fault])
    row.acknowledged_at, row.acknowledged_by, row.note = timezone.now(), actor.name, note
    row.save(update_fields=["acknowledged_at", "acknowledged_by", "note"])
    audit.record(actor, "alert.acknowledged", row.about, after={"alert": row.pk, "note": note})
    return row


@transaction.atomic
def resolve(actor: Actor, alert: Alert) -> Alert:
    """Close an alert. The next one comes when the figure has been within its bound and is beyond it again."""
    row = _lock_open(actor, alert)
    row.resolved_at, row.resolved_by = timezone.now(), actor.name
    row.save(update_fields=["resolved_at", "resolved_by"])
    audit.record(actor, "alert.resolved", row.about, after={"alert": row.pk})
    return row


def _lock_open(actor: Actor, alert: Alert) -> Alert:
    actor.require(Right.EDIT)
    rows = Alert.objects.select_for_update(of=("self",)).select_related("monitor__prompt", *EVENT_WITH_RUN)
    row = rows.get(pk=alert.pk)
    if row.resolved_at is not None:
        raise Problem("alert.closed", f"The alert was resolved already, by {row.resolved_by}.")
    return row


@transaction.atomic
def mute(actor: Actor, monitor: Monitor, hours: int) -> Monitor:
    """Open no alerts of a monitor for so many hours; with 0, open them again. Its figure is looked at all the same."""
    actor.require(Right.EDIT)
    if hours and not MUTED_HOURS[0] <= hours <= MUTED_HOURS[1]:
        fault = Fault("/hours", "range", f"Must be from {MUTED_HOURS[0]} to {MUTED_HOURS[1]}, or 0 to end it.")
        raise Problem("request.invalid", fault.message, faults=[fault])
    row = Monitor.objects.select_for_update(of=("self",)).get(pk=monitor.pk)
    row.muted_until = timezone.now() + timedelta(hours=hours) if hours else None
    row.save(update_fields=["muted_until"])
    audit.record(actor, "monitor.muted", row, after={"hours": hours})
    monitor.muted_until = row.muted_until
    return monitor
