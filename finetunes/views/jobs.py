"""Pages of jobs: the list, one job from its draft to the promotion of what came out, and a provider's tuning."""

from typing import Any

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
from finetunes.providers.curves import Point
from finetunes.providers.states import DIALECTS, JobState
from finetunes.training_sets import lifecycle as training_sets
from finetunes.views.path import path
from infra.charts import CurveChart, curve_chart
from registry.accounts.permissions import Actor, Right
from registry.models import Environment
from registry.promotions import environments
from registry.tasks import start
from registry.views.frame import PAGE_SIZE, done, in_project, only_post, page, page_url, refused, whole

EVENTS_SHOWN = 50
POINTS_SHOWN = 200
SETS_SHOWN = 20
LOSSES = (("training loss", "train_loss"), ("validation loss", "valid_loss"))
ACCURACIES = (("training accuracy", "train_accuracy"), ("validation accuracy", "valid_accuracy"))


@in_project
def job_list(request: HttpRequest, actor: Actor) -> HttpResponse:
    rows = jobs.loaded().filter(project=actor.project, cross_validation=None).order_by("-id")
    folds = cross_validation.loaded().filter(project=actor.project).order_by("-id")
    models = list(
        tuned_models.loaded().filter(project=actor.project, job__cross_validation=None).order_by("-id")[:SETS_SHOWN]
    )
    sets = training_sets.loaded().filter(project=actor.project, jobs=None, folds=0).order_by("-id")
    context = {
        "section": "finetunes",
        "page": Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page")),
        "stale": [(model, why) for model in models if (why := tuned_models.stale(model))],
        "sets": sets[:SETS_SHOWN],
        "folds": folds[:SETS_SHOWN],
    }
    return page(request, actor, "finetunes/job_list.html", context)


@in_project
def job_detail(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    job = jobs.numbered(actor.project, key)
    model = tuned_models.of(job)
    context = {
        "section": "finetunes",
        **_shown(job),
        "steps": path(actor, job=job),
        "tuned": model,
        "tuned_ends": tuned_models.ends(model) if model else None,
        **_measured(model),
        "stale": tuned_models.stale(model) if model else [],
        "ends": provider_settings.warnings(job.model) if not job.is_over else [],
        "environments": Environment.objects.filter(project=actor.project).order_by("position"),
        "advice": jobs.estimated(job.training_set, job.model, _given(job)) if job.state == JobState.DRAFT else None,
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


def _given(job: FineTune) -> dict[str, Any]:
    return {name: value for name, value in job.hyperparameters.items() if value is not None}


def _shown(job: FineTune) -> dict[str, Any]:
    points = [Point(row.step, row.values) for row in job.points.order_by("step")]
    thin = curves.thinned(points, POINTS_SHOWN)
    return {
        "job": job,
        "loss": _chart(thin, "loss", "Loss", LOSSES),
        "accuracy": _chart(thin, "accuracy", "Accuracy of the next token", ACCURACIES),
        "events": job.events.order_by("-id")[:EVENTS_SHOWN],
        "checkpoints": job.checkpoints.order_by("step"),
    }


def _chart(points: list[Point], key: str, title: str, names: tuple[tuple[str, str], ...]) -> CurveChart | None:
    series = [(told, [(one.step, one.values[name]) for one in points if name in one.values]) for told, name in names]
    if not any(len(pairs) > 1 for _, pairs in series):
        return None
    return curve_chart(key, title, series, across="step")


@in_project
def job_wait(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    """How a job goes, for a page that waits; when its state changes the page is loaded again."""
    job = jobs.numbered(actor.project, key)
    if job.state != request.GET.get("state"):
        return HttpResponseClientRefresh()
    context = {"project": actor.project, "can": {"edit": actor.may(Right.EDIT)}, **_shown(job)}
    return render(request, "finetunes/_job_progress.html", context)


@in_project
def evaluation_wait(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    """Whether a tuned model is measured, for a page that waits."""
    job = jobs.numbered(actor.project, key)
    model = tuned_models.of(job)
    found = _measured(model)
    if found["evaluations"] and not found["waiting"]:
        return HttpResponseClientRefresh()
    can = {"edit": actor.may(Right.EDIT)}
    context = {"project": actor.project, "can": can, "job": job, "tuned": model, **found}
    return render(request, "finetunes/_evaluations.html", context)


@in_project
@only_post
def job_act(request: HttpRequest, actor: Actor, key: int, verb: str) -> HttpResponse:
    """Submit, cancel or retry."""
    address = page_url("finetunes:job-detail", actor, key)
    try:
        job = jobs.numbered(actor.project, key)
        match verb:
            case "submit":
                jobs.submit(actor, job)
                told = "Submitted. You can leave this page; it goes on by itself."
            case "cancel":
                jobs.cancel(actor, job)
                told = "It is being ended."
            case "retry":
                jobs.retry(actor, job, budget_usd=request.POST.get("budget_usd", "").strip() or None)
                told = "It goes on where it was."
            case _:
                raise Problem("not_found", "There is nothing like that to do.")
    except Problem as problem:
        return refused(request, problem, address)
    start(tasks.advance, key)
    return done(request, told, address)


@in_project
@only_post
def job_deployed(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    address = page_url("finetunes:job-detail", actor, key)
    try:
        model = tuned_models.required(jobs.numbered(actor.project, key))
        tuned_models.deployed(actor, model, request.POST.get("name", ""))
    except Problem as problem:
        return refused(request, problem, address)
    start(tasks.measure, model.pk)
    return done(request, "It is being measured.", address)


@in_project
@only_post
def job_measure(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    """Measure again where an evaluation came to nothing."""
    address = page_url("finetunes:job-detail", actor, key)
    try:
        model = tuned_models.required(jobs.numbered(actor.project, key))
        for run in tuned_models.measure_again(actor, model):
            start(evaluating.drive_run, run.pk)
    except Problem as problem:
        return refused(request, problem, address)
    return done(request, "It is being measured.", address)


@in_project
@only_post
def job_publish(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    try:
        model = tuned_models.required(jobs.numbered(actor.project, key))
        model.project = actor.project
        environment = environments.named(actor.project, request.POST.get("environment", ""))
        published = tuned_models.publish(actor, model, environment, reason=request.POST.get("reason", "").strip())
    except Problem as problem:
        return refused(request, problem, page_url("finetunes:job-detail", actor, key))
    return redirect(reverse("registry:promotion-detail", args=[actor.project.slug, published.promotion_id]))


@in_project
def tuner_panel(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """How a provider tunes, on its page."""
    provider = providers.named(actor.project, name)
    tuner = provider_settings.of(provider)
    models = provider.models.filter(tuned_as=None).order_by("name")[:200]
    context = {
        "project": actor.project,
        "provider": provider,
        "tuner": tuner,
        "dialect": provider_settings.spoken(tuner),
        "dialects": DIALECTS.values(),
        "models": models,
        "prices": [(model, price) for model in models if (price := provider_settings.price_of(model))],
        "can": {"administer": actor.may(Right.ADMINISTER)},
    }
    return render(request, "finetunes/_tuner_panel.html", context)


@in_project
@only_post
def tuner_set(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    provider = providers.named(actor.project, name)
    address = reverse("evaluations:provider-detail", args=[actor.project.slug, name])
    try:
        if request.POST.get("do") == "price":
            model = providers.model_named(actor.project, f"{provider.name}/{request.POST.get('model', '')}")
            given = {one: request.POST.get(one, "") for one in ("training", "tuned_input", "tuned_output")}
            provider_settings.set_price(actor, model, given)
            return done(request, f"Tuning {model.name} costs that from today on.", address)
        secret = request.POST.get("webhook_secret", "").strip()
        provider_settings.set_up(
            actor,
            provider,
            dialect=request.POST.get("dialect") or None,
            max_jobs=whole(request.POST.get("max_jobs", "").strip()) or 0,
            webhook_secret=secret or None,
        )
    except Problem as problem:
        return refused(request, problem, address)
    return done(request, "Kept.", address)
