"""The page of a prompt's calls: usage, drift and monitors."""

from datetime import date
from typing import Any

from django.http import HttpRequest, HttpResponse

from core.errors import Problem
from core.references import DEFAULT_ENVIRONMENT
from evaluations.comparisons import slas
from evaluations.models import Run, RunState
from evaluations.runs import lifecycle as evaluation_runs
from inference.models import NightlyRun
from inference.monitoring import alerts, monitors, timeline, usage, watches
from inference.monitoring.figures import GOLDEN_SET, MONITOR_FIGURES
from inference.monitoring.usage import LiveUsage
from inference.usage.stats import UsageStats
from inference.usage.versus import contrasts
from registry.accounts.permissions import Actor
from registry.models import Environment
from registry.prompts import lifecycle as prompts
from registry.views.frame import decimal, done, errors_of, in_project, only_post, page, page_url, refused, whole
from registry.views.prompts import heading

MAX_WATCHES_SHOWN, MAX_NIGHTS_SHOWN, MAX_RUNS_OFFERED = 3, 7, 30
DAYS = (1, 7, 30, 90)
# The class and the words of the tag that shows how large a drift is.
DRIFT_TAGS = {"none": ("good", "no drift"), "some": ("warn", "some drift"), "much": ("bad", "much drift")}
MONITOR_FIELDS = ("figure", "bound", "hours", "min_calls", "run")
DEFAULTS = {"figure": "latency_p99", "bound": "", "hours": "24", "min_calls": "30", "run": ""}


@in_project
def live_page(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """Show the calls of a prompt. With POST, add a monitor."""
    prompt = prompts.get_prompt(actor.project, name)
    environments = list(
        Environment.objects.filter(project=actor.project).order_by("position").values_list("name", flat=True)
    )
    name_in_query = request.GET.get("environment") or DEFAULT_ENVIRONMENT
    environment = (
        name_in_query if name_in_query in environments else environments[-1] if environments else DEFAULT_ENVIRONMENT
    )
    days = whole(request.GET.get("days", "")) or usage.DEFAULT_DAYS
    context: dict[str, Any] = {"values": {**DEFAULTS}, **heading(actor, prompt, "live")}
    status = 200
    if request.method == "POST":
        values = {field: request.POST.get(field, "")[:40].strip() for field in MONITOR_FIELDS}
        try:
            run = evaluation_runs.get_run(actor.project, whole(values["run"]) or 0) if values["run"] else None
            monitors.create(actor, prompt, environment=environment, run=run, **_settings(values))
            return done(request, "Monitor added", f"{request.path}?environment={environment}")
        except Problem as problem:
            context |= {"values": values, "errors": errors_of(problem)}
            status = problem.kind.status
    live = usage.usage_of_prompt(prompt, environment, days if days in DAYS else usage.DEFAULT_DAYS)
    total = live.total
    figures = _figures(total, actor)
    moments = timeline.timeline_of(prompt, environment, days if days in DAYS else usage.DEFAULT_DAYS)
    context |= {
        "environments": environments,
        "live": live,
        "total": total,
        "day_choices": DAYS,
        "days": (live.until - live.since).days + 1,
        "calls_a_month": live.calls_a_month(),
        "tokens_a_month": live.tokens_a_month(),
        "figures": figures,
        "has_targets": any(target is not None for *_, target in figures),
        "charts": timeline.charts_of(moments),
        "across": f"{moments.unit} since {_short_date(moments.since)}{moments.since:, %H:%M}",
        "releases": moments.releases,
        "watches": [
            watches.as_dict(watch) for watch in watches.watches_of(prompt, live.environment)[:MAX_WATCHES_SHOWN]
        ],
        **_versus(request, live),
        "rows": [(version, stats, *_quantiles(stats)) for version, stats in live.versions],
        "monitors": [
            (monitor, MONITOR_FIGURES[monitor.figure]) for monitor in monitors.active_monitors().filter(prompt=prompt)
        ],
        "alerts": [(alert, MONITOR_FIGURES.get(alert.figure)) for alert in alerts.open_alerts_of(prompt)],
        "monitor_figures": MONITOR_FIGURES.items(),
        "golden_set": GOLDEN_SET,
        "runs": Run.objects.filter(version__prompt=prompt, state=RunState.DONE)
        .select_related("version", "dataset_version__dataset", "model")
        .defer("version__content")
        .order_by("-id")[:MAX_RUNS_OFFERED],
        "nights": NightlyRun.objects.filter(monitor__in=monitors.active_monitors().filter(prompt=prompt))
        .select_related("version", "run")
        .defer("version__content")
        .order_by("-day")[:MAX_NIGHTS_SHOWN],
        "drifts": [(drift, *DRIFT_TAGS.get(drift.size, ("plain", drift.size))) for drift in live.drifts],
    }
    return page(request, actor, "inference/calls.html", context, status=status)


def _settings(values: dict[str, str]) -> dict[str, Any]:
    bound = decimal(values["bound"])
    return {
        "figure": values["figure"],
        "bound": -1.0 if bound is None else bound,
        "hours": whole(values["hours"]) or 0,
        "min_calls": whole(values["min_calls"]) or 0,
    }


def _quantiles(stats: UsageStats) -> tuple[Any, Any]:
    return stats.latency(0.5), stats.latency(0.99)


def _figures(total: UsageStats, actor: Actor) -> list[tuple[str, str, Any, str, Any]]:
    """Return the figures on top: title, name on every page, figure, unit and SLA target."""
    targets = slas.slas_as_dict(slas.get_slas(actor.project))
    rows = [
        ("Median latency", "median", total.latency(0.5), "ms", None),
        ("p99 latency", "p99", total.latency(0.99), "ms", targets.get("p99_latency_ms")),
        ("Format adherence", "format", total.format_rate(), "", targets.get("format_adherence")),
        ("Score", "score", total.score(), "", targets.get("quality")),
        ("Failures", "failures", total.failure_rate(), "", None),
        *(
            (f"Feedback: {name}", f"feedback {name}", total.feedback_mean(name), "", None)
            for name in sorted(total.feedback)
        ),
    ]
    return [row for row in rows if row[2] is not None]


def _versus(request: HttpRequest, live: LiveUsage) -> dict[str, Any]:
    """Return two versions' figures against each other: those that are asked for, else the two newest with calls."""
    stats = {version.number: usage_stats for version, usage_stats in live.versions}
    if len(stats) < 2:
        return {}
    newest, before = sorted(stats, reverse=True)[:2]
    first, second = (whole(request.GET.get(name, "")) for name in ("first", "second"))
    first, second = first if first in stats else before, second if second in stats else newest
    return {
        "versus": contrasts(stats[first or 0], stats[second or 0]) if first != second else [],
        "versus_numbers": sorted(stats, reverse=True),
        "first": first,
        "second": second,
    }


def _short_date(day: date) -> str:
    return f"{day.day} {day:%b}"


@in_project
@only_post
def monitor_remove(request: HttpRequest, actor: Actor, name: str, key: int) -> HttpResponse:
    address = page_url("inference:live", actor, name)
    try:
        monitors.remove(actor, monitors.get_monitor(actor.project, key))
    except Problem as problem:
        return refused(request, problem, address)
    return done(request, "Monitor removed", address)


@in_project
@only_post
def monitor_mute(request: HttpRequest, actor: Actor, name: str, key: int) -> HttpResponse:
    address = page_url("inference:live", actor, name)
    hours = whole(request.POST.get("hours", "")) or 0
    try:
        alerts.mute(actor, monitors.get_monitor(actor.project, key), hours)
    except Problem as problem:
        return refused(request, problem, address)
    return done(request, f"Muted for {hours} hours" if hours else "No longer muted", address)


@in_project
@only_post
def alert_decide(request: HttpRequest, actor: Actor, name: str, key: int) -> HttpResponse:
    """Acknowledge an alert, or resolve it."""
    address = page_url("inference:live", actor, name)
    try:
        alert = alerts.get_alert(actor.project, key)
        if request.POST.get("do") == "resolve":
            alerts.resolve(actor, alert)
            return done(request, "Alert resolved", address)
        alerts.acknowledge(actor, alert, request.POST.get("note", "").strip())
    except Problem as problem:
        return refused(request, problem, address)
    return done(request, "Alert acknowledged", address)
