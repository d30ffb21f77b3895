"""The panel on a prompt's page of what services report."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from inference.models import MonitorState
from inference.monitoring import monitors, usage
from registry.accounts.permissions import Actor
from registry.prompts import lifecycle as prompts
from registry.views.frame import in_project


@in_project
def usage_panel(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """What its live calls came to in the last days, and what is out of bounds."""
    prompt = prompts.get_prompt(actor.project, name)
    found = usage.usage_of_prompt(prompt)
    total = found.total
    alerts = monitors.active_monitors().filter(prompt=prompt, state=MonitorState.ALERT)
    context = {
        "project": actor.project,
        "prompt": prompt,
        "live": found,
        "total": total,
        "median": total.latency(0.5),
        "slowest": total.latency(0.99),
        "tokens_a_month": found.tokens_a_month(),
        "alerts": [(one, monitors.MONITOR_FIGURES[one.figure]) for one in alerts],
    }
    return render(request, "inference/_usage_panel.html", context)
