"""Pages and things of live traffic for the command palette."""

from collections.abc import Iterable

from inference.models import Experiment, InferenceConfig
from registry.accounts.permissions import Actor, Right
from registry.views.frame import page_url
from registry.views.palette import MAX_OF_A_KIND, Place


def places(actor: Actor) -> Iterable[Place]:
    yield Place("Experiments", page_url("inference:experiment-list", actor), "a/b tests arms ramp guardrails")
    yield Place("Inference configs", page_url("inference:config-list", actor), "strategy tasks routing")
    if actor.may(Right.EDIT):
        yield Place("Texts of calls", page_url("inference:text-list", actor), "questions answers kept")


def find(actor: Actor, text: str) -> Iterable[Place]:
    rows = InferenceConfig.objects.filter(project=actor.project, task__icontains=text).order_by("task")
    for config in rows[:MAX_OF_A_KIND]:
        yield Place(config.task, page_url("inference:config-detail", actor, config.task), kind="inference config")
    named = Experiment.objects.filter(project=actor.project, name__icontains=text).order_by("name")
    for experiment in named[:MAX_OF_A_KIND]:
        yield Place(experiment.name, page_url("inference:experiment-detail", actor, experiment.name), kind="experiment")
