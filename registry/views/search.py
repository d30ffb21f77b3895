"""Finding anything: the search page, and the same as the command palette's list."""

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from registry.accounts.permissions import Actor, Right
from registry.prompts.search import search
from registry.views.frame import in_project, page, page_url

PALETTE_HITS = 8
PAGE_HITS = 50
MAX_SEARCH_LENGTH = 200


@dataclass(frozen=True)
class Place:
    """A page or an action that the palette jumps to; `words` are further words that find it."""

    title: str
    address: str
    words: str = ""


@in_project
def search_page(request: HttpRequest, actor: Actor) -> HttpResponse:
    text = request.GET.get("q", "").strip()[:MAX_SEARCH_LENGTH]
    if request.GET.get("palette") and request.htmx:  # type: ignore[attr-defined]  # set by django-htmx
        places = [place for place in _places(actor) if _fits(place, text)]
        context = {
            "project": actor.project,
            "text": text,
            "hits": search(actor.project, text, PALETTE_HITS),
            "places": places,
            # A command that is called so is likelier meant than a prompt that has the word somewhere.
            "places_first": bool(text) and any(place.title.lower().startswith(text.lower()) for place in places),
        }
        return render(request, "registry/_palette.html", context)
    context = {"section": "search", "text": text, "hits": search(actor.project, text, PAGE_HITS)}
    return page(request, actor, "registry/search.html", context)


def _fits(place: Place, text: str) -> bool:
    """Whether all typed words start words of the place."""
    words = f"{place.title} {place.words}".lower().split()
    return all(any(word.startswith(typed) for word in words) for typed in text.lower().split())


def _places(actor: Actor) -> list[Place]:
    everybody = [
        Place("Prompts", page_url("registry:prompt-list", actor), "list all"),
        Place("Inbox", page_url("registry:inbox", actor), "waiting review tasks"),
        Place("Promotions", page_url("registry:promotion-list", actor), "requests reviews releases"),
        Place("Environments", page_url("registry:environments", actor), "settings rules protection"),
        Place("Members", page_url("registry:members", actor), "settings people roles"),
        Place("Audit log", page_url("registry:audit", actor), "settings history changes who"),
        Place("Profile", page_url("registry:profile", actor), "settings account password name"),
    ]
    if actor.may(Right.EDIT):
        everybody.insert(1, Place("New prompt", page_url("registry:prompt-new", actor), "create add"))
    if actor.may(Right.ADMINISTER):
        everybody.append(Place("API keys", page_url("registry:keys", actor), "settings token issue revoke"))
    return everybody
