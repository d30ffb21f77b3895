"""The page of a new model sweep."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse

from core.errors import Problem
from core.model_settings import EFFORTS
from evaluations import tasks
from evaluations.comparisons import lifecycle as comparisons
from evaluations.comparisons import slas, sweeps
from evaluations.runs import lifecycle as runs
from evaluations.statistics.slas import set_targets
from evaluations.views.runs import DOMAIN_FIELDS, offered, scorers_of, sentence_at
from registry.accounts.permissions import Actor, Right
from registry.views.frame import done, errors_of, in_project, only_post, page, page_url, refused, whole

FIELDS = (
    "prompt",
    "dataset",
    "split",
    "repetitions",
    "limit",
    "leaked",
    "budget_usd",
    "temperatures",
    "effort",
    "also_without_retrieval",
    "margin",
    "scorers_json",
)
DEFAULTS = {"split": "test", "repetitions": "1", "leaked": "mark", "margin": "0.02"}


@in_project
def sweep_new(request: HttpRequest, actor: Actor) -> HttpResponse:
    actor.require(Right.EDIT)
    source = request.POST if request.method == "POST" else request.GET
    values: dict[str, Any] = {name: source.get(name, DEFAULTS.get(name, ""))[:20_000] for name in FIELDS}
    values["scorers"], values["models"] = (
        source.getlist("scorers")[:50],
        source.getlist("models")[: comparisons.MAX_RUNS + 1],
    )
    targets = slas.slas_as_dict(slas.get_slas(actor.project))
    context: dict[str, Any] = {
        "section": "evaluations",
        "values": values,
        "slas": list(set_targets(targets).items()),
        "efforts": EFFORTS,
        **offered(actor),
    }
    if request.method != "POST":
        return page(request, actor, "evaluations/comparisons/sweep_new.html", context)
    try:
        grid = sweeps.grid_from_document(actor.project, _document(values))
        budget = values["budget_usd"].strip() or None
        if request.POST.get("do") == "estimate":
            context["estimate"] = sweeps.estimate_sweep(actor.project, grid, budget)
            return page(request, actor, "evaluations/comparisons/sweep_new.html", context)
        sweep = sweeps.create(actor, grid, budget_usd=budget, margin=number_field(values["margin"], "margin"))
    except Problem as problem:
        context["errors"] = errors_of(problem, DOMAIN_FIELDS)
        return page(request, actor, "evaluations/comparisons/sweep_new.html", context, status=problem.kind.status)
    tasks.start_sweep(sweep)
    return done(request, "Model sweep started", page_url("evaluations:comparison-detail", actor, sweep.pk))


@in_project
@only_post
def sweep_without_retrieval(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    """Compare a run's version without retrieval and with it."""
    try:
        sweep = sweeps.without_retrieval(actor, runs.get_run(actor.project, key))
    except Problem as problem:
        return refused(request, problem, page_url("evaluations:run-detail", actor, key))
    tasks.start_sweep(sweep)
    sentence = "Measuring with and without retrieval"
    return done(request, sentence, page_url("evaluations:comparison-detail", actor, sweep.pk))


def _document(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was typed as a document of the API."""
    document: dict[str, Any] = {name: values[name].strip() for name in ("prompt", "dataset", "split", "leaked")}
    for name in ("prompt", "dataset"):
        if not document[name]:
            raise sentence_at(name, "Choose one.")
    document["repetitions"] = whole(values["repetitions"].strip()) or 0
    if values["limit"].strip():
        document["limit"] = whole(values["limit"].strip()) or 0
    words = values["temperatures"].replace(",", " ").split()
    document["temperatures"] = [number_field(word, "temperatures") for word in words]
    document["models"] = values["models"]
    document["also_without_retrieval"] = bool(values["also_without_retrieval"])
    if values["effort"]:
        document["parameters"] = {"reasoning": {"effort": values["effort"]}}
    document["scorers"] = [*values["scorers"], *scorers_of(values["scorers_json"])]
    return document


def number_field(text: str, name: str) -> float:
    """Read a number that was typed into this field, or raise a refusal that names the field."""
    try:
        return float(text)
    except ValueError:
        raise sentence_at(name, f"{text[:50]!r} is not a number.") from None
