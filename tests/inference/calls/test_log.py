"""Live calls as services report them: recorded once, added up by the day, monitored, and private to their project."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from core.errors import Problem
from evaluations.providers import configuration as providers
from inference import tasks
from inference.calls import log as call_log
from inference.calls import partitions, storage
from inference.models import Call, Monitor, UsageRollup
from inference.monitoring import figures, monitors, usage
from inference.usage import rollups
from inference.usage.stats import OTHER
from registry.accounts.permissions import Actor
from registry.models import AuditEntry, PromptVersion
from tests.conftest import ApiFor, Stage
from tests.inference.calls.conftest import call

URL = "/api/v1/observations"


def test_a_service_reports_calls_and_each_counts_once(stage: Stage, api_for: ApiFor, version: PromptVersion):
    service = api_for(stage.edith, scopes=["observe"])
    sent = {"observations": [call(number) for number in range(50)]}

    first = service.post(URL, sent)
    again = service.post(URL, {"observations": [*sent["observations"], call(50, id="call-0")]})

    assert (first.status_code, first.json()) == (201, {"taken": 50, "known": 0})
    assert again.json() == {"taken": 0, "known": 51}
    assert service.get(URL).status_code == 403
    reader = api_for(stage.edith, scopes=["read"])
    assert reader.post(URL, sent).status_code == 403
    listed = reader.get(URL, {"prompt": "support.triage"}).json()
    assert listed["results"][0]["prompt"] == "support.triage@1"
    document = reader.get("/api/v1/prompts/support.triage/live").json()
    assert document["total"]["calls"] == 50
    assert document["total"]["format_adherence"]["value"] == pytest.approx(0.9)
    assert document["total"]["latency_ms"]["mean"] == pytest.approx(124.5)
    assert [version_document["version"] for version_document in document["versions"]] == ["support.triage@1"]
    assert reader.get("/api/v1/prompts/support.triage/live", {"days": "x"}).status_code == 400


def test_one_fault_refuses_the_batch_and_says_where(api: APIClient, version: PromptVersion):
    old = (timezone.now() - timedelta(hours=49)).isoformat()
    wrong = [
        call(0),
        call(1, prompt="support.triage@9"),
        call(2, tokens_in=-1),
        call(3, environment="moon"),
        call(4, at=old),
        call(5, score=1.5),
        call(6, prompt="not a name!"),
    ]

    answer = api.post(URL, {"observations": wrong})

    assert answer.status_code == 400
    pointers = {fault["pointer"] for fault in answer.json()["errors"]}
    assert pointers == {
        "/observations/1/prompt",
        "/observations/2/tokens_in",
        "/observations/3/environment",
        "/observations/4/at",
        "/observations/5/score",
        "/observations/6/prompt",
    }
    assert not Call.objects.exists()
    assert api.post(URL, {"observations": []}).status_code == 400
    assert api.post(URL, {"observations": [call(1)] * 1_001}).status_code == 400
    assert api.post(URL, {"observations": [call(1, speed=3)]}).status_code == 400


def test_cached_and_reasoning_tokens_have_their_prices(stage: Stage, service: Actor, version: PromptVersion):
    """A long prompt that is read from a cache must not look as dear as a fresh one."""
    provider = providers.create(stage.ada, name="own", base_url="https://api.example/v1")
    model = providers.add_model(stage.ada, provider, "small")
    providers.set_price(stage.ada, model, {"input": "10", "cached_input": "1", "cache_write": "12", "output": "40"})

    parts = {"tokens_cached": 700, "tokens_cache_write": 200, "tokens_reasoning": 50}
    call_log.record(service, [call(1, model="small", tokens_in=1_000, tokens_out=100, **parts)])

    row = Call.objects.get()
    assert row.cost_usd == (100 * 10 + 700 * 1 + 200 * 12 + 100 * 40) / Decimal(1_000_000)
    total = usage.usage_of_prompt(version.prompt, "production").total
    assert (total.tokens_in, total.tokens_cached, total.tokens_out, total.tokens_reasoning) == (1_000, 700, 100, 50)


@pytest.mark.parametrize(
    "parts",
    [
        {"tokens_cached": 201},
        {"tokens_cached": 150, "tokens_cache_write": 51},
        {"tokens_reasoning": 21},
        {"tokens_cached": 5, "tokens_in": None},
    ],
)
def test_a_part_is_not_more_than_its_whole(service: Actor, version: PromptVersion, parts: dict[str, Any]):
    with pytest.raises(Problem, match="a part of"):
        call_log.record(service, [call(0, **parts)])


def test_a_cost_is_computed_where_the_price_is_known(stage: Stage, service: Actor, version: PromptVersion):
    provider = providers.create(stage.ada, name="sandbox", kind="sandbox")
    model = providers.add_model(stage.ada, provider, "small")
    providers.set_price(stage.ada, model, {"input": "1", "output": "4"})

    call_log.record(service, [call(1, model="small"), call(2, model="other"), call(3, model="small", cost_usd=2)])

    costs = dict(Call.objects.values_list("reference", "cost_usd"))
    assert costs["call-1"] == Decimal(201 + 4 * 20) / 1_000_000
    assert costs["call-2"] is None
    assert costs["call-3"] == 2


def test_postgresql_refuses_to_change_calls(service: Actor, version: PromptVersion):
    call_log.record(service, [call(1, subject="user-17")])
    for change in ({"latency_ms": 1}, {"day": "2026-01-01"}, {"subject": "user-18"}):
        with pytest.raises(DatabaseError, match="never change"), transaction.atomic():
            Call.objects.update(**change)
    Call.objects.update(subject="")


@pytest.mark.parametrize(("later", "minutes"), [(3, 60), (100, 1_440)])
def test_merged_usage_says_the_same_and_stays_when_the_calls_are_gone(
    stage: Stage, service: Actor, version: PromptVersion, later: int, minutes: int
):
    for start in range(0, 40, 8):
        calls = [call(number, score=0.5, failed=number == 3) for number in range(start, start + 8)]
        call_log.record(service, calls)
    yesterday = (timezone.now() - timedelta(hours=30)).isoformat()
    call_log.record(service, [call(number, id=f"y-{number}", at=yesterday) for number in range(40)])
    before = usage.usage_of_prompt(version.prompt)
    moment = timezone.now() + timedelta(days=later)

    assert rollups.merge(moment) > 0
    assert rollups.merge(moment) == 0
    assert set(UsageRollup.objects.values_list("minutes", "is_delta")) == {(minutes, False)}
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    assert partitions.drop_old() == []
    assert partitions.drop_old(timezone.now() + timedelta(days=200))

    after = usage.usage_of_prompt(version.prompt)
    assert not Call.objects.exists()
    assert after.days == before.days
    assert after.total.calls == 80
    assert after.total.failure_rate() == before.total.failure_rate()
    assert after.versions == before.versions


def test_labels_beyond_the_first_are_counted_together(service: Actor, version: PromptVersion):
    call_log.record(service, [call(number, label=f"label {number}") for number in range(60)])

    stats = usage.usage_of_prompt(version.prompt).total

    assert sum(stats.labels.values()) == 60
    assert stats.labels[OTHER] == 10


def test_a_prompts_drift_is_of_one_version(stage: Stage, service: Actor, version: PromptVersion):
    now = datetime.now(UTC)
    rows = [
        storage.new_call(
            project=stage.project.pk,
            version=version.pk,
            environment="production",
            reference=f"{days}-{number}",
            at=now - timedelta(days=days),
            tokens_in=(100 if days > 6 else 400) + number,
        )
        for days in (20, 12, 1)
        for number in range(150)
    ]
    storage.store(rows)
    recent = [row for row in rows if row["at"] > now - timedelta(days=2)]
    storage.store([{**row, "reference": f"again {row['reference']}"} for row in recent])

    live = usage.usage_of_prompt(version.prompt)

    (length,) = [change for change in live.drifts if change.name == "Length of questions"]
    assert length.size == "much"
    assert (length.before, length.now) == (300, 300)


def test_a_monitor_alerts_and_recovers_and_says_so(stage: Stage, service: Actor, version: PromptVersion):
    monitor = monitors.create(stage.edith, version.prompt, figure="format_rate", bound=0.99, min_calls=20)
    tasks.look_at_monitors()
    monitor.refresh_from_db()
    assert monitor.state == "unknown"
    assert not monitors.due_monitors().exists()

    call_log.record(service, [call(number) for number in range(30)])
    monitor = monitors.look(monitor)
    # 27 of 30 may be chance, where 99 of 100 are right.
    assert (monitor.state, monitor.value, monitor.calls) == ("unknown", 0.9, 30)
    call_log.record(service, [call(number) for number in range(30, 200)])
    Monitor.objects.update(looked_at=None)
    tasks.look_at_monitors()
    monitor.refresh_from_db()
    assert (monitor.state, monitor.value, monitor.calls) == ("alert", 0.9, 200)
    call_log.record(service, [call(number, id=f"ok {number}", format_ok=True) for number in range(500)])
    # Beyond the bound still, though less: it is breached until it is within.
    assert monitors.look(monitor).state == "alert"
    more = [call(number, id=f"more {number}", format_ok=True) for number in range(1_000)]
    call_log.record(service, more)
    call_log.record(service, [{**each, "id": f"and {each['id']}"} for each in more])
    assert monitors.look(monitor).state == "ok"

    actions = list(
        AuditEntry.objects.filter(action__startswith="monitor.").order_by("id").values_list("action", flat=True)
    )
    assert actions == ["monitor.created", "monitor.alerted", "monitor.recovered"]
    for figure in figures.MONITOR_FIGURES.keys() - {figures.GOLDEN_SET}:
        assert monitors.look(monitors.create(stage.edith, version.prompt, figure=figure, bound=1)).looked_at


def test_a_monitor_with_faults_is_refused(stage: Stage, version: PromptVersion, api: APIClient):
    for members in ({"figure": "x"}, {"bound": 2}, {"hours": 0}, {"min_calls": 0}, {"environment": "moon"}):
        with pytest.raises(Problem):
            monitors.create(stage.edith, version.prompt, **{"figure": "format_rate", "bound": 0.9, **members})
    with pytest.raises(Problem, match="may not"):
        monitors.create(stage.vera, version.prompt, figure="score", bound=0.9)

    response = api.post("/api/v1/monitors", {"prompt": "support.triage", "figure": "score", "bound": 0.9})
    assert (response.status_code, response.json()["hours"]) == (201, 24)
    assert len(api.get("/api/v1/monitors", {"prompt": "support.triage"}).json()["results"]) == 1
    assert api.post(f"/api/v1/monitors/{response.json()['id']}/remove").status_code == 204
    assert api.post(f"/api/v1/monitors/{response.json()['id']}/remove").status_code == 404


def test_calls_of_another_project_are_not_visible(
    stage: Stage, service: Actor, version: PromptVersion, api_for: ApiFor, otis: Actor
):
    call_log.record(service, [call(1)])
    monitor = monitors.create(stage.edith, version.prompt, figure="score", bound=0.5)
    outsider = api_for(otis, scopes=["write"])

    assert outsider.get(URL).json()["results"] == []
    assert outsider.get("/api/v1/prompts/support.triage/live").status_code == 404
    assert outsider.post(f"/api/v1/monitors/{monitor.pk}/remove").status_code == 404
    assert outsider.post(URL, {"observations": [call(2)]}).status_code == 400


def test_the_page_of_live_calls(stage: Stage, service: Actor, version: PromptVersion, client: Client):
    assert stage.edith.user
    client.force_login(stage.edith.user)
    page = "/p/paper/prompts/support.triage/live/"
    assert "No calls in this environment and time" in client.get(page).content.decode()
    call_log.record(service, [call(number) for number in range(40)])
    call_log.record(service, [call(99, at=timezone.now() - timedelta(hours=26))])

    html = client.get(page).content.decode()
    assert ">41</b> calls" in html
    assert "Format adherence" in html
    assert "support.triage@1" in html
    panel = client.get("/p/paper/prompts/support.triage/usage/panel/").content.decode()
    assert ">41</b> calls in production" in " ".join(panel.split())
    assert client.post(page, {"figure": "score", "bound": "much"}).status_code == 400
    assert (
        client.post(page, {"figure": "failure_rate", "bound": "0,1", "hours": "24", "min_calls": "5"}).status_code
        == 302
    )
    monitor = monitors.look(Monitor.objects.get())
    assert monitor.state == "ok"
    assert "at most 0.10" in client.get(page).content.decode()
    client.post(f"{page}monitors/{monitor.pk}/remove/")
    assert not monitors.active_monitors().exists()
