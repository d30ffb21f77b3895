"""Pages of comparisons."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django_htmx.http import HttpResponseClientRefresh

from core.errors import Problem
from evaluations import tasks
from evaluations.comparisons import pairwise
from evaluations.models import Case, Comparison, ComparisonState, Result
from evaluations.runs import lifecycle as runs
from registry.accounts.permissions import Actor
from registry.tasks import start
from registry.views.frame import done, in_project, only_post, page, page_url, refused, whole

SIDES = (("baseline", "Baseline"), ("candidate", "Candidate"))


@in_project
@only_post
def comparison_new(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Hold a run against another; the form is on the run's page."""
    candidate = whole(request.POST.get("candidate", "")) or 0
    baseline = whole(request.POST.get("baseline", "")) or 0
    try:
        margin = float(request.POST.get("margin", "") or pairwise.DEFAULT_MARGIN)
    except ValueError:
        margin = -1.0
    try:
        sides = (runs.numbered(actor.project, baseline), runs.numbered(actor.project, candidate))
        made = pairwise.create(actor, *sides, margin=margin)
    except Problem as problem:
        return refused(
            request,
            problem,
            page_url("evaluations:run-detail", actor, candidate)
            if candidate
            else page_url("evaluations:run-list", actor),
        )
    start(tasks.compare_runs, made.pk)
    return done(request, "The two runs are being compared.", page_url("evaluations:comparison-detail", actor, made.pk))


@in_project
def comparison_detail(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    comparison = pairwise.numbered(actor.project, key)
    context: dict[str, Any] = {"section": "evaluations", "comparison": comparison, "sides": SIDES}
    if comparison.result:
        changed = [*comparison.result["worse"], *comparison.result["better"]]
        keys = [one["case"] for one in changed]
        context["cases"] = Case.objects.in_bulk(keys)
        context["said"] = _said(comparison, keys)
    return page(request, actor, "evaluations/comparisons/comparison_detail.html", context)


def _said(comparison: Comparison, keys: list[int]) -> dict[int, dict[str, Result]]:
    """What both runs first answered to these cases, by case: `baseline` and `candidate`."""
    sides = {comparison.baseline_id: "baseline", comparison.candidate_id: "candidate"}
    found: dict[int, dict[str, Result]] = {}
    for result in Result.objects.filter(run__in=sides, case__in=keys, repeat=1).defer("scores"):
        found.setdefault(result.case_id, {})[sides[result.run_id]] = result
    return found


@in_project
def comparison_wait(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    comparison = pairwise.numbered(actor.project, key)
    if comparison.state != ComparisonState.PENDING:
        return HttpResponseClientRefresh()
    context = {"project": actor.project, "comparison": comparison}
    return render(request, "evaluations/comparisons/_wait.html", context)
