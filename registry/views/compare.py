"""Comparison of two versions of a prompt, in one column or two; its address can be shared."""

from django.http import HttpRequest, HttpResponse

from core.references import Reference, parse_selector
from registry.accounts.permissions import Actor
from registry.content import diff_view
from registry.prompts import lifecycle as prompts
from registry.prompts import resolution
from registry.views.frame import in_project, page
from registry.views.prompts import heading

# Versions in the two menus; an older one can be named in the address.
MAX_VERSIONS_OFFERED = 200


@in_project
def prompt_compare(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    prompt = prompts.get_prompt(actor.project, name)
    newest = prompt.head.number if prompt.head else 1
    defaults = {"from": str(max(1, newest - 1)), "to": str(newest)}
    old, new = (
        resolution.resolve(actor.project, Reference(name, parse_selector(request.GET.get(member) or default)))
        for member, default in defaults.items()
    )
    context = {
        **heading(actor, prompt, "compare"),
        "old": old,
        "new": new,
        "view": "split" if request.GET.get("view") == "split" else "inline",
        "whole": request.GET.get("whole") == "1",
        "comparison": diff_view.compare(old.content, new.content, whole=request.GET.get("whole") == "1"),
        "versions": prompt.versions.defer("content").order_by("-number")[:MAX_VERSIONS_OFFERED],
    }
    return page(request, actor, "registry/prompt_compare.html", context)
