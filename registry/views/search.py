"""Finding anything: the search page, and the same as the command palette's list."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from registry.accounts.permissions import Actor
from registry.prompts.search import search
from registry.views.frame import in_project, page
from registry.views.palette import find_things, fitting_places

PALETTE_HITS = 8
PAGE_HITS = 50
MAX_SEARCH_LENGTH = 200


@in_project
def search_page(request: HttpRequest, actor: Actor) -> HttpResponse:
    text = request.GET.get("q", "").strip()[:MAX_SEARCH_LENGTH]
    if request.GET.get("palette") and request.htmx:  # type: ignore[attr-defined]  # set by django-htmx
        places = fitting_places(actor, text)
        context = {
            "project": actor.project,
            "text": text,
            "hits": search(actor.project, text, PALETTE_HITS),
            "places": places,
            "things": find_things(actor, text),
            # A command that is called so is likelier meant than a prompt that has the word somewhere.
            "places_first": bool(text) and any(place.title.lower().startswith(text.lower()) for place in places),
        }
        return render(request, "registry/_palette.html", context)
    hits, things = search(actor.project, text, PAGE_HITS), find_things(actor, text)
    context = {"section": "search", "text": text, "hits": hits, "things": things, "count": len(hits) + len(things)}
    return page(request, actor, "registry/search.html", context)
