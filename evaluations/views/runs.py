"""Pages of evaluations: the list of runs, a new run, one run with its answers, and what is done with it."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils.dateparse import parse_datetime
from django_htmx.http import HttpResponseClientRefresh

from core.errors import Fault, Problem
from evaluations import tasks
from evaluations.api.runs import file_answer
from evaluations.comparisons import lifecycle as comparisons
from evaluations.models import Dataset, ResultAnnotation, Run, Split
from evaluations.providers import configuration as providers
from evaluations.runs import lifecycle as runs
from evaluations.runs import planning
from evaluations.scorers import all_scorers
from evaluations.scorers.specs import read_specs
from registry.accounts.permissions import Actor, Right
from registry.models import Prompt
from registry.views.frame import PAGE_SIZE, done, errors_of, in_project, only_post, page, page_url, refused, whole

MAX_ANSWERS_SHOWN = 20
MAX_OFFERED = 200
MAX_COMPARISONS_SHOWN = 3
SCORERS_JSON_EXAMPLE = '[{"scorer": "contains", "parameters": {"texts": ["refund"]}, "weight": 2}]'
ONLY = {"": "All", "wrong": "Wrong", "failed": "No answer", "leaked": "Leaked", "marked": "Annotated"}
FIELDS = (
    *("prompt", "dataset", "split", "model", "repetitions", "limit", "leaked", "budget_usd", "fresh"),
    *("concurrency", "without_retrieval", "as_of", "searched_at"),
    "scorers_json",
    "temperature",
)
DEFAULTS = {"split": "test", "repetitions": "1", "leaked": "mark"}
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
    rows = runs.runs_with_related().filter(project=actor.project)
    rows = rows.filter(version__prompt__name=prompt) if prompt else rows
    newest = comparisons.comparisons_with_runs().filter(project=actor.project).order_by("-id")
    newest = newest.filter(entries__run__version__prompt__name=prompt).distinct() if prompt else newest
    context = {
        "section": "evaluations",
        "page": Paginator(rows.order_by("-id"), PAGE_SIZE).get_page(request.GET.get("page")),
        "prompt": prompt,
        "comparisons": newest[:MAX_COMPARISONS_SHOWN],
    }
    return page(request, actor, "evaluations/runs/run_list.html", context)


@in_project
def run_new(request: HttpRequest, actor: Actor) -> HttpResponse:
    actor.require(Right.EDIT)
    source = request.POST if request.method == "POST" else request.GET
    values: dict[str, Any] = {name: source.get(name, DEFAULTS.get(name, ""))[:20_000] for name in FIELDS}
    values["scorers"] = source.getlist("scorers")[:50]
    context: dict[str, Any] = {"section": "evaluations", "values": values, **offered(actor)}
    if request.method != "POST":
        return page(request, actor, "evaluations/runs/run_new.html", context)
    try:
        settings = planning.settings_from_document(actor.project, _document(values))
        if request.POST.get("do") == "estimate":
            context["estimate"] = runs.estimate_run(actor.project, settings)
            return page(request, actor, "evaluations/runs/run_new.html", context)
        run = runs.create(actor, settings)
    except Problem as problem:
        context["errors"] = errors_of(problem, DOMAIN_FIELDS)
        return page(request, actor, "evaluations/runs/run_new.html", context, status=problem.kind.status)
    tasks.start_run(run)
    return done(request, f"Run {run.pk} started", page_url("evaluations:run-detail", actor, run.pk))


def offered(actor: Actor) -> dict[str, Any]:
    """Return the choices that forms of runs, sweeps and gates offer."""
    return {
        "prompts": Prompt.objects.filter(project=actor.project, archived_at=None, head__isnull=False)[:MAX_OFFERED],
        "datasets": Dataset.objects.filter(project=actor.project, archived_at=None, head__isnull=False)[:MAX_OFFERED],
        "models": providers.offered_models(actor.project)[:MAX_OFFERED],
        "splits": [*Split.choices, ("", "All")],
        "scorers_json_example": SCORERS_JSON_EXAMPLE,
        # Scorers with required parameters are written as JSON.
        "scorers": {
            name: scorer
            for name, scorer in all_scorers().items()
            if not any(parameter.required for parameter in scorer.parameters)
        },
    }


def _document(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was typed as a document of the API."""
    document: dict[str, Any] = {
        name: values[name].strip() for name in ("prompt", "dataset", "split", "model", "leaked")
    }
    for name in ("prompt", "dataset", "model"):
        if not document[name]:
            raise sentence_at(name, "Choose one.")
    document["repetitions"] = whole(values["repetitions"].strip()) or 0
    if values["limit"].strip():
        document["limit"] = whole(values["limit"].strip()) or 0
    document["budget_usd"] = values["budget_usd"].strip() or None
    document["fresh"] = bool(values["fresh"])
    document["without_retrieval"] = bool(values["without_retrieval"])
    document["as_of"] = _moment(values["as_of"])
    if values["concurrency"].strip():
        document["concurrency"] = whole(values["concurrency"].strip()) or 0
    if values["temperature"].strip():
        try:
            document["parameters"] = {"temperature": float(values["temperature"])}
        except ValueError:
            raise sentence_at("temperature", "Must be a number.") from None
    document["scorers"] = [*values["scorers"], *scorers_of(values["scorers_json"])]
    return document


def _moment(text: str) -> datetime | None:
    try:
        moment = parse_datetime(text)
    except ValueError:
        moment = None
    if text and (moment is None or moment.tzinfo is None):
        raise sentence_at("as_of", "Choose one.")
    return moment


def scorers_of(text: str) -> list[Any]:
    """Parse scorers that were typed as JSON."""
    if not text.strip():
        return []
    try:
        scorers = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise sentence_at("scorers_json", f"This is not JSON: {error}") from None
    if not isinstance(scorers, list):
        raise sentence_at("scorers_json", "Must be a list of scorers.")
    return scorers


def sentence_at(name: str, message: str) -> Problem:
    """Return the problem of one field of a form."""
    return Problem("request.invalid", message, faults=[Fault(f"/{name}", "invalid", message)])


@in_project
def run_detail(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    run = runs.get_run(actor.project, key)
    only = request.GET.get("only", "")
    filters = {"only": only if only in ONLY else "", "label": request.GET.get("label", "")[:200]}
    filters["tag"] = request.GET.get("tag", "")[:200]
    filters["scorer"] = request.GET.get("scorer", "")[:100]
    rows = runs.filter_results(run, **filters)
    results = Paginator(rows, MAX_ANSWERS_SHOWN).get_page(request.GET.get("page"))
    annotations = ResultAnnotation.objects.filter(result__in=[result.pk for result in results], by=actor.user)
    others = (
        runs.runs_with_related()
        .filter(project=actor.project, cases_hash=run.cases_hash, state="done")
        .exclude(pk=run.pk)
    )
    context = {
        "section": "evaluations",
        "run": run,
        "again_address": _again_address(actor, run),
        "page": results,
        "annotations": {annotation.result_id: annotation for annotation in annotations},
        "filters": filters,
        "filter_words": _filter_words(filters),
        "only": ONLY,
        "others": others.order_by("-id")[:MAX_OFFERED] if run.state == "done" else [],
        "agreement": runs.agreement(run),
        "per_thousand": _per_thousand(run),
        "rescored_runs": run.rescored_runs.order_by("-id")[:5],
    }
    return page(request, actor, "evaluations/runs/run_detail.html", context)


def _again_address(actor: Actor, run: Run) -> str:
    """Return the address of the form for a new run, filled in with this run's settings."""
    version, dataset = run.version, run.dataset_version.dataset
    values = [
        ("prompt", f"{version.prompt.name}@{version.number}"),
        ("dataset", dataset.name),
        ("split", run.split),
        ("model", f"{run.provider_name}/{run.model_name}"),
        *(("scorers", spec["scorer"]) for spec in run.scorers),
        *([("searched_at", run.as_of.isoformat())] if run.as_of else []),
        *([("without_retrieval", "1")] if run.is_without_retrieval else []),
    ]
    return f"{page_url('evaluations:run-new', actor)}?{urlencode(values, safe='/@')}"


def _filter_words(filters: Mapping[str, str]) -> str:
    """Return the filters by label, tag and scorer in words; nothing where there is none."""
    words = {"label": "label {}", "tag": "tag {}", "scorer": "answers that did not pass {}"}
    return ", ".join(sentence.format(filters[name]) for name, sentence in words.items() if filters[name])


def _per_thousand(run: Run) -> float | None:
    call = (run.summary or {}).get("cost_per_call_usd")
    return 1_000 * call["value"] if call else None


@in_project
def run_progress(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    """Show the progress of a run to a page that waits; the page is reloaded once the run is summed up."""
    run = runs.get_run(actor.project, key)
    if not run.is_open and run.summary is not None:
        return HttpResponseClientRefresh()
    context = {"project": actor.project, "run": run, "can": {"edit": actor.may(Right.EDIT)}}
    return render(request, "evaluations/runs/_progress.html", context)


@in_project
@only_post
def run_cancel(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    try:
        runs.cancel(actor, runs.get_run(actor.project, key))
    except Problem as problem:
        return refused(request, problem, page_url("evaluations:run-detail", actor, key))
    return done(request, "Run cancelled; its answers so far are kept", page_url("evaluations:run-detail", actor, key))


@in_project
@only_post
def run_resume(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    try:
        budget = request.POST.get("budget_usd", "").strip() or None
        resumed = runs.resume(actor, runs.get_run(actor.project, key), budget_usd=budget)
    except Problem as problem:
        return refused(request, problem, page_url("evaluations:run-detail", actor, key))
    tasks.start_run(resumed)
    return done(request, "Run resumed", page_url("evaluations:run-detail", actor, key))


@in_project
@only_post
def run_rescore(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    try:
        scorers = [*request.POST.getlist("scorers"), *scorers_of(request.POST.get("scorers_json", ""))]
        read_specs(scorers)
        rescored = runs.rescore(actor, runs.get_run(actor.project, key), scorers)
    except Problem as problem:
        return refused(request, problem, page_url("evaluations:run-detail", actor, key))
    tasks.start_run(rescored)
    sentence = f"Run {rescored.pk} re-scores the same answers"
    return done(request, sentence, page_url("evaluations:run-detail", actor, rescored.pk))


@in_project
@only_post
def result_annotate(request: HttpRequest, actor: Actor, key: int, result: int) -> HttpResponse:
    run = runs.get_run(actor.project, key)
    row = runs.get_result(run, result)
    annotation = runs.annotate_result(actor, row, is_correct=request.POST.get("is_correct") == "1")
    context = {"project": actor.project, "run": run, "result": row, "annotation": annotation}
    return render(request, "evaluations/runs/_annotation.html", context)


@in_project
def run_file(request: HttpRequest, actor: Actor, key: int) -> HttpResponseBase:
    return file_answer(runs.get_run(actor.project, key), request.GET.get("as", "jsonl"))


def newest_runs(prompt: Prompt, count: int) -> list[Run]:
    """Return a prompt's newest runs."""
    return list(runs.runs_with_related().filter(version__prompt=prompt).order_by("-id")[:count])
