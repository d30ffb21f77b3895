"""Alerts: one of a monitor is open; members look after it, and it ends by itself when the figure recovers."""

import pytest
from django.db import IntegrityError, transaction
from django.test import Client

from core.errors import Problem
from inference.calls import log as call_log
from inference.models import Alert, Monitor
from inference.monitoring import alerts, monitors
from registry.accounts import permissions
from registry.models import AuditEntry
from tests.conftest import ApiFor, Stage
from tests.inference.calls.conftest import call


def report(stage: Stage, name: str, count: int, **members: object) -> None:
    service = permissions.actor_for_command_line(stage.project)
    call_log.record(service, [call(number, id=f"{name}-{number}", **members) for number in range(count)])


@pytest.fixture
def monitor(stage: Stage) -> Monitor:
    """A monitor that is breached: of 200 calls 100 break the format."""
    version = stage.commit(stage.prompt(), "Sort it.")
    report(stage, "good", 100, format_ok=True)
    report(stage, "bad", 100, format_ok=False)
    return monitors.look(monitors.create(stage.edith, version.prompt, figure="format_rate", bound=0.9))


def test_a_breach_opens_one_alert_which_ends_with_it(stage: Stage, monitor: Monitor):
    (alert,) = alerts.open_alerts(stage.project)
    assert (alert.value, alert.calls) == (0.5, 200)

    report(stage, "worse", 50, format_ok=False)
    monitors.look(monitor)
    assert Alert.objects.count() == 1
    for name in "abcd":
        report(stage, name, 500, format_ok=True)
    monitors.look(monitor)

    alert.refresh_from_db()
    assert (alert.resolved_by, monitor.state) == ("recovered", "ok")
    assert not alerts.open_alerts(stage.project)


def test_what_somebody_resolved_opens_again_only_after_a_recovery(stage: Stage, monitor: Monitor):
    alert = Alert.objects.get()
    alerts.acknowledge(stage.edith, alert, "The provider changed something")
    alerts.resolve(stage.rhea, alert)

    monitors.look(monitor)
    assert Alert.objects.count() == 1
    with pytest.raises(Problem, match="resolved already, by"):
        alerts.resolve(stage.edith, alert)
    for name in "abcd":
        report(stage, name, 500, format_ok=True)
    monitors.look(monitor)
    for name in "efgh":
        report(stage, name, 500, format_ok=False)
    monitors.look(monitor)

    assert [alert.resolved_by for alert in Alert.objects.order_by("id")] == [stage.rhea.name, ""]
    actions = AuditEntry.objects.filter(action__startswith="alert.").order_by("id").values_list("action", flat=True)
    assert list(actions) == ["alert.acknowledged", "alert.resolved"]


def test_a_muted_monitor_opens_none(stage: Stage, monitor: Monitor):
    alerts.resolve(stage.edith, Alert.objects.get())
    Monitor.objects.update(state="ok")
    monitor.refresh_from_db()

    alerts.mute(stage.edith, monitor, 24)
    assert monitors.look(monitor).state == "alert"
    assert not alerts.open_alerts(stage.project)
    alerts.mute(stage.edith, monitor, 0)
    Monitor.objects.update(state="ok")
    monitor.refresh_from_db()
    monitors.look(monitor)
    assert alerts.open_alerts(stage.project).count() == 1
    with pytest.raises(Problem, match="from 1 to 720"):
        alerts.mute(stage.edith, monitor, 721)


def test_a_breach_that_began_while_muted_opens_one_afterwards_and_a_resolved_one_stays_so(
    stage: Stage, monitor: Monitor
):
    alerts.resolve(stage.edith, Alert.objects.get())
    monitors.look(monitor)
    assert not alerts.open_alerts(stage.project)

    Monitor.objects.update(state="ok")
    monitor.refresh_from_db()
    alerts.mute(stage.edith, monitor, 24)
    monitors.look(monitor)
    assert not alerts.open_alerts(stage.project)
    alerts.mute(stage.edith, monitor, 0)
    monitors.look(monitor)
    monitors.look(monitor)
    assert alerts.open_alerts(stage.project).count() == 1


def test_the_database_has_one_open_alert_of_a_monitor(monitor: Monitor):
    with pytest.raises(IntegrityError), transaction.atomic():
        Alert.objects.create(monitor=monitor, calls=1)


def test_over_rest_and_on_the_page(stage: Stage, api_for: ApiFor, client: Client, monitor: Monitor):
    api = api_for(stage.edith)
    (listed,) = api.get("/api/v1/alerts", {"state": "open"}).json()["results"]
    assert (listed["prompt"], listed["figure"], listed["acknowledged_at"]) == ("support.triage", "format_rate", None)
    assert api.get("/api/v1/alerts", {"state": "x"}).status_code == 400
    assert api_for(stage.vera).post(f"/api/v1/alerts/{listed['id']}/resolve").status_code == 403
    assert api.post(f"/api/v1/monitors/{monitor.pk}/mute", {"hours": 2}).json()["muted_until"]

    client.force_login(stage.edith.user)
    home = f"/p/{stage.project.slug}/prompts/support.triage/live/"
    assert "Acknowledge" in client.get(home).content.decode()
    client.post(f"{home}alerts/{listed['id']}/", {"do": "acknowledge", "note": "On it"})
    page = client.get(home).content.decode()
    assert "On it" in page
    assert "looks after it" in page
    assert "Unmute" in page
    client.post(f"{home}monitors/{monitor.pk}/mute/", {"hours": "0"})
    monitor.refresh_from_db()
    assert monitor.muted_until is None
    client.post(f"{home}alerts/{listed['id']}/", {"do": "resolve"})
    assert not alerts.open_alerts(stage.project)
    assert api.post(f"/api/v1/alerts/{listed['id']}/acknowledge", {}).json()["code"] == "alert.closed"
