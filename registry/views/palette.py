"""What the command palette offers beside prompts: pages, actions and things of every app, which register their own."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain

from registry.accounts.permissions import Actor, Right
from registry.models import Collection, Document, ExampleSet, Promotion
from registry.views.frame import page_url

# A number as people write it of a thing: 12, #12, run 12.
NUMBER = re.compile(r"(?:(?P<kind>[^\W\d][\w -]*?)\s*)?#?(?P<number>\d{1,9})")
MAX_OF_A_KIND = 4


@dataclass(frozen=True)
class Place:
    """A page, an action or a thing that the palette jumps to. `words` are further words that find a page, `kind` says
    what a thing is."""

    title: str
    address: str
    words: str = ""
    kind: str = ""


Places = Callable[[Actor], Iterable[Place]]
Find = Callable[[Actor, str], Iterable[Place]]
_sources: list[tuple[Places, Find]] = []


def register(places: Places, find: Find) -> None:
    """Add an app's pages, and its search for things by a text (of one name or number, a few of each kind)."""
    _sources.append((places, find))


def fitting_places(actor: Actor, text: str) -> list[Place]:
    """Return the pages and actions all of whose words begin so."""
    return [place for place in chain(*(places(actor) for places, _ in _sources)) if _fits(place, text)]


def find_things(actor: Actor, text: str) -> list[Place]:
    """Return datasets, runs, promotions and the like whose name has the text, or that have the number."""
    return list(chain(*(find(actor, text) for _, find in _sources))) if text.strip() else []


def number_in(text: str, kind: str) -> int | None:
    """Return the number that a text means of a kind of things: `12`, `#12`, or `run 12` where that begins the kind."""
    match = NUMBER.fullmatch(text.strip().lower())
    if match is None or not kind.lower().startswith(match["kind"] or ""):
        return None
    return int(match["number"])


def _fits(place: Place, text: str) -> bool:
    words = f"{place.title} {place.words}".lower().split()
    return all(any(word.startswith(typed) for word in words) for typed in text.lower().split())


def _places(actor: Actor) -> Iterable[Place]:
    yield Place("Prompts", page_url("registry:prompt-list", actor), "list all")
    if actor.may(Right.EDIT):
        yield Place("New prompt", page_url("registry:prompt-new", actor), "create add")
    yield Place("Collections", page_url("registry:collection-list", actor), "documents retrieval rag knowledge")
    yield Place("Examples", page_url("registry:example-list", actor), "example sets few-shot")
    yield Place("Inbox", page_url("registry:inbox", actor), "waiting review tasks")
    yield Place("Promotions", page_url("registry:promotion-list", actor), "requests reviews releases")
    yield Place("Environments", page_url("registry:environments", actor), "settings rules protection")
    yield Place("Members", page_url("registry:members", actor), "settings people roles")
    yield Place("Audit log", page_url("registry:audit", actor), "settings history changes who")
    yield Place("Profile", page_url("registry:profile", actor), "settings account password name")
    if actor.may(Right.ADMINISTER):
        yield Place("API keys", page_url("registry:keys", actor), "settings token issue revoke")


def _find(actor: Actor, text: str) -> Iterable[Place]:
    sets = ExampleSet.objects.filter(project=actor.project, archived_at=None, name__icontains=text).order_by("name")
    for example_set in sets[:MAX_OF_A_KIND]:
        address = page_url("registry:example-detail", actor, example_set.name)
        yield Place(example_set.name, address, kind="example set")
    named = Collection.objects.filter(project=actor.project, archived_at=None, name__icontains=text).order_by("name")
    for collection in named[:MAX_OF_A_KIND]:
        yield Place(collection.name, page_url("registry:collection", actor, collection.name), kind="collection")
    documents = Document.objects.filter(collection__project=actor.project, path__icontains=text)
    documents = documents.filter(collection__archived_at=None).select_related("collection").order_by("path")
    for document in documents[:MAX_OF_A_KIND]:
        address = page_url("registry:document", actor, document.collection.name, document.path)
        yield Place(document.path, address, kind=f"document of {document.collection.name}")
    if (number := number_in(text, "promotion")) is not None:
        promotions = Promotion.objects.filter(prompt__project=actor.project, pk=number)
        for promotion in promotions.select_related("prompt", "version", "environment"):
            title = f"{promotion.prompt.name}@{promotion.version.number} to {promotion.environment.name}"
            yield Place(title, page_url("registry:promotion-detail", actor, number), kind=f"promotion {number}")


register(_places, _find)
