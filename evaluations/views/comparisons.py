"""Pages of comparisons: the form that chooses runs, and the result."""

from string import ascii_lowercase
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django_htmx.http import HttpResponseClientRefresh

from core.errors import Problem
from evaluations import tasks
from evaluations.comparisons import lifecycle as comparisons
from evaluations.comparisons import sweeps
from evaluations.models import Case, Comparison, Result, Run
from evaluations.runs import lifecycle as runs
from evaluations.statistics import slas as sla_statistics
from evaluations.templatetags.evaluations_text import amount, measured
from evaluations.views.runs import MAX_OFFERED
from evaluations.views.sweeps import number_field
from infra.charts import Point, ScatterChart, scatter_chart
from infra.work import start
from registry.accounts.permissions import Actor, Right
from registry.templatetags.registry_text import dollars
from registry.views.frame import done, in_project, only_post, page, page_url, refused, whole

PAIR_COLUMNS = (("baseline", "Baseline"), ("candidate", "Candidate"))


@in_project
def comparison_new(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Choose runs to compare with the first (`run`). The page of a run posts `baseline` and `candidate`."""
    actor.require(Right.EDIT)
    source = request.POST if request.method == "POST" else request.GET
    is_pair = "candidate" in source
    first = runs.get_run(actor.project, whole(source.get("baseline" if is_pair else "run", "")) or 0)
    others = runs.runs_with_related().filter(project=actor.project, cases_hash=first.cases_hash, state="done")
    context: dict[str, Any] = {
        "section": "evaluations",
        "first": first,
        "others": others.exclude(pk=first.pk).order_by("-id")[:MAX_OFFERED],
    }
    if request.method != "POST":
        return page(request, actor, "evaluations/comparisons/comparison_new.html", context)
    keys = [whole(key) or 0 for key in request.POST.getlist("candidate" if is_pair else "runs")[: comparisons.MAX_RUNS]]
    try:
        selected_runs = [first, *(runs.get_run(actor.project, key) for key in keys)]
        margin = number_field(request.POST.get("margin", "") or str(comparisons.DEFAULT_MARGIN), "margin")
        comparison = comparisons.create(actor, selected_runs, margin=margin)
    except Problem as problem:
        if is_pair:
            return refused(request, problem, page_url("evaluations:run-detail", actor, keys[0]))
        context |= {"problem": problem, "selected_keys": keys}
        return page(request, actor, "evaluations/comparisons/comparison_new.html", context, status=problem.kind.status)
    start(tasks.compare_runs, comparison.pk)
    return done(request, "Comparison started", page_url("evaluations:comparison-detail", actor, comparison.pk))


@in_project
def comparison_detail(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    comparison = comparisons.get_comparison(actor.project, key)
    context = _context(comparison)
    if comparison.result and comparison.candidate:
        changed = [*comparison.result["worse"], *comparison.result["better"]]
        keys = [change["case"] for change in changed]
        context["cases"] = Case.objects.in_bulk(keys)
        context["answers"] = _answers_by_case(comparison, keys)
    return page(request, actor, "evaluations/comparisons/comparison_detail.html", context)


def _answers_by_case(comparison: Comparison, keys: list[int]) -> dict[int, dict[str, Result]]:
    """Return the first answers of both runs to these cases, by case: `baseline` and `candidate`."""
    names = dict(zip((run.pk for run in comparison.runs), ("baseline", "candidate"), strict=True))
    answers: dict[int, dict[str, Result]] = {}
    for result in Result.objects.filter(run__in=names, case__in=keys, repeat=1).defer("scores"):
        answers.setdefault(result.case_id, {})[names[result.run_id]] = result
    return answers


@in_project
def comparison_wait(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    comparison = comparisons.get_comparison(actor.project, key)
    if not comparison.is_open:
        return HttpResponseClientRefresh()
    context = {"project": actor.project, "can": {"edit": actor.may(Right.EDIT)}, **_context(comparison)}
    return render(request, "evaluations/comparisons/_progress.html", context)


def _context(comparison: Comparison) -> dict[str, Any]:
    result = comparison.result or {}
    figures = {row["run"]: row for row in result.get("rows", ())}
    runs_of_comparison = comparison.runs
    rows = [
        {"name": ascii_lowercase[index], "run": run, "figures": figures.get(run.pk), **_settings(run)}
        for index, run in enumerate(runs_of_comparison)
    ]
    by_key = {row["run"].pk: row for row in rows}
    return {
        "section": "evaluations",
        "comparison": comparison,
        "title": _title(comparison, len(rows)),
        "columns": PAIR_COLUMNS,
        "rows": rows,
        "confirmed": by_key.get(result.get("shown")),
        "met": by_key.get(result.get("met")),
        "targets": [
            (sla_statistics.TITLES[name], name, level)
            for name, level in sla_statistics.set_targets(comparison.slas).items()
        ],
        "chart": _chart(comparison, rows),
        "is_simulation": any(run.is_simulation for run in runs_of_comparison),
        "is_open": any(run.is_open for run in runs_of_comparison),
        "ended_early": [run for run in runs_of_comparison if run.state in runs.RESUMABLE],
        "answered": sum(run.answered for run in runs_of_comparison),
        "planned": sum(run.planned for run in runs_of_comparison),
        "spent": sweeps.cost_of_sweep(comparison) if comparison.swept_id else None,
    }


def _title(comparison: Comparison, count: int) -> str:
    """Return the title of a comparison: what is compared with what."""
    first, second, swept = comparison.baseline, comparison.candidate, comparison.swept
    if swept and first and second and first.is_without_retrieval and not second.is_without_retrieval:
        return f"{swept.prompt.name} v{swept.number} with and without retrieval"
    if swept:
        return f"{swept.prompt.name} v{swept.number}, {count} settings"
    if first is None or second is None:
        return f"Comparison of {count} runs"
    name = f"{second.version.prompt.name}@{second.version.number}"
    if first.version_id == second.version_id:
        return f"{name}: {second.model_name} against {first.model_name}"
    is_same_prompt = first.version.prompt_id == second.version.prompt_id
    return f"{name} against {'' if is_same_prompt else first.version.prompt.name}@{first.version.number}"


def _settings(run: Run) -> dict[str, Any]:
    temperature = run.parameters.get("temperature")
    return {"temperature": None if temperature is None else f"{temperature:g}", "summary": run.summary or {}}


def _chart(comparison: Comparison, rows: list[dict[str, Any]]) -> ScatterChart | None:
    """Plot quality against cost; against latency where no cost is known."""
    done_rows = [row for row in rows if row["figures"] and row["summary"].get("quality")]
    has_cost = all(row["figures"]["cost"] is not None for row in done_rows)
    if len(done_rows) < comparisons.MIN_RUNS:
        return None
    chosen_run = (comparison.result or {}).get("shown") or (comparison.result or {}).get("met")
    points = []
    for row in done_rows:
        quality, figures = row["summary"]["quality"], row["figures"]
        across = 1_000 * figures["cost"] if has_cost else figures["latency"] or 0.0
        label = f"quality {measured(quality)}, {dollars(across) if has_cost else ''} {amount(figures['latency'], 'ms')}"
        points.append(
            Point(
                row["name"],
                across,
                quality["value"],
                quality["low"],
                quality["high"],
                label,
                row["run"].pk == chosen_run,
                figures["latency"] or 0.0,
            )
        )
    least = comparison.slas.get("quality")
    return scatter_chart(
        "comparison",
        f"Quality against {'cost' if has_cost else 'latency'}",
        points,
        across="US dollars for 1,000 calls" if has_cost else "median ms of an answer",
        form="${:,.4g}" if has_cost else "{:,.0f}",
        limit=(f"at least {least:g}", least) if least is not None else None,
    )


@in_project
@only_post
def comparison_cancel(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    sweeps.cancel(actor, comparisons.get_comparison(actor.project, key))
    return done(
        request,
        "Comparison cancelled; the answers so far are kept",
        page_url("evaluations:comparison-detail", actor, key),
    )


@in_project
@only_post
def comparison_resume(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    try:
        budget = request.POST.get("budget_usd", "").strip() or None
        _, resumed = sweeps.resume(actor, comparisons.get_comparison(actor.project, key), budget_usd=budget)
    except Problem as problem:
        return refused(request, problem, page_url("evaluations:comparison-detail", actor, key))
    for run in resumed:
        tasks.start_run(run)
    return done(request, "Runs resumed", page_url("evaluations:comparison-detail", actor, key))


@in_project
@only_post
def comparison_draft(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    """Open a draft of the swept version with a run's model."""
    comparison = comparisons.get_comparison(actor.project, key)
    try:
        run = runs.get_run(actor.project, whole(request.POST.get("run", "")) or 0)
        version = sweeps.open_draft(actor, comparison, run)
    except Problem as problem:
        return refused(request, problem, page_url("evaluations:comparison-detail", actor, key))
    return done(request, f"Draft with {run.model_name}", page_url("registry:editor", actor, version.prompt.name))
