"""Panels on a prompt's page: what was measured on its versions, and what services report."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from evaluations import live, monitors
from evaluations.models import MonitorState
from evaluations.views.runs import of_prompt
from registry import listing, prompts
from registry.access import Actor, Right
from registry.views.frame import in_project

VERSIONS_SHOWN = 10


@in_project
def prompt_panel(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    prompt = prompts.named(actor.project, name)
    versions = list(prompt.versions.defer("content").order_by("-number")[: 5 * VERSIONS_SHOWN])
    found = listing.check_summaries(actor.project, [version.content_hash for version in versions])
    rows = [(version, found[version.content_hash]) for version in versions if version.content_hash in found]
    context = {
        "project": actor.project,
        "prompt": prompt,
        "rows": rows[:VERSIONS_SHOWN],
        "runs": of_prompt(prompt, VERSIONS_SHOWN),
        "can": {"edit": actor.may(Right.EDIT)},
    }
    return render(request, "evaluations/_prompt_panel.html", context)


@in_project
def usage_panel(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """What its live calls came to in the last days, and what is out of bounds."""
    prompt = prompts.named(actor.project, name)
    found = live.of_prompt(prompt)
    total = found.total
    alerts = monitors.in_use().filter(prompt=prompt, state=MonitorState.ALERT)
    context = {
        "project": actor.project,
        "prompt": prompt,
        "live": found,
        "total": total,
        "median": total.latency(0.5),
        "slowest": total.latency(0.99),
        "tokens_a_month": found.tokens_a_month(),
        "alerts": [(one, monitors.WATCHED[one.figure]) for one in alerts],
    }
    return render(request, "evaluations/_usage_panel.html", context)
