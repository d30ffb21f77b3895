"""Pages of cross-validations. A cross-validation is started on the page of its training set."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django_htmx.http import HttpResponseClientRefresh

from core.errors import Problem
from finetunes import tasks
from finetunes.jobs import cross_validation
from finetunes.models import CrossValidation
from finetunes.training_sets import lifecycle as training_sets
from infra.work import start
from registry.accounts.permissions import Actor, Right
from registry.views.frame import done, in_project, only_post, page, page_url, refused, whole


@in_project
@only_post
def cross_validation_new(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    try:
        training_set = training_sets.get_training_set(actor.project, key)
        document = {
            "model": request.POST.get("model", ""),
            "folds": whole(request.POST.get("folds", "").strip()),
            "budget_usd": request.POST.get("budget_usd", "").strip() or None,
        }
        settings = cross_validation.read_request(actor.project, document)
        validation = cross_validation.begin(actor, training_set, **settings)
    except Problem as problem:
        return refused(request, problem, page_url("finetunes:set-detail", actor, key))
    start(tasks.sweep)
    sentence = "Cross-validation started"
    return done(request, sentence, page_url("finetunes:cross-validation-detail", actor, validation.pk))


@in_project
def cross_validation_detail(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    context = _context(cross_validation.get_cross_validation(actor.project, key))
    return page(request, actor, "finetunes/cross_validation_detail.html", {"section": "finetunes", **context})


@in_project
def cross_validation_wait(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    """Show the progress of a cross-validation to a page that waits."""
    validation = cross_validation.get_cross_validation(actor.project, key)
    if validation.is_over:
        return HttpResponseClientRefresh()
    context = {"project": actor.project, "can": {"edit": actor.may(Right.EDIT)}, **_context(validation)}
    return render(request, "finetunes/_folds.html", context)


@in_project
@only_post
def cross_validation_cancel(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    address = page_url("finetunes:cross-validation-detail", actor, key)
    try:
        cross_validation.cancel(actor, cross_validation.get_cross_validation(actor.project, key))
    except Problem as problem:
        return refused(request, problem, address)
    return done(request, "Cancelling", address)


def _context(validation: CrossValidation) -> dict[str, Any]:
    rows = cross_validation.fold_progress(validation)
    return {"validation": validation, "rows": rows, "cost_usd": cross_validation.tuning_cost(rows)}
