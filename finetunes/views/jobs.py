"""Pages of fine-tune jobs: the list, one job from draft to promotion, and a provider's settings."""

from typing import Any
from urllib.parse import urlencode

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django_htmx.http import HttpResponseClientRefresh

from core.errors import Problem
from evaluations import tasks as evaluating
from evaluations.providers import configuration as providers
from finetunes import tasks
from finetunes.jobs import cross_validation, provider_settings, tuned_models
from finetunes.jobs import lifecycle as jobs
from finetunes.models import FineTune, TunedModel
from finetunes.providers import curves
from finetunes.providers.curves import CurvePoint
from finetunes.providers.protocols import PROTOCOLS
from finetunes.providers.states import JobState
from finetunes.training_sets import lifecycle as training_sets
from finetunes.views.path import path
from infra.charts import CurveChart, curve_chart
from infra.work import start
from registry.accounts.permissions import Actor, Right
from registry.models import Environment
from registry.promotions import environments
from registry.views.frame import PAGE_SIZE, done, in_project, only_post, page, page_url, refused, whole

MAX_EVENTS_SHOWN = 50
MAX_POINTS_SHOWN = 200
MAX_SETS_SHOWN = 20
LOSSES = (("training loss", "train_loss"), ("validation loss", "valid_loss"))
ACCURACIES = (("training accuracy", "train_accuracy"), ("validation accuracy", "valid_accuracy"))


@in_project
def job_list(request: HttpRequest, actor: Actor) -> HttpResponse:
    rows = jobs.jobs_with_related().filter(project=actor.project, cross_validation=None).order_by("-id")
    folds = cross_validation.cross_validations_with_related().filter(project=actor.project).order_by("-id")
    models = list(
        tuned_models.tuned_models_with_related()
        .filter(project=actor.project, job__cross_validation=None)
        .order_by("-id")[:MAX_SETS_SHOWN]
    )
    sets = training_sets.training_sets_with_related().filter(project=actor.project, jobs=None, folds=0).order_by("-id")
    context = {
        "section": "finetunes",
        "page": Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page")),
        "stale": [(model, reasons) for model in models if (reasons := tuned_models.retuning_reasons(model))],
        "sets": sets[:MAX_SETS_SHOWN],
        "folds": folds[:MAX_SETS_SHOWN],
    }
    return page(request, actor, "finetunes/job_list.html", context)


@in_project
def job_detail(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    job = jobs.get_job(actor.project, key)
    model = tuned_models.tuned_model_of_job(job)
    context = {
        "section": "finetunes",
        **_progress(job),
        "steps": path(actor, job=job),
        "estimated": jobs.estimated_and_actual(job),
        "tuned": model,
        "tuned_ends": tuned_models.end_date(model) if model else None,
        **_measured(model),
        "stale": tuned_models.retuning_reasons(model) if model else [],
        "ends": provider_settings.shutdown_warnings(job.model) if not job.is_over else [],
        "environments": Environment.objects.filter(project=actor.project).order_by("position"),
        "advice": _advice(job) if job.state == JobState.DRAFT else None,
        "again_address": _again_address(actor, job),
    }
    return page(request, actor, "finetunes/job_detail.html", context)


def _measured(model: TunedModel | None) -> dict[str, Any]:
    rows = list(tuned_models.evaluations_of(model)) if model else []
    cases = max((row.candidate.cases for row in rows if row.candidate and row.split == "test"), default=0)
    return {
        "evaluations": rows,
        "waiting": not all(row.is_over for row in rows),
        "has_lost": any(row.error or (row.comparison and row.comparison.error) for row in rows),
        "is_small": cases < cross_validation.SMALL_TEST and not (model and model.job.cross_validation_id),
    }


def _advice(job: FineTune) -> Any:
    hyperparameters = {name: value for name, value in job.hyperparameters.items() if value is not None}
    return jobs.estimate_with_advisories(job.training_set, job.model, hyperparameters)


def _again_address(actor: Actor, job: FineTune) -> str:
    """Return the address of the form for a new training set, filled in with this job's prompt and dataset."""
    training_set = job.training_set
    values = {
        "prompt": f"{training_set.source.prompt.name}@latest",
        "dataset": training_set.dataset_version.dataset.name,
    }
    return f"{page_url('finetunes:set-new', actor)}?{urlencode(values, safe='@')}"


def _progress(job: FineTune) -> dict[str, Any]:
    points = [CurvePoint(row.step, row.values) for row in job.points.order_by("step")]
    thin = curves.thin_points(points, MAX_POINTS_SHOWN)
    return {
        "job": job,
        "loss": _chart(thin, "loss", "Loss", LOSSES),
        "accuracy": _chart(thin, "accuracy", "Accuracy of the next token", ACCURACIES),
        "events": job.events.order_by("-id")[:MAX_EVENTS_SHOWN],
        "checkpoints": job.checkpoints.order_by("step"),
    }


def _chart(points: list[CurvePoint], key: str, title: str, names: tuple[tuple[str, str], ...]) -> CurveChart | None:
    series = [
        (label, [(point.step, point.values[name]) for point in points if name in point.values]) for label, name in names
    ]
    if not any(len(pairs) > 1 for _, pairs in series):
        return None
    return curve_chart(key, title, series, across="step")


@in_project
def job_wait(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    """Show the progress of a job to a page that waits; the page is reloaded when the state changes."""
    job = jobs.get_job(actor.project, key)
    if job.state != request.GET.get("state"):
        return HttpResponseClientRefresh()
    context = {"project": actor.project, "can": {"edit": actor.may(Right.EDIT)}, **_progress(job)}
    return render(request, "finetunes/_job_progress.html", context)


@in_project
def evaluation_wait(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    """Show the evaluations of a tuned model to a page that waits."""
    job = jobs.get_job(actor.project, key)
    model = tuned_models.tuned_model_of_job(job)
    measured = _measured(model)
    if measured["evaluations"] and not measured["waiting"]:
        return HttpResponseClientRefresh()
    can = {"edit": actor.may(Right.EDIT)}
    context = {"project": actor.project, "can": can, "job": job, "tuned": model, **measured}
    return render(request, "finetunes/_evaluations.html", context)


@in_project
@only_post
def job_act(request: HttpRequest, actor: Actor, key: int, verb: str) -> HttpResponse:
    """Submit, cancel or retry a job."""
    address = page_url("finetunes:job-detail", actor, key)
    try:
        job = jobs.get_job(actor.project, key)
        match verb:
            case "submit":
                jobs.submit(actor, job)
                sentence = "Job submitted"
            case "cancel":
                jobs.cancel(actor, job)
                sentence = "Cancelling"
            case "retry":
                jobs.retry(actor, job, budget_usd=request.POST.get("budget_usd", "").strip() or None)
                sentence = "Job resumed"
            case _:
                raise Problem("not_found", "There is no such action.")
    except Problem as problem:
        return refused(request, problem, address)
    start(tasks.advance, key)
    return done(request, sentence, address)


@in_project
@only_post
def job_deployed(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    address = page_url("finetunes:job-detail", actor, key)
    try:
        model = tuned_models.require_tuned_model(jobs.get_job(actor.project, key))
        tuned_models.set_deployed_name(actor, model, request.POST.get("name", ""))
    except Problem as problem:
        return refused(request, problem, address)
    start(tasks.measure, model.pk)
    return done(request, "Evaluation started", address)


@in_project
@only_post
def job_measure(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    """Evaluate again where an evaluation failed."""
    address = page_url("finetunes:job-detail", actor, key)
    try:
        model = tuned_models.require_tuned_model(jobs.get_job(actor.project, key))
        for run in tuned_models.measure_again(actor, model):
            start(evaluating.work_on_run, run.pk)
    except Problem as problem:
        return refused(request, problem, address)
    return done(request, "Evaluation started", address)


@in_project
@only_post
def job_publish(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    try:
        model = tuned_models.require_tuned_model(jobs.get_job(actor.project, key))
        model.project = actor.project
        environment = environments.get_environment(actor.project, request.POST.get("environment", ""))
        published = tuned_models.publish(actor, model, environment, reason=request.POST.get("reason", "").strip())
    except Problem as problem:
        return refused(request, problem, page_url("finetunes:job-detail", actor, key))
    return redirect(reverse("registry:promotion-detail", args=[actor.project.slug, published.promotion_id]))


@in_project
def fine_tuning_panel(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """Show the fine-tuning settings of a provider, on its page."""
    provider = providers.get_provider(actor.project, name)
    fine_tuning = provider_settings.settings_for(provider)
    models = provider.models.filter(tuned_as=None, archived_at=None).order_by("name")[:200]
    context = {
        "project": actor.project,
        "provider": provider,
        "fine_tuning": fine_tuning,
        "protocol": provider_settings.protocol_for(fine_tuning),
        "protocols": PROTOCOLS.values(),
        "models": models,
        "prices": [(model, price) for model in models if (price := provider_settings.current_price(model))],
        "can": {"administer": actor.may(Right.ADMINISTER)},
    }
    return render(request, "finetunes/_fine_tuning_panel.html", context)


@in_project
@only_post
def fine_tuning_set(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    provider = providers.get_provider(actor.project, name)
    address = reverse("evaluations:provider-detail", args=[actor.project.slug, name])
    try:
        if request.POST.get("do") == "price":
            model = providers.get_model(actor.project, f"{provider.name}/{request.POST.get('model', '')}")
            prices = {field: request.POST.get(field, "") for field in ("training", "tuned_input", "tuned_output")}
            provider_settings.set_price(actor, model, prices)
            return done(request, f"Price of tuning {model.name} saved", address)
        secret = request.POST.get("webhook_secret", "").strip()
        provider_settings.set_up(
            actor,
            provider,
            protocol=request.POST.get("protocol") or None,
            max_jobs=whole(request.POST.get("max_jobs", "").strip()) or 0,
            webhook_secret=secret or None,
        )
    except Problem as problem:
        return refused(request, problem, address)
    return done(request, "Fine-tuning settings saved", address)
