"""Settings: the servers that models are asked through."""

import time
from typing import Any

from django.conf import settings
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.dateparse import parse_date
from django_htmx.http import HttpResponseClientRefresh

from core.errors import Problem
from evaluations import tasks
from evaluations.api.providers import with_prices
from evaluations.models import Capability, Provider, ProviderKind
from evaluations.providers import configuration as providers
from evaluations.providers import profiles
from evaluations.providers.presets import PRESETS, PROTOCOLS, get_preset
from infra.work import start
from registry.accounts.permissions import Actor, Right
from registry.views.frame import done, errors_of, in_project, only_post, page, page_url, refused, whole

MAX_WAIT_SECONDS = 150
OWN_KINDS = (ProviderKind.SANDBOX, ProviderKind.LOCAL)
NUMBERS = ("max_concurrency", "requests_per_minute", "tokens_per_minute", "timeout_seconds")
FIELDS = dict.fromkeys(("provider.invalid_name", "provider.name_taken"), "name")
# Archived ones come last.
MODEL_ORDER = (F("archived_at").asc(nulls_first=True), "name")


@in_project
def provider_list(request: HttpRequest, actor: Actor) -> HttpResponse:
    preset_name = request.GET.get("preset", "")
    preset = get_preset(preset_name)
    kind = preset_name if preset_name in OWN_KINDS else ProviderKind.REMOTE
    is_own = kind != ProviderKind.REMOTE
    values = {
        "name": preset_name if preset and preset_name != "other" else "",
        "base_url": "",
        "protocol": "",
        "model": "",
    }
    if preset:
        values |= {"base_url": preset.base_url, "protocol": preset.protocol}
    context: dict[str, Any] = {
        "section": "settings",
        "tab": "providers",
        "presets": PRESETS,
        "preset": preset,
        "kind": kind,
        "is_own": is_own,
        "has_local_engine": bool(settings.LOCAL_URL),
        "protocols": PROTOCOLS.items(),
        "address_hint": "fill in what stands in braces" if preset and "{" in preset.base_url else "",
        "values": {**values, "name": kind if is_own else values["name"]},
    }
    status = 200
    if request.method == "POST":
        typed = {name: request.POST.get(name, "").strip()[:2_000] for name in values}
        try:
            provider = providers.create(
                actor,
                name=typed["name"],
                base_url="" if is_own else typed["base_url"],
                key=request.POST.get("key", ""),
                kind=kind,
                preset=preset_name if preset else "",
                **({"protocol": typed["protocol"]} if typed["protocol"] else {}),
            )
            if typed["model"]:
                providers.add_model(actor, provider, typed["model"])
        except Problem as problem:
            context |= {"values": typed, "errors": errors_of(problem, FIELDS)}
            status = problem.kind.status
        else:
            start(tasks.try_provider, provider.pk, typed["model"])
            address = page_url("evaluations:provider-detail", actor, provider.name)
            return done(request, f"Provider {provider.name} added; it is being tested", f"{address}?tested=1")
    context["rows"] = Provider.objects.filter(project=actor.project)
    return page(request, actor, "evaluations/providers/provider_list.html", context, status=status)


@in_project
def provider_detail(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    provider = providers.get_provider(actor.project, name)
    fields = ("base_url", "protocol", "capabilities", *NUMBERS)
    values: dict[str, Any] = {field: getattr(provider, field) for field in fields}
    context: dict[str, Any] = {
        "section": "settings",
        "tab": "providers",
        "provider": provider,
        "capabilities": Capability.choices,
        "protocols": PROTOCOLS.items(),
        "models": [(model, profiles.end_of(model)) for model in with_prices(provider.models.order_by(*MODEL_ORDER))],
        "values": values,
        "waits": request.GET.get("tested") == "1",
        "waiting_since": int(time.time()),
    }
    if request.method != "POST":
        return page(request, actor, "evaluations/providers/provider_detail.html", context)
    typed = {field: request.POST.get(field, "").strip() for field in ("base_url", *NUMBERS)}
    settings: dict[str, Any] = {field: whole(typed[field]) if typed[field] else None for field in NUMBERS}
    settings |= {"base_url": typed["base_url"], "capabilities": request.POST.getlist("capabilities")}
    if provider.kind == ProviderKind.REMOTE:
        settings["protocol"] = typed["protocol"] = request.POST.get("protocol", "")
    try:
        providers.change(actor, provider, key=request.POST.get("key") or None, **settings)
    except Problem as problem:
        context |= {"values": {**typed, "capabilities": settings["capabilities"]}, "errors": errors_of(problem)}
        return page(request, actor, "evaluations/providers/provider_detail.html", context, status=problem.kind.status)
    return done(request, "Provider saved", page_url("evaluations:provider-detail", actor, name))


@in_project
@only_post
def provider_test(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """Have a worker test the provider."""
    provider = providers.get_provider(actor.project, name)
    actor.require(Right.ADMINISTER)
    Provider.objects.filter(pk=provider.pk).update(tested_at=None, test_passed=None, test_result="")
    start(tasks.try_provider, provider.pk, request.POST.get("model", "")[:200])
    return done(request, "Test started", f"{page_url('evaluations:provider-detail', actor, name)}?tested=1")


@in_project
def provider_wait(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    provider = providers.get_provider(actor.project, name)
    if provider.tested_at:
        return HttpResponseClientRefresh()
    since = whole(request.GET.get("since", "")) or int(time.time())
    context = {"project": actor.project, "provider": provider, "waiting_since": since}
    # Longer than the task may take: no worker is at it any more, or none began.
    context["is_lost"] = time.time() - since > MAX_WAIT_SECONDS
    return render(request, "evaluations/providers/_wait.html", context)


@in_project
@only_post
def provider_end(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """Archive or restore the provider."""
    provider = providers.get_provider(actor.project, name)
    is_restored = request.POST.get("do") == "restore"
    (providers.restore if is_restored else providers.archive)(actor, provider)
    sentence = "Provider restored; enter its key" if is_restored else "Provider archived; its key is deleted"
    return done(request, sentence, page_url("evaluations:provider-detail", actor, name))


@in_project
@only_post
def model_new(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    provider = providers.get_provider(actor.project, name)
    model_name = request.POST.get("name", "").strip()
    is_there = provider.models.filter(name=model_name, archived_at=None).exists()
    try:
        model = providers.add_model(actor, provider, model_name)
    except Problem as problem:
        return refused(request, problem, page_url("evaluations:provider-detail", actor, name))
    sentence = f"{model.name} is there already" if is_there else f"Model {model.name} added"
    return done(request, sentence, page_url("evaluations:provider-detail", actor, name))


@in_project
@only_post
def model_price(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    typed = {field: request.POST.get(field, "").strip() for field in ("input", "cached_input", "cache_write", "output")}
    try:
        model = providers.get_model(actor.project, f"{name}/{request.POST.get('model', '')}")
        providers.set_price(actor, model, typed, valid_from=parse_date(request.POST.get("valid_from", "")))
    except Problem as problem:
        return refused(request, problem, page_url("evaluations:provider-detail", actor, name))
    except ValueError:
        return refused(
            request,
            Problem("request.invalid", "There is no such date."),
            page_url("evaluations:provider-detail", actor, name),
        )
    return done(request, f"Price of {model.name} saved", page_url("evaluations:provider-detail", actor, name))
