"""The panel on a prompt's page with its size against the budget, over which fine-tuning may pay."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from core.errors import Problem
from core.references import DEFAULT_ENVIRONMENT
from finetunes.jobs import tuned_models
from registry.accounts.permissions import Actor, Right
from registry.content import lint
from registry.models import Release
from registry.prompts import lifecycle as prompts
from registry.views.frame import in_project


@in_project
def prompt_panel(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """Show the size of the live version in production, else of the newest version."""
    prompt = prompts.get_prompt(actor.project, name)
    live = Release.objects.filter(prompt=prompt, environment__name=DEFAULT_ENVIRONMENT).select_related("version")
    release = live.order_by("-number").first()
    version = release.version if release else prompt.head
    if version is None:
        raise Problem("prompt.no_versions", f"{name} has no version yet.")
    examples = lint.Subject(version.content, frozenset(), version.tokens).example_count
    newest = (
        tuned_models.tuned_models_with_related()
        .filter(job__training_set__source__prompt=prompt)
        .order_by("-id")
        .first()
    )
    context = {
        "project": actor.project,
        "prompt": prompt,
        "version": version,
        "tokens_limit": lint.BLOATED_TOKENS,
        "examples": examples,
        "examples_limit": lint.BLOATED_EXAMPLES,
        "over_tokens": version.tokens > lint.BLOATED_TOKENS,
        "over_examples": examples > lint.BLOATED_EXAMPLES,
        "tuned": newest,
        "stale": tuned_models.retuning_reasons(newest) if newest else [],
        "can": {"edit": actor.may(Right.EDIT)},
    }
    return render(request, "finetunes/_prompt_panel.html", context)
