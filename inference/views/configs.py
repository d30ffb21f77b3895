"""Pages of inference configs: the list, and one task's config with its versions and a form for the next one."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.conf import settings
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from core.errors import Problem
from core.references import DEFAULT_ENVIRONMENT
from inference.configs import lifecycle as configs
from inference.configs import record as inference
from inference.gateway import plans
from inference.gateway.programs import programs
from inference.gateway.request_reading import TASK, Target
from inference.models import InferenceConfig
from inference.usage.task_usage import usage_of_task
from registry.accounts.permissions import Actor
from registry.models import Collection, Environment, Project, Prompt, PromptVersion, Release
from registry.promotions import environments
from registry.prompts import lifecycle as prompts
from registry.views.frame import (
    PAGE_SIZE,
    decimal,
    done,
    errors_of,
    in_project,
    only_post,
    page,
    page_url,
    refused,
    whole,
)

FIELDS = ("task", *inference.MEMBERS, "fallback_prompt", "fallback_model", "message")
MAX_VERSIONS_SHOWN = 20
SAVED = "Config saved. Request a promotion to release it."


@in_project
def config_list(request: HttpRequest, actor: Actor) -> HttpResponse:
    """List all configs with their live versions. With POST, create one."""
    values: dict[str, str] = {"strategy": "prompt", "response_format": "text"}
    context: dict[str, Any] = {"section": "strategy"}
    status = 200
    if request.method == "POST":
        values = {name: request.POST.get(name, "")[:500].strip() for name in FIELDS}
        try:
            config, _ = configs.commit(actor, values["task"], _document(values), message=values["message"])
            return done(
                request,
                SAVED,
                page_url("inference:config-detail", actor, config.task),
            )
        except Problem as problem:
            context["errors"] = errors_of(problem, {"prompt.invalid_name": "task"})
            status = problem.kind.status
    every = configs.configs_with_related().filter(project=actor.project)
    configs_page = Paginator(every, PAGE_SIZE).get_page(request.GET.get("page"))
    live = _live([row.holder_id for row in configs_page])
    context |= {
        "page": configs_page,
        "rows": [(row, list(live.get(row.holder_id, {}).items())) for row in configs_page],
        "values": values,
        **_offered(actor.project, values),
    }
    return page(request, actor, "inference/config_list.html", context, status=status)


def _live(holders: list[int]) -> dict[int, dict[str, int]]:
    """Return the live version of each holder, by environment."""
    rows = Release.objects.filter(prompt__in=holders).order_by("prompt_id", "environment_id", "-number")
    newest = rows.distinct("prompt_id", "environment_id").values_list("prompt", "environment__name", "version__number")
    live: dict[int, dict[str, int]] = {}
    for holder, name, number in newest:
        live.setdefault(holder, {})[name] = number
    return live


def _offered(project: Project, values: Mapping[str, str]) -> dict[str, Any]:
    """Return what the form offers to choose from; a collection that a config names stays, also where it is gone."""
    names = Collection.objects.filter(project=project, archived_at=None).order_by("name").values_list("name", flat=True)
    collections = sorted({*names, *filter(None, [values.get("retrieval")])})
    return {"strategies": inference.STRATEGIES, "formats": inference.FORMATS, "collections": collections}


@in_project
def config_detail(request: HttpRequest, actor: Actor, task: str) -> HttpResponse:
    """Show the config of a task. With POST, save its next version."""
    config = configs.get_config(actor.project, task)
    context: dict[str, Any] = {"section": "strategy"}
    status = 200
    versions = [
        (version, _record(version)) for version in config.holder.versions.order_by("-number")[:MAX_VERSIONS_SHOWN]
    ]
    newest = next((record for _, record in versions if record), None)
    values = _values(newest) if newest else {"strategy": "prompt", "response_format": "text"}
    if request.method == "POST":
        values = {name: request.POST.get(name, "")[:500].strip() for name in FIELDS}
        try:
            configs.commit(actor, task, _document(values), message=values["message"])
            return done(request, SAVED, page_url("inference:config-detail", actor, task))
        except Problem as problem:
            context["errors"] = errors_of(problem)
            status = problem.kind.status
    live = _live([config.holder_id]).get(config.holder_id, {})
    usage = usage_of_task(actor.project, list(config.holder.versions.values_list("content_hash", flat=True)))
    context |= {
        "config": config,
        "versions": versions,
        "live": live,
        "environments": Environment.objects.filter(project=actor.project).order_by("position"),
        "prompts": Prompt.objects.filter(project=actor.project, archived_at=None)
        .exclude(tags__contains=[configs.TAG])
        .order_by("name")[:500],
        "values": values,
        "usage": usage,
        "has_simulation": any(row.is_simulation for row in usage),
        **_offered(actor.project, values),
        **_service(actor.project, task, live),
    }
    return page(request, actor, "inference/config_detail.html", context, status=status)


def _record(version: PromptVersion) -> inference.Record | None:
    """Read the record of a version; None where it was edited by hand into something else."""
    try:
        return configs.read_config_version(version).record
    except Problem:
        return None


def _values(record: inference.Record) -> dict[str, str]:
    return {
        "strategy": record.strategy,
        "model": record.model,
        "prompt": record.prompt,
        "max_tokens": "" if record.max_tokens is None else str(record.max_tokens),
        "temperature": "" if record.temperature is None else f"{record.temperature:g}",
        "response_format": record.response_format,
        "retrieval": record.collection,
        "input": record.input,
        "fallback_prompt": (record.fallback or {}).get("prompt", ""),
        "fallback_model": (record.fallback or {}).get("model", ""),
        "timeout_seconds": "" if record.timeout_seconds is None else f"{record.timeout_seconds:g}",
        "cache_seconds": "" if record.cache_seconds is None else str(record.cache_seconds),
        "repair": "on" if record.repair else "",
    }


def _document(values: dict[str, str]) -> dict[str, Any]:
    """Return what was typed as a document of the API."""
    document: dict[str, Any] = {name: values[name] for name in ("strategy", "model", "prompt", "response_format")}
    # What is no number goes on as it was typed, and is refused by its name.
    for name, read in (
        *(("max_tokens", whole), ("cache_seconds", whole)),
        *(("temperature", decimal), ("timeout_seconds", decimal)),
    ):
        if values[name]:
            number = read(values[name])
            document[name] = values[name] if number is None else number
    if values["repair"]:
        document["repair"] = True
    if values["retrieval"]:
        document["retrieval"] = {"collection": values["retrieval"]}
    if values["input"]:
        document["input"] = values["input"]
    if values["fallback_prompt"] or values["fallback_model"]:
        document["fallback"] = {"prompt": values["fallback_prompt"], "model": values["fallback_model"]}
    return document


def _service(project: Project, task: str, live: Iterable[str]) -> dict[str, Any]:
    """Return how the inference service answers for a task where it is live, or would answer by its newest version:
    programs that ask for it, what it does without, and why it would refuse."""
    environment = min(live, key=lambda name: (name != DEFAULT_ENVIRONMENT, name), default="")
    selector = environment or "latest"
    try:
        plan = plans.read_plan(project, Target(TASK, task, selector))
    except Problem as problem:
        return {"snippets": [], "refusal": problem, "asked_environment": environment}
    model = f"{TASK}{task}" if environment in ("", DEFAULT_ENVIRONMENT) else f"{TASK}{task}@{environment}"
    address = settings.GATEWAY_URL or "https://the-inference-service"
    names = sorted(plan.route.variables - {plan.route.places.history})
    return {
        "snippets": programs(address, model, plan.route.places.question, names),
        "plan": plan,
        "asked_environment": environment,
    }


@in_project
@only_post
def config_propose(request: HttpRequest, actor: Actor, task: str) -> HttpResponse:
    try:
        config = configs.get_config(actor.project, task)
        environment = environments.get_environment(actor.project, request.POST.get("environment", ""))
        promotion = configs.propose(actor, config, environment, reason=request.POST.get("reason", "").strip())
    except Problem as problem:
        return refused(request, problem, page_url("inference:config-detail", actor, task))
    return redirect(reverse("registry:promotion-detail", args=[actor.project.slug, promotion.pk]))


@in_project
@only_post
def config_follow(request: HttpRequest, actor: Actor, task: str) -> HttpResponse:
    address = page_url("inference:config-detail", actor, task)
    try:
        config: InferenceConfig = configs.get_config(actor.project, task)
        name = request.POST.get("prompt", "")
        configs.follow(actor, config, prompts.get_prompt(actor.project, name) if name else None)
    except Problem as problem:
        return refused(request, problem, address)
    return done(request, "Config saved", address)
