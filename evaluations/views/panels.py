"""The panel on a prompt's page of what was measured on its versions."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from evaluations.views.runs import of_prompt
from registry.accounts.permissions import Actor, Right
from registry.prompts import lifecycle as prompts
from registry.prompts import listing
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
