"""Pages of evaluations: the list of runs, a new one, one that is under way or done, and its answers."""

import json
from collections.abc import Mapping
from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django_htmx.http import HttpResponseClientRefresh

from core.errors import Fault, Problem
from evaluations import tasks
from evaluations.api.runs import file_answer
from evaluations.comparisons import sweeps
from evaluations.models import Dataset, ProviderModel, ResultMark, Run, Split
from evaluations.runs import lifecycle as runs
from evaluations.runs import planning
from evaluations.scorers import all_scorers
from evaluations.scorers.specs import read_specs
from registry.accounts.permissions import Actor, Right
from registry.models import Prompt
from registry.views.frame import PAGE_SIZE, done, errors_of, in_project, only_post, page, page_url, refused, whole

ANSWERS_SHOWN = 20
MOST_OFFERED = 200
LINEUPS_SHOWN = 3
ONLY = {"": "All", "wrong": "Wrong", "failed": "No answer", "leaked": "Leaked", "marked": "Marked"}
FIELDS = (
    *("prompt", "dataset", "split", "model", "repeats", "limit", "leaked", "budget_usd", "scorers_json"),
    "temperature",
)
CHOSEN = ("prompt", "dataset", "model")
NEW = {"split": "test", "repeats": "1", "leaked": "mark"}
DOMAIN_FIELDS = {
    **dict.fromkeys(
        ("prompt.not_found", "prompt.unknown_selector", "prompt.no_versions", "reference.invalid"), "prompt"
    ),
    **dict.fromkeys(("prompt.invalid_selector", "version.not_found", "version.ambiguous_hash"), "prompt"),
    **dict.fromkeys(("dataset.not_found", "dataset.unknown_selector", "run.no_cases"), "dataset"),
    **dict.fromkeys(("model.not_found", "model.shut_down", "provider.archived"), "model"),
    **dict.fromkeys(("run.no_price", "run.budget"), "budget_usd"),
    "scorers.invalid": "scorers",
}


@in_project
def run_list(request: HttpRequest, actor: Actor) -> HttpResponse:
    prompt = request.GET.get("prompt", "")[:200]
    rows = runs.loaded().filter(project=actor.project)
    rows = rows.filter(version__prompt__name=prompt) if prompt else rows
    newest = sweeps.loaded().filter(project=actor.project).order_by("-id")
    newest = newest.filter(places__run__version__prompt__name=prompt).distinct() if prompt else newest
    context = {
        "section": "evaluations",
        "page": Paginator(rows.order_by("-id"), PAGE_SIZE).get_page(request.GET.get("page")),
        "prompt": prompt,
        "lineups": newest[:LINEUPS_SHOWN],
    }
    return page(request, actor, "evaluations/runs/run_list.html", context)


@in_project
def run_new(request: HttpRequest, actor: Actor) -> HttpResponse:
    actor.require(Right.EDIT)
    source = request.POST if request.method == "POST" else request.GET
    values: dict[str, Any] = {name: source.get(name, NEW.get(name, ""))[:20_000] for name in FIELDS}
    values["scorers"] = source.getlist("scorers")[:50]
    context: dict[str, Any] = {"section": "evaluations", "values": values, **offered(actor)}
    if request.method != "POST":
        return page(request, actor, "evaluations/runs/run_new.html", context)
    try:
        asked = planning.asked_for(actor.project, _document(values))
        if request.POST.get("do") == "estimate":
            context["estimate"] = runs.estimated(actor.project, asked)
            return page(request, actor, "evaluations/runs/run_new.html", context)
        made = runs.create(actor, asked)
    except Problem as problem:
        context["errors"] = errors_of(problem, DOMAIN_FIELDS)
        return page(request, actor, "evaluations/runs/run_new.html", context, status=problem.kind.status)
    tasks.drive_soon(made)
    return done(request, f"Run {made.pk} waits for a worker.", page_url("evaluations:run-detail", actor, made.pk))


def offered(actor: Actor) -> dict[str, Any]:
    """What forms offer to choose from."""
    models = ProviderModel.objects.filter(provider__project=actor.project, provider__archived_at=None)
    return {
        "prompts": Prompt.objects.filter(project=actor.project, archived_at=None, head__isnull=False)[:MOST_OFFERED],
        "datasets": Dataset.objects.filter(project=actor.project, archived_at=None, head__isnull=False)[:MOST_OFFERED],
        "models": models.select_related("provider")[:MOST_OFFERED],
        "splits": [*Split.choices, ("", "All")],
        # Those that need to be told something are written as JSON.
        "scorers": {
            name: scorer
            for name, scorer in all_scorers().items()
            if not any(parameter.required for parameter in scorer.parameters)
        },
    }


def _document(values: Mapping[str, Any]) -> dict[str, Any]:
    """What was typed, as the API takes it."""
    document: dict[str, Any] = {
        name: values[name].strip() for name in ("prompt", "dataset", "split", "model", "leaked")
    }
    for name in ("prompt", "dataset", "model"):
        if not document[name]:
            raise sentence_at(name, "Choose one.")
    document["repeats"] = whole(values["repeats"].strip()) or 0
    if values["limit"].strip():
        document["limit"] = whole(values["limit"].strip()) or 0
    document["budget_usd"] = values["budget_usd"].strip() or None
    if values["temperature"].strip():
        try:
            document["parameters"] = {"temperature": float(values["temperature"])}
        except ValueError:
            raise sentence_at("temperature", "Must be a number.") from None
    document["scorers"] = [*values["scorers"], *scorers_of(values["scorers_json"])]
    return document


def scorers_of(text: str) -> list[Any]:
    """Scorers that were typed as JSON."""
    if not text.strip():
        return []
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise sentence_at("scorers_json", f"This is not JSON: {error}") from None
    if not isinstance(found, list):
        raise sentence_at("scorers_json", "Must be a list of scorers.")
    return found


def sentence_at(name: str, message: str) -> Problem:
    """What is wrong with a field of a form."""
    return Problem("request.invalid", message, faults=[Fault(f"/{name}", "invalid", message)])


@in_project
def run_detail(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    run = runs.numbered(actor.project, key)
    only = request.GET.get("only", "")
    chosen = {"only": only if only in ONLY else "", "label": request.GET.get("label", "")[:200]}
    chosen["tag"] = request.GET.get("tag", "")[:200]
    chosen["scorer"] = request.GET.get("scorer", "")[:100]
    rows = runs.results_of(run, **chosen)
    shown = Paginator(rows, ANSWERS_SHOWN).get_page(request.GET.get("page"))
    marks = ResultMark.objects.filter(result__in=[row.pk for row in shown], by=actor.user)
    others = runs.loaded().filter(project=actor.project, cases_hash=run.cases_hash, state="done").exclude(pk=run.pk)
    context = {
        "section": "evaluations",
        "run": run,
        "page": shown,
        "marks": {mark.result_id: mark for mark in marks},
        "chosen": chosen,
        "only": ONLY,
        "others": others.order_by("-id")[:MOST_OFFERED] if run.state == "done" else [],
        "agreement": runs.agreement(run),
        "per_thousand": _per_thousand(run),
        "judged_again": run.judged_again.order_by("-id")[:5],
    }
    return page(request, actor, "evaluations/runs/run_detail.html", context)


def _per_thousand(run: Run) -> float | None:
    call = (run.summary or {}).get("cost_per_call_usd")
    return 1_000 * call["value"] if call else None


@in_project
def run_progress(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    """How a run goes, for a page that waits; when it is summed up the page is loaded again."""
    run = runs.numbered(actor.project, key)
    if not run.is_open and run.summary is not None:
        return HttpResponseClientRefresh()
    context = {"project": actor.project, "run": run, "can": {"edit": actor.may(Right.EDIT)}}
    return render(request, "evaluations/runs/_progress.html", context)


@in_project
@only_post
def run_cancel(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    try:
        runs.cancel(actor, runs.numbered(actor.project, key))
    except Problem as problem:
        return refused(request, problem, page_url("evaluations:run-detail", actor, key))
    return done(
        request, "The run is cancelled. What was paid for is kept.", page_url("evaluations:run-detail", actor, key)
    )


@in_project
@only_post
def run_resume(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    try:
        budget = request.POST.get("budget_usd", "").strip() or None
        resumed = runs.resume(actor, runs.numbered(actor.project, key), budget_usd=budget)
    except Problem as problem:
        return refused(request, problem, page_url("evaluations:run-detail", actor, key))
    tasks.drive_soon(resumed)
    return done(request, "The run goes on where it was.", page_url("evaluations:run-detail", actor, key))


@in_project
@only_post
def run_judge(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    try:
        wanted = [*request.POST.getlist("scorers"), *scorers_of(request.POST.get("scorers_json", ""))]
        read_specs(wanted)
        made = runs.judge_again(actor, runs.numbered(actor.project, key), wanted)
    except Problem as problem:
        return refused(request, problem, page_url("evaluations:run-detail", actor, key))
    tasks.drive_soon(made)
    return done(request, f"Run {made.pk} judges the same answers.", page_url("evaluations:run-detail", actor, made.pk))


@in_project
@only_post
def result_mark(request: HttpRequest, actor: Actor, key: int, result: int) -> HttpResponse:
    run = runs.numbered(actor.project, key)
    found = runs.result_of(run, result)
    mark = runs.mark(actor, found, is_right=request.POST.get("is_right") == "1")
    context = {"project": actor.project, "run": run, "result": found, "mark": mark}
    return render(request, "evaluations/runs/_mark.html", context)


@in_project
def run_file(request: HttpRequest, actor: Actor, key: int) -> HttpResponseBase:
    return file_answer(runs.numbered(actor.project, key), request.GET.get("as", "jsonl"))


def of_prompt(prompt: Prompt, most: int) -> list[Run]:
    """A prompt's newest runs."""
    return list(runs.loaded().filter(version__prompt=prompt).order_by("-id")[:most])
