"""The panel on a prompt's page with the evaluations and checks of its versions."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from evaluations.views.runs import newest_runs
from registry.accounts.permissions import Actor, Right
from registry.prompts import lifecycle as prompts
from registry.prompts import listing
from registry.views.frame import in_project

MAX_VERSIONS_SHOWN = 10


@in_project
def prompt_panel(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    prompt = prompts.get_prompt(actor.project, name)
    versions = list(prompt.versions.defer("content").order_by("-number")[: 5 * MAX_VERSIONS_SHOWN])
    for version in versions:
        version.prompt = prompt
    checks = listing.check_summaries(versions)
    rows = [(version, checks[version.pk]) for version in versions if version.pk in checks]
    context = {
        "project": actor.project,
        "prompt": prompt,
        "rows": rows[:MAX_VERSIONS_SHOWN],
        "runs": newest_runs(prompt, MAX_VERSIONS_SHOWN),
        "can": {"edit": actor.may(Right.EDIT)},
    }
    return render(request, "evaluations/_prompt_panel.html", context)
