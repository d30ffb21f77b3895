"""Pages of lineups: a new sweep, runs to put side by side, and what came of it."""

from collections.abc import Mapping
from string import ascii_lowercase
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django_htmx.http import HttpResponseClientRefresh

from core.errors import Problem
from evaluations import tasks
from evaluations.comparisons import gates, sweeps
from evaluations.models import Lineup, LineupState, Run
from evaluations.runs import lifecycle as runs
from evaluations.statistics import service_levels
from evaluations.templatetags.evaluations_text import amount, measured
from evaluations.views.runs import DOMAIN_FIELDS, MOST_OFFERED, offered, scorers_of, sentence_at
from infra.charts import Point, ScatterChart, scatter_chart
from registry.accounts.permissions import Actor, Right
from registry.tasks import start
from registry.templatetags.registry_text import dollars
from registry.views.frame import done, errors_of, in_project, only_post, page, page_url, refused, whole

FIELDS = (
    "prompt",
    "dataset",
    "split",
    "repeats",
    "limit",
    "leaked",
    "budget_usd",
    "temperatures",
    "margin",
    "scorers_json",
)
NEW = {"split": "test", "repeats": "1", "leaked": "mark", "margin": "0.02"}


@in_project
def sweep_new(request: HttpRequest, actor: Actor) -> HttpResponse:
    actor.require(Right.EDIT)
    source = request.POST if request.method == "POST" else request.GET
    values: dict[str, Any] = {name: source.get(name, NEW.get(name, ""))[:20_000] for name in FIELDS}
    values["scorers"], values["models"] = source.getlist("scorers")[:50], source.getlist("models")[: sweeps.MOST + 1]
    levels = gates.told(gates.levels_of(actor.project))
    context: dict[str, Any] = {
        "section": "evaluations",
        "values": values,
        "levels": [(name, value) for name, value in levels.items() if value is not None],
        **offered(actor),
    }
    if request.method != "POST":
        return page(request, actor, "evaluations/lineups/sweep_new.html", context)
    try:
        grid = sweeps.asked_for(actor.project, _document(values))
        budget = values["budget_usd"].strip() or None
        if request.POST.get("do") == "estimate":
            context["estimate"] = sweeps.estimated(actor.project, grid, budget)
            return page(request, actor, "evaluations/lineups/sweep_new.html", context)
        made = sweeps.sweep(actor, grid, budget_usd=budget, margin=_number(values["margin"], "margin"))
    except Problem as problem:
        context["errors"] = errors_of(problem, DOMAIN_FIELDS)
        return page(request, actor, "evaluations/lineups/sweep_new.html", context, status=problem.kind.status)
    for run in made.swept_runs.order_by("id"):
        tasks.drive_soon(run)
    return done(request, "The runs wait for a worker.", page_url("evaluations:lineup-detail", actor, made.pk))


def _document(values: Mapping[str, Any]) -> dict[str, Any]:
    """What was typed, as the API takes it."""
    document: dict[str, Any] = {name: values[name].strip() for name in ("prompt", "dataset", "split", "leaked")}
    for name in ("prompt", "dataset"):
        if not document[name]:
            raise sentence_at(name, "Choose one.")
    document["repeats"] = whole(values["repeats"].strip()) or 0
    if values["limit"].strip():
        document["limit"] = whole(values["limit"].strip()) or 0
    words = values["temperatures"].replace(",", " ").split()
    document["temperatures"] = [_number(word, "temperatures") for word in words]
    document["models"] = values["models"]
    document["scorers"] = [*values["scorers"], *scorers_of(values["scorers_json"])]
    return document


def _number(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise sentence_at(name, f"{text[:50]!r} is no number.") from None


@in_project
def lineup_new(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Choose runs on the same cases as one, which the others are held against."""
    actor.require(Right.EDIT)
    first = runs.numbered(actor.project, whole(request.GET.get("run", "") or request.POST.get("run", "")) or 0)
    others = runs.loaded().filter(project=actor.project, cases_hash=first.cases_hash, state="done").exclude(pk=first.pk)
    context = {"section": "evaluations", "first": first, "others": others.order_by("-id")[:MOST_OFFERED]}
    if request.method != "POST":
        return page(request, actor, "evaluations/lineups/lineup_new.html", context)
    keys = [whole(key) or 0 for key in request.POST.getlist("runs")[: sweeps.MOST]]
    try:
        chosen = [first, *(runs.numbered(actor.project, key) for key in keys)]
        made = sweeps.create(actor, chosen, margin=_number(request.POST.get("margin", "0.02"), "margin"))
    except Problem as problem:
        context |= {"problem": problem, "chosen": keys}
        return page(request, actor, "evaluations/lineups/lineup_new.html", context, status=problem.kind.status)
    start(tasks.line_up, made.pk)
    return done(request, "The runs are being put side by side.", page_url("evaluations:lineup-detail", actor, made.pk))


@in_project
def lineup_detail(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    lineup = sweeps.numbered(actor.project, key)
    return page(request, actor, "evaluations/lineups/lineup_detail.html", _shown(lineup))


@in_project
def lineup_wait(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    lineup = sweeps.numbered(actor.project, key)
    if lineup.state != LineupState.PENDING:
        return HttpResponseClientRefresh()
    context = {"project": actor.project, "can": {"edit": actor.may(Right.EDIT)}, **_shown(lineup)}
    return render(request, "evaluations/lineups/_progress.html", context)


def _shown(lineup: Lineup) -> dict[str, Any]:
    result = lineup.result or {}
    figures = {row["run"]: row for row in result.get("rows", ())}
    placed = [place.run for place in lineup.places.all()]
    rows = [
        {"name": ascii_lowercase[index], "run": run, "figures": figures.get(run.pk), **_settings(run)}
        for index, run in enumerate(placed)
    ]
    by_key = {row["run"].pk: row for row in rows}
    return {
        "section": "evaluations",
        "lineup": lineup,
        "rows": rows,
        "shown": by_key.get(result.get("shown")),
        "met": by_key.get(result.get("met")),
        "levels": [(service_levels.TITLES[name], name, level) for name, level in lineup.levels.items()],
        "chart": _chart(lineup, rows),
        "is_simulation": any(run.is_simulation for run in placed),
        "is_open": any(run.is_open for run in placed),
        "ended_early": [run for run in placed if run.state in runs.RESUMABLE],
        "answered": sum(run.answered for run in placed),
        "planned": sum(run.planned for run in placed),
        "spent": sweeps.spent(lineup) if lineup.swept_id else None,
    }


def _settings(run: Run) -> dict[str, Any]:
    temperature = run.parameters.get("temperature")
    return {"temperature": None if temperature is None else f"{temperature:g}", "summary": run.summary or {}}


def _chart(lineup: Lineup, rows: list[dict[str, Any]]) -> ScatterChart | None:
    """Quality against cost; against latency where no cost is known."""
    done_rows = [row for row in rows if row["figures"] and row["summary"].get("quality")]
    has_cost = all(row["figures"]["cost"] is not None for row in done_rows)
    if len(done_rows) < sweeps.FEWEST:
        return None
    chosen = (lineup.result or {}).get("shown") or (lineup.result or {}).get("met")
    points = []
    for row in done_rows:
        quality, figures = row["summary"]["quality"], row["figures"]
        across = 1_000 * figures["cost"] if has_cost else figures["latency"] or 0.0
        told = f"quality {measured(quality)}, {dollars(across) if has_cost else ''} {amount(figures['latency'], 'ms')}"
        points.append(
            Point(
                row["name"],
                across,
                quality["value"],
                quality["low"],
                quality["high"],
                told,
                row["run"].pk == chosen,
                figures["latency"] or 0.0,
            )
        )
    least = lineup.levels.get("quality")
    return scatter_chart(
        "lineup",
        f"Quality against {'cost' if has_cost else 'latency'}",
        points,
        across="US dollars for 1,000 calls" if has_cost else "median ms of an answer",
        form="${:,.4g}" if has_cost else "{:,.0f}",
        limit=(f"at least {least:g}", least) if least is not None else None,
    )


@in_project
@only_post
def lineup_cancel(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    sweeps.cancel(actor, sweeps.numbered(actor.project, key))
    return done(
        request, "Nothing more is asked. What was paid for is kept.", page_url("evaluations:lineup-detail", actor, key)
    )


@in_project
@only_post
def lineup_resume(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    try:
        budget = request.POST.get("budget_usd", "").strip() or None
        _, went_on = sweeps.resume(actor, sweeps.numbered(actor.project, key), budget_usd=budget)
    except Problem as problem:
        return refused(request, problem, page_url("evaluations:lineup-detail", actor, key))
    for run in went_on:
        tasks.drive_soon(run)
    return done(request, "The runs go on where they were.", page_url("evaluations:lineup-detail", actor, key))
