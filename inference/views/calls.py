"""A prompt's live calls: what they come to, whether they are still what they were, and what is watched."""

from datetime import date, timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse

from core.errors import Problem
from core.references import DEFAULT_ENVIRONMENT
from evaluations.comparisons import slas
from inference.calls.usage_stats import UsageStats
from inference.monitoring import monitors, usage
from inference.monitoring.monitors import MONITOR_FIGURES
from inference.monitoring.usage import LiveUsage
from infra.charts import CurveChart, bar_chart, curve_chart
from registry.accounts.permissions import Actor
from registry.models import Environment
from registry.prompts import lifecycle as prompts
from registry.views.frame import decimal, done, errors_of, in_project, only_post, page, page_url, refused, whole

DAYS = (7, 30, 90)
MONITOR_FIELDS = ("figure", "bound", "hours", "min_calls")
NEW = {"figure": "latency_p99", "bound": "", "hours": "24", "min_calls": "30"}


@in_project
def live_page(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """With POST, a new monitor."""
    prompt = prompts.get_prompt(actor.project, name)
    environments = list(
        Environment.objects.filter(project=actor.project).order_by("position").values_list("name", flat=True)
    )
    wanted = request.GET.get("environment") or DEFAULT_ENVIRONMENT
    environment = wanted if wanted in environments else environments[-1] if environments else DEFAULT_ENVIRONMENT
    days = whole(request.GET.get("days", "")) or usage.DEFAULT_DAYS
    context: dict[str, Any] = {"values": {**NEW}, "section": "prompts"}
    status = 200
    if request.method == "POST":
        values = {one: request.POST.get(one, "")[:40].strip() for one in MONITOR_FIELDS}
        try:
            monitors.create(actor, prompt, environment=environment, **_asked(values))
            return done(request, "It is looked at every few minutes.", f"{request.path}?environment={environment}")
        except Problem as problem:
            context |= {"values": values, "errors": errors_of(problem)}
            status = problem.kind.status
    found = usage.usage_of_prompt(prompt, environment, days if days in DAYS else usage.DEFAULT_DAYS)
    total = found.total
    context |= {
        "prompt": prompt,
        "environments": environments,
        "live": found,
        "total": total,
        "day_choices": DAYS,
        "days": (found.until - found.since).days + 1,
        "calls_a_month": found.calls_a_month(),
        "tokens_a_month": found.tokens_a_month(),
        "figures": _figures(total, actor),
        "calls": bar_chart("calls", "Calls a day", _by_day(found), unit="calls") if total.calls else None,
        "latency": _latency(found),
        "across": _since(found),
        "rows": [(version, traffic, *_quantiles(traffic)) for version, traffic in found.versions],
        "monitors": [(one, MONITOR_FIGURES[one.figure]) for one in monitors.active_monitors().filter(prompt=prompt)],
        "watched": MONITOR_FIGURES.items(),
    }
    return page(request, actor, "inference/calls.html", context, status=status)


def _asked(values: dict[str, str]) -> dict[str, Any]:
    bound = decimal(values["bound"])
    return {
        "figure": values["figure"],
        "bound": -1.0 if bound is None else bound,
        "hours": whole(values["hours"]) or 0,
        "min_calls": whole(values["min_calls"]) or 0,
    }


def _quantiles(traffic: UsageStats) -> tuple[Any, Any]:
    return traffic.latency(0.5), traffic.latency(0.99)


def _figures(total: UsageStats, actor: Actor) -> list[tuple[str, Any, str, Any]]:
    """(title, figure, unit, level that it has to keep) of the tiles on top."""
    levels = slas.slas_as_dict(slas.get_slas(actor.project))
    rows = [
        ("Median latency", total.latency(0.5), "ms", None),
        ("p99 latency", total.latency(0.99), "ms", levels.get("p99_latency_ms")),
        ("Format adherence", total.format_rate(), "", levels.get("format_adherence")),
        ("Score", total.score(), "", levels.get("quality")),
        ("Failures", total.failure_rate(), "", None),
    ]
    return [row for row in rows if row[1] is not None]


def _by_day(found: LiveUsage) -> list[tuple[str, float]]:
    count = (found.until - found.since).days + 1
    days = [found.since + timedelta(days=place) for place in range(count)]
    return [(_told(day), float(found.days.get(day, UsageStats()).calls)) for day in days]


def _told(day: date) -> str:
    return f"{day.day} {day:%b}"


def _latency(found: LiveUsage) -> CurveChart | None:
    series = []
    for title, share in (("median", 0.5), ("p99", 0.99)):
        pairs = [
            (float((day - found.since).days), figure.value)
            for day, traffic in found.days.items()
            if (figure := traffic.latency(share))
        ]
        series.append((title, pairs))
    if not any(len(pairs) > 1 for _, pairs in series):
        return None
    return curve_chart("latency", "Latency in milliseconds", series, across="day")


def _since(found: LiveUsage) -> str:
    return f"days since {_told(found.since)}"


@in_project
@only_post
def monitor_remove(request: HttpRequest, actor: Actor, name: str, key: int) -> HttpResponse:
    address = page_url("inference:live", actor, name)
    try:
        monitors.remove(actor, monitors.get_monitor(actor.project, key))
    except Problem as problem:
        return refused(request, problem, address)
    return done(request, "It is watched no more.", address)
