"""Pages of training sets: the form for a new one, and one with its validation, files and the form of a job."""

import re
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django_htmx.http import HttpResponseClientRefresh

from core.errors import Problem
from core.references import parse_reference
from evaluations.data_quality import reports
from evaluations.datasets import lifecycle as datasets
from evaluations.models import Capability, Dataset, DatasetVersion, Provider, ProviderKind, ProviderModel, ReportKind
from finetunes import tasks
from finetunes.api.training_sets import file_answer
from finetunes.jobs import cross_validation
from finetunes.jobs import lifecycle as jobs
from finetunes.models import TrainingSet
from finetunes.providers.jsonl import Method
from finetunes.training_sets import advisories, short_prompt
from finetunes.training_sets import lifecycle as training_sets
from finetunes.views.path import path
from infra.work import start
from registry.accounts.permissions import Actor, Right
from registry.models import Prompt
from registry.prompts import resolution
from registry.views.frame import done, errors_of, in_project, page, page_url, whole

MAX_OFFERED = 200
FIELDS = ("prompt", "dataset", "instruction", "method", "pairs_from", "pairs_number")
DOMAIN_FIELDS = {
    **dict.fromkeys(("prompt.not_found", "prompt.unknown_selector", "prompt.no_versions"), "prompt"),
    **dict.fromkeys(("dataset.not_found", "dataset.unknown_selector"), "dataset"),
    **dict.fromkeys(("comparison.not_found", "run.not_found", "round.not_found", "round.wrong_state"), "pairs"),
    **dict.fromkeys(("content.invalid", "template.invalid"), "instruction"),
    **dict.fromkeys(("model.not_found", "model.shut_down", "finetune.not_offered", "finetune.closed"), "model"),
    "finetune.no_price": "budget_usd",
}
JOB_FIELDS = ("model", *jobs.HYPERPARAMETER_NAMES, "suffix", "budget_usd")
SAMPLE_BYTES = 20_000
# With images in them.
MAX_SAMPLE_BYTES = 16 * 1024 * 1024
IMAGE_DATA = re.compile(r"(data:image/[a-z0-9.+-]{1,40};base64,)[A-Za-z0-9+/=]+")
MAX_LINES_SHOWN = 3


@in_project
def set_new(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Choose the data, with its readiness; then the settings of the training set."""
    actor.require(Right.EDIT)
    source = request.POST if request.method == "POST" else request.GET
    values: dict[str, Any] = {name: source.get(name, "")[:20_000] for name in FIELDS}
    values["method"] = values["method"] or Method.SUPERVISED.value
    context: dict[str, Any] = {
        "section": "finetunes",
        "values": values,
        "steps": path(actor),
        "prompts": Prompt.objects.filter(project=actor.project, archived_at=None, head__isnull=False)[:MAX_OFFERED],
        "datasets": Dataset.objects.filter(project=actor.project, archived_at=None, head__isnull=False)[:MAX_OFFERED],
    }
    context |= _choice_context(actor, values, keep=request.method == "POST" or "instruction" in source)
    if request.method != "POST":
        return page(request, actor, "finetunes/set_new.html", context)
    try:
        training_set = training_sets.create(actor, **training_sets.read_request(actor.project, _document(values)))
    except Problem as problem:
        context["errors"] = errors_of(problem, DOMAIN_FIELDS)
        return page(request, actor, "finetunes/set_new.html", context, status=problem.kind.status)
    start(tasks.build, training_set.pk)
    sentence = f"Training set {training_set.pk} is being built"
    return done(request, sentence, page_url("finetunes:set-detail", actor, training_set.pk))


def _document(values: dict[str, Any]) -> dict[str, Any]:
    """Return what was typed as a document of the API."""
    document = {name: values[name] for name in ("prompt", "dataset", "instruction", "method")}
    if values["method"] == Method.PREFERENCE and values["pairs_from"] in ("comparison", "run", "round"):
        document["pairs"] = {values["pairs_from"]: whole(values["pairs_number"].strip()) or 0}
    return document


def _choice_context(actor: Actor, values: dict[str, Any], *, keep: bool) -> dict[str, Any]:
    """Return the readiness of the data and a suggestion for the short prompt; empty where none is chosen yet."""
    context: dict[str, Any] = {}
    try:
        if values["dataset"]:
            name, _, selector = values["dataset"].partition("@")
            version = datasets.get_version(actor.project, name, selector or "latest")
            context |= _readiness(version)
        if values["prompt"]:
            source = resolution.resolve(actor.project, parse_reference(values["prompt"]))
            context["source"] = source
            if not keep:
                values["instruction"] = short_prompt.suggest_instruction(source.content)
    except Problem as problem:
        context["errors"] = errors_of(problem, DOMAIN_FIELDS)
    return context


def _readiness(version: DatasetVersion) -> dict[str, Any]:
    report = reports.newest_done_report(version, ReportKind.READINESS)
    return {
        "version": version,
        "readiness": report.result if report else None,
        "leakage_status": reports.leakage_status(version),
    }


@in_project
def set_detail(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    """Show a training set with its faults and an estimate. With POST, create the draft of a job."""
    training_set = training_sets.get_training_set(actor.project, key)
    if request.method != "POST":
        return page(request, actor, "finetunes/set_detail.html", _set_context(actor, training_set, {}))
    values = {name: request.POST.get(name, "")[:200].strip() for name in JOB_FIELDS}
    context = _set_context(actor, training_set, values)
    try:
        document = _job_document(values)
        settings = jobs.read_request(actor.project, document)
        if request.POST.get("do") == "estimate":
            context["estimate"] = jobs.estimate_with_advisories(
                training_set, settings["model"], settings["hyperparameters"]
            )
            return page(request, actor, "finetunes/set_detail.html", context)
        job = jobs.draft(actor, training_set, **settings)
    except Problem as problem:
        context["errors"] = errors_of(problem, DOMAIN_FIELDS)
        return page(request, actor, "finetunes/set_detail.html", context, status=problem.kind.status)
    return done(request, "Draft created. Submit it to start the job.", page_url("finetunes:job-detail", actor, job.pk))


def _job_document(values: dict[str, str]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for name in jobs.HYPERPARAMETER_NAMES:
        text = values[name]
        if text:
            number = whole(text)
            settings[name] = text if text == "auto" else number if number is not None else _decimal(text)
    return {**{name: values[name] for name in ("model", "suffix")}, "hyperparameters": settings} | {
        "budget_usd": values["budget_usd"] or None
    }


def _decimal(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _set_context(actor: Actor, training_set: TrainingSet, values: dict[str, str]) -> dict[str, Any]:
    tunable = ProviderModel.objects.filter(
        provider__project=actor.project,
        provider__archived_at=None,
        archived_at=None,
        provider__capabilities__contains=[Capability.FINE_TUNING],
        tuned_as=None,
    )
    defaults = advisories.DEFAULTS.as_dict()
    return {
        "section": "finetunes",
        "training_set": training_set,
        "steps": path(actor, training_set),
        "values": {**{name: str(value) for name, value in defaults.items()}, **values},
        "models": tunable.select_related("provider")[:MAX_OFFERED],
        "reasons": advisories.REASONS,
        "jobs": jobs.jobs_with_related().filter(training_set=training_set).order_by("-id"),
        "sample": _sample(training_set),
        "leakage_status": reports.leakage_status(training_set.dataset_version),
        "folds": cross_validation.cross_validations_with_related()
        .filter(training_set=training_set)
        .order_by("-id")[:MAX_LINES_SHOWN],
        "fold_counts": range(cross_validation.MIN_FOLDS, cross_validation.MAX_FOLDS + 1),
        "is_small": training_set.dataset_version.sizes.get("test", 0) < cross_validation.SMALL_TEST,
        "has_local_engine": Provider.objects.filter(
            project=actor.project, archived_at=None, kind=ProviderKind.LOCAL
        ).exists(),
        "can_fine_tune": Provider.objects.filter(
            project=actor.project, archived_at=None, capabilities__contains=[Capability.FINE_TUNING]
        ).exists(),
    }


def _sample(training_set: TrainingSet) -> list[str]:
    """Return the first lines of the training file."""
    if training_set.state != "done":
        return []
    first = b""
    for piece in training_sets.file_pieces(training_set, "train"):
        first += piece
        if len(first) >= SAMPLE_BYTES and (first.count(b"\n") >= MAX_LINES_SHOWN or len(first) >= MAX_SAMPLE_BYTES):
            break
    # Images are data there, far longer than what one wants to read.
    lines = (IMAGE_DATA.sub(r"\1…", line.decode("utf-8", "replace")) for line in first.split(b"\n"))
    return [line[:2_000] for line in list(lines)[:MAX_LINES_SHOWN] if line]


@in_project
def set_wait(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    training_set = training_sets.get_training_set(actor.project, key)
    if not training_set.is_open:
        return HttpResponseClientRefresh()
    return render(request, "finetunes/_set_wait.html", {"project": actor.project, "training_set": training_set})


@in_project
def set_file(request: HttpRequest, actor: Actor, key: int, file: str) -> HttpResponseBase:
    return file_answer(training_sets.get_training_set(actor.project, key), file)
