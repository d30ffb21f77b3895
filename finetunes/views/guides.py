"""Pages of guides: the list, and one task's steps with their facts."""

from typing import Any

from django.http import HttpRequest, HttpResponse

from core.errors import Problem
from evaluations.models import Dataset
from finetunes.guides import lifecycle as guides
from finetunes.guides.steps import steps_for_guide
from finetunes.presentation import step_rows
from registry.accounts.permissions import Actor
from registry.models import Prompt
from registry.views.frame import decimal, done, errors_of, in_project, page, page_url

FIELDS = ("name", "prompt", "dataset", "latency_ms", "quality", "cost_per_call_usd")
DOMAIN_FIELDS = {"prompt.not_found": "prompt", "dataset.not_found": "dataset"}
MAX_GUIDES_SHOWN = 100


def _typed(values: dict[str, str]) -> dict[str, Any]:
    """Return what was typed; an empty field is no target."""
    document: dict[str, Any] = dict(values)
    for name in ("latency_ms", "quality", "cost_per_call_usd"):
        number = decimal(values[name]) if values[name] else None
        document[name] = values[name] if values[name] and number is None else number
    return document


def _offered(actor: Actor) -> dict[str, Any]:
    return {
        "prompts": Prompt.objects.filter(project=actor.project, archived_at=None).order_by("name")[:500],
        "datasets": Dataset.objects.filter(project=actor.project, archived_at=None).order_by("name")[:500],
    }


@in_project
def guide_list(request: HttpRequest, actor: Actor) -> HttpResponse:
    """List the guides. With POST, create one."""
    context: dict[str, Any] = {"section": "strategy", "values": {}}
    status = 200
    if request.method == "POST":
        values = {name: request.POST.get(name, "")[:200].strip() for name in FIELDS}
        try:
            guide = guides.define(actor, values["name"], _typed(values))
            sentence = f"Guide {guide.name} created"
            return done(request, sentence, page_url("finetunes:guide-detail", actor, guide.name))
        except Problem as problem:
            context |= {"values": values, "errors": errors_of(problem, DOMAIN_FIELDS)}
            status = problem.kind.status
    context |= {
        "rows": guides.guides_with_related().filter(project=actor.project)[:MAX_GUIDES_SHOWN],
        **_offered(actor),
    }
    return page(request, actor, "finetunes/guide_list.html", context, status=status)


@in_project
def guide_detail(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """Show the steps of a task. With POST, change its definition."""
    guide = guides.get_guide(actor.project, name)
    values = {
        "prompt": guide.prompt.name if guide.prompt else "",
        "dataset": guide.dataset.name if guide.dataset else "",
        "latency_ms": "" if guide.latency_ms is None else str(guide.latency_ms),
        "quality": "" if guide.quality is None else f"{guide.quality:g}",
        "cost_per_call_usd": "" if guide.cost_per_call_usd is None else f"{guide.cost_per_call_usd.normalize():f}",
    }
    context: dict[str, Any] = {"section": "strategy", "guide": guide, "values": values}
    status = 200
    if request.method == "POST":
        values = {field: request.POST.get(field, "")[:200].strip() for field in FIELDS if field != "name"}
        try:
            guides.define(actor, name, _typed(values))
            return done(request, "Guide saved", page_url("finetunes:guide-detail", actor, name))
        except Problem as problem:
            context |= {"values": values, "errors": errors_of(problem, DOMAIN_FIELDS)}
            status = problem.kind.status
    context |= {"steps": step_rows(steps_for_guide(guide), actor.project.slug), **_offered(actor)}
    return page(request, actor, "finetunes/guide_detail.html", context, status=status)
