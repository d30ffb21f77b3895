"""Guides: the definition and the targets of a task. finetunes.guides.steps reads how far it has come."""

from collections.abc import Mapping
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from core.errors import Fault, Problem
from core.references import is_prompt_name
from evaluations.datasets import lifecycle as datasets
from evaluations.runs import planning
from finetunes.models import Guide
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.models import Project
from registry.prompts import lifecycle as prompts

MAX_NAME_LENGTH = 100


@transaction.atomic
def define(actor: Actor, name: str, document: Mapping[str, Any]) -> Guide:
    """Create a guide, or change an existing one: `prompt` and `dataset` by name, `latency_ms`, `quality`,
    `cost_per_call_usd`. Missing members stay as they are; empty ones are removed."""
    actor.require(Right.EDIT)
    if not is_prompt_name(name) or len(name) > MAX_NAME_LENGTH:
        sentence = f"A guide's name is lower-case letters and digits in words joined by . - or _, not {name[:60]!r}."
        raise Problem("guide.invalid", sentence, faults=[Fault("/name", "name", sentence)])
    members = _read_members(actor.project, document)
    guide = Guide.objects.select_for_update().filter(project=actor.project, name=name).first()
    if guide is None:
        try:
            with transaction.atomic():
                guide = Guide.objects.create(project=actor.project, name=name, by_name=actor.name, **members)
        except IntegrityError:
            raise Problem("guide.invalid", f"Another user has just created {name}; review it first.") from None
        audit.record(actor, "guide.begun", guide)
    elif members:
        Guide.objects.filter(pk=guide.pk).update(**members)
        audit.record(actor, "guide.changed", guide, after={key: str(value) for key, value in members.items()})
    return get_guide(actor.project, name)


def _read_members(project: Project, document: Mapping[str, Any]) -> dict[str, Any]:
    faults: list[Fault] = []
    names = ("prompt", "dataset", "latency_ms", "quality", "cost_per_call_usd")
    members: dict[str, Any] = {name: None for name in names if name in document and document[name] in (None, "")}
    if document.get("prompt"):
        members["prompt"] = prompts.get_prompt(project, str(document["prompt"]))
    if document.get("dataset"):
        members["dataset"] = datasets.get_dataset(project, str(document["dataset"]))
    for name, maximum in (("latency_ms", 10_000_000), ("quality", 1)):
        value = document.get(name)
        if value in (None, ""):
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= maximum:
            faults.append(Fault(f"/{name}", "range", f"Must be a number from 0 to {maximum:,}."))
        else:
            members[name] = round(value) if name == "latency_ms" else float(value)
    cost = planning.read_budget(document.get("cost_per_call_usd"), faults)
    if cost is not None:
        members["cost_per_call_usd"] = cost
    if faults:
        raise Problem("guide.invalid", faults[0].message, faults=faults)
    return members


def get_guide(project: Project, name: str) -> Guide:
    """Return the project's guide of that name, or raise `guide.not_found`."""
    guide = guides_with_related().filter(project=project, name=name).first()
    if guide is None:
        raise Problem("guide.not_found", f"There is no guide {name[:100]!r}.")
    guide.project = project
    if guide.prompt:
        guide.prompt.project = project
    if guide.dataset:
        guide.dataset.project = project
    return guide


def guides_with_related() -> QuerySet[Guide]:
    return Guide.objects.select_related("project", "prompt__head", "dataset__head").order_by("name")
