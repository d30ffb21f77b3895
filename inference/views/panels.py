"""The panel on a prompt's page with its usage."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from inference.experiments import runs
from inference.models import MonitorState
from inference.monitoring import monitors, usage
from inference.monitoring.figures import MONITOR_FIGURES
from registry.accounts.permissions import Actor
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
