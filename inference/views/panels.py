"""Panels on pages of prompts and promotions: usage, and what a release has to do with experiments."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from inference.experiments import lifecycle, runs
from inference.models import Experiment, MonitorState
from inference.monitoring import monitors, usage
from inference.monitoring.figures import MONITOR_FIGURES
from registry.accounts.permissions import Actor
from registry.models import UNDECIDED, PromptVersion
from registry.promotions import workflow
from registry.prompts import lifecycle as prompts
from registry.views.frame import in_project


@in_project
def usage_panel(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """Show the usage of the last days, and breached monitors."""
    prompt = prompts.get_prompt(actor.project, name)
    live = usage.usage_of_prompt(prompt)
    total = live.total
    alerts = monitors.active_monitors().filter(prompt=prompt, state=MonitorState.ALERT)
    context = {
        "project": actor.project,
        "prompt": prompt,
        "live": live,
        "total": total,
        "median": total.latency(0.5),
        "slowest": total.latency(0.99),
        "tokens_a_month": live.tokens_a_month(),
        "experiments": runs.running(prompt=prompt),
        "alerts": [(monitor, MONITOR_FIGURES[monitor.figure]) for monitor in alerts],
    }
    return render(request, "inference/_usage_panel.html", context)


@in_project
def promotion_panel(request: HttpRequest, actor: Actor, number: int) -> HttpResponse:
    """Show what a promotion has to do with an experiment: its version is an arm, or the experiment itself, or a release
    ends one. Where it is nothing, there is no panel."""
    promotion = workflow.get_promotion(actor.project, number)
    of_prompt = runs.runs_of(actor.project).filter(prompt=promotion.prompt, environment=promotion.environment)
    # Of several, the one that goes on.
    with_version = of_prompt.filter(arms__version=promotion.version)
    run = with_version.filter(ended_at=None).first()
    run = run or (None if of_prompt.filter(ended_at=None).exists() else with_version.first())
    arm = next((arm for arm in run.arms.all() if arm.version_id == promotion.version_id), None) if run else None
    if arm is None:
        run = of_prompt.filter(ended_at=None).first()
    experiment = Experiment.objects.filter(holder=promotion.prompt).select_related("prompt").first()
    if run is None and experiment is None:
        return HttpResponse()
    judged = [each for each in run.figures.get("verdicts", ()) if arm and each["arm"] == arm.name] if run else []
    context = {
        "project": actor.project,
        "promotion": promotion,
        "is_held_by_this": promotion.environment.approvals_needed > 0,
        "is_undecided": promotion.status in UNDECIDED,
        "run": run,
        "arm": arm,
        "sentences": [each["sentence"] for each in judged],
        "experiment": experiment,
        **(_content_of(experiment, promotion.version) if experiment else {}),
        "runs": runs.runs_of(actor.project).filter(release__promotion=promotion) if experiment else (),
    }
    return render(request, "inference/_promotion_panel.html", context)


def _content_of(experiment: Experiment, version: PromptVersion) -> dict[str, Any]:
    """Return an experiment's record, with the numbers of its versions: the baseline's, and of each arm with its
    weight."""
    record = lifecycle.readable_record(version)
    if record is None:
        return {"record": None}
    numbers = lifecycle.version_numbers(experiment)
    return {
        "record": record,
        "baseline": numbers.get(record.baseline),
        "arms": [(numbers.get(arm.version), arm.weight) for arm in record.arms],
        "shadow": numbers.get(record.shadow.version) if record.shadow else None,
    }
