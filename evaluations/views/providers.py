"""Settings: the servers that models are asked through."""

import time
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.dateparse import parse_date
from django_htmx.http import HttpResponseClientRefresh

from core.errors import Problem
from evaluations import tasks
from evaluations.api.providers import with_prices
from evaluations.models import Capability, Provider
from evaluations.providers import configuration as providers
from infra.work import start
from registry.accounts.permissions import Actor, Right
from registry.views.frame import done, errors_of, in_project, only_post, page, page_url, refused, whole

LOST_SECONDS = 150
NUMBERS = ("max_concurrency", "requests_per_minute", "tokens_per_minute", "timeout_seconds")
FIELDS = dict.fromkeys(("provider.invalid_name", "provider.name_taken"), "name")


@in_project
def provider_list(request: HttpRequest, actor: Actor) -> HttpResponse:
    values = {name: request.POST.get(name, "").strip()[:2_000] for name in ("name", "base_url")}
    context: dict[str, Any] = {"section": "settings", "tab": "providers", "values": values}
    status = 200
    if request.method == "POST":
        simulated = request.POST.get("kind") == "sandbox"
        try:
            made = providers.create(
                actor,
                name=values["name"],
                base_url="" if simulated else values["base_url"],
                key=request.POST.get("key", ""),
                is_simulation=simulated,
            )
        except Problem as problem:
            context["errors"], status = errors_of(problem, FIELDS), problem.kind.status
        else:
            start(tasks.try_provider, made.pk, "")
            return done(
                request,
                f"{made.name} is there, and is being asked.",
                page_url("evaluations:provider-detail", actor, made.name),
            )
    context["rows"] = Provider.objects.filter(project=actor.project)
    return page(request, actor, "evaluations/providers/provider_list.html", context, status=status)


@in_project
def provider_detail(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    provider = providers.get_provider(actor.project, name)
    values: dict[str, Any] = {field: getattr(provider, field) for field in ("base_url", "capabilities", *NUMBERS)}
    context: dict[str, Any] = {
        "section": "settings",
        "tab": "providers",
        "provider": provider,
        "capabilities": Capability.choices,
        "models": list(with_prices(provider.models.all())),
        "values": values,
        "waits": request.GET.get("tested") == "1",
        "waiting_since": int(time.time()),
    }
    if request.method != "POST":
        return page(request, actor, "evaluations/providers/provider_detail.html", context)
    typed = {field: request.POST.get(field, "").strip() for field in ("base_url", *NUMBERS)}
    given: dict[str, Any] = {field: whole(typed[field]) if typed[field] else None for field in NUMBERS}
    given |= {"base_url": typed["base_url"], "capabilities": request.POST.getlist("capabilities")}
    try:
        providers.change(actor, provider, key=request.POST.get("key") or None, **given)
    except Problem as problem:
        context |= {"values": {**typed, "capabilities": given["capabilities"]}, "errors": errors_of(problem)}
        return page(request, actor, "evaluations/providers/provider_detail.html", context, status=problem.kind.status)
    return done(request, "The settings are saved.", page_url("evaluations:provider-detail", actor, name))


@in_project
@only_post
def provider_test(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """Have a worker ask it."""
    provider = providers.get_provider(actor.project, name)
    actor.require(Right.ADMINISTER)
    Provider.objects.filter(pk=provider.pk).update(tested_at=None, test_passed=None, test_result="")
    start(tasks.try_provider, provider.pk, request.POST.get("model", "")[:200])
    return done(request, "A worker asks it now.", f"{page_url('evaluations:provider-detail', actor, name)}?tested=1")


@in_project
def provider_wait(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    provider = providers.get_provider(actor.project, name)
    if provider.tested_at:
        return HttpResponseClientRefresh()
    since = whole(request.GET.get("since", "")) or int(time.time())
    context = {"project": actor.project, "provider": provider, "waiting_since": since}
    # Longer than the task may take: nobody is at it any more, or nobody began.
    context["is_lost"] = time.time() - since > LOST_SECONDS
    return render(request, "evaluations/providers/_wait.html", context)


@in_project
@only_post
def provider_end(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """Archive it, or bring it back."""
    provider = providers.get_provider(actor.project, name)
    is_back = request.POST.get("do") == "restore"
    (providers.restore if is_back else providers.archive)(actor, provider)
    said = "It is back; enter its key." if is_back else "It is archived, and its key is forgotten."
    return done(request, said, page_url("evaluations:provider-detail", actor, name))


@in_project
@only_post
def model_new(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    provider = providers.get_provider(actor.project, name)
    try:
        made = providers.add_model(actor, provider, request.POST.get("name", ""))
    except Problem as problem:
        return refused(request, problem, page_url("evaluations:provider-detail", actor, name))
    return done(request, f"{made.name} is there.", page_url("evaluations:provider-detail", actor, name))


@in_project
@only_post
def model_price(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    typed = {field: request.POST.get(field, "").strip() for field in ("input", "cached_input", "output")}
    try:
        model = providers.get_model(actor.project, f"{name}/{request.POST.get('model', '')}")
        providers.set_price(actor, model, typed, valid_from=parse_date(request.POST.get("valid_from", "")))
    except Problem as problem:
        return refused(request, problem, page_url("evaluations:provider-detail", actor, name))
    except ValueError:
        return refused(
            request,
            Problem("request.invalid", "There is no such day."),
            page_url("evaluations:provider-detail", actor, name),
        )
    return done(request, f"{model.name} has its price.", page_url("evaluations:provider-detail", actor, name))
