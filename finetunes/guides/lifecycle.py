"""Guides: what a task is and has to reach. finetunes.guides.steps reads how far it has come."""

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

LONGEST_NAME = 100


@transaction.atomic
def define(actor: Actor, name: str, given: Mapping[str, Any]) -> Guide:
    """Begin a guide, or say more of one that is there: `prompt` and `dataset` by name, `latency_ms`, `quality`,
    `cost_per_call_usd`; what is not given stays, and what is empty is asked for no more."""
    actor.require(Right.EDIT)
    if not is_prompt_name(name) or len(name) > LONGEST_NAME:
        sentence = f"A guide's name is lower-case letters and digits in words joined by . - or _, not {name[:60]!r}."
        raise Problem("guide.invalid", sentence, faults=[Fault("/name", "name", sentence)])
    members = _members(actor.project, given)
    guide = Guide.objects.select_for_update().filter(project=actor.project, name=name).first()
    if guide is None:
        try:
            with transaction.atomic():
                guide = Guide.objects.create(project=actor.project, name=name, by_name=actor.name, **members)
        except IntegrityError:
            raise Problem("guide.invalid", f"Somebody has just begun {name}; look at it.") from None
        audit.record(actor, "guide.begun", guide)
    elif members:
        Guide.objects.filter(pk=guide.pk).update(**members)
        audit.record(actor, "guide.changed", guide, after={key: str(value) for key, value in members.items()})
    return named(actor.project, name)


def _members(project: Project, given: Mapping[str, Any]) -> dict[str, Any]:
    faults: list[Fault] = []
    known = ("prompt", "dataset", "latency_ms", "quality", "cost_per_call_usd")
    members: dict[str, Any] = {name: None for name in known if name in given and given[name] in (None, "")}
    if given.get("prompt"):
        members["prompt"] = prompts.named(project, str(given["prompt"]))
    if given.get("dataset"):
        members["dataset"] = datasets.named(project, str(given["dataset"]))
    for name, most in (("latency_ms", 10_000_000), ("quality", 1)):
        value = given.get(name)
        if value in (None, ""):
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
            faults.append(Fault(f"/{name}", "range", f"Must be a number from 0 to {most:,}."))
        else:
            members[name] = round(value) if name == "latency_ms" else float(value)
    cost = planning.read_budget(given.get("cost_per_call_usd"), faults)
    if cost is not None:
        members["cost_per_call_usd"] = cost
    if faults:
        raise Problem("guide.invalid", faults[0].message, faults=faults)
    return members


def named(project: Project, name: str) -> Guide:
    """The project's guide of that name, or `guide.not_found`."""
    found = loaded().filter(project=project, name=name).first()
    if found is None:
        raise Problem("guide.not_found", f"There is no guide {name[:100]!r}.")
    found.project = project
    if found.prompt:
        found.prompt.project = project
    if found.dataset:
        found.dataset.project = project
    return found


def loaded() -> QuerySet[Guide]:
    return Guide.objects.select_related("project", "prompt__head", "dataset__head").order_by("name")
