"""Search for prompts and versions: by name, words of a text, digits of a hash, or a whole reference."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from textwrap import shorten

from django.db.models import Q, QuerySet

from core.errors import Problem
from core.references import parse_reference
from registry.models import Project, Prompt, PromptVersion
from registry.prompts.resolution import resolve

# Fewer digits would match by chance; the prefix sha256: may be omitted.
HASH_DIGITS = re.compile(r"(?:sha256:([0-9a-f]{4,64})|([0-9a-f]{6,64}))")
MIN_TEXT = 3
EXCERPT_CONTEXT = 60
MAX_DETAIL = 120
MAX_WORDS = 8


@dataclass(frozen=True)
class Hit:
    """A search result. `kind` is how it was matched (reference, hash, name, text); `excerpt` shows where in a text."""

    kind: str
    prompt: str
    number: int | None = None
    detail: str = ""
    excerpt: tuple[str, str, str] | None = None


def search(project: Project, text: str, limit: int = 20) -> list[Hit]:
    """Return the best hits first: exact references, then names that contain the text, then contents."""
    query = text.strip()
    if not query:
        return []
    seen: set[tuple[str, int | None]] = set()
    hits = []
    for hit in islice(_hits(project, query, limit), 3 * limit):
        key = (hit.prompt, hit.number)
        if key not in seen:
            seen.add(key)
            hits.append(hit)
    return hits[:limit]


def _hits(project: Project, text: str, limit: int) -> Iterator[Hit]:
    if "@" in text:
        yield from _by_reference(project, text)
    digits = HASH_DIGITS.fullmatch(text)
    if digits:
        yield from _by_hash(project, digits[1] or digits[2], limit)
    words = text.split()[:MAX_WORDS]
    names = _current(project).filter(_has_all_words(words, "name")).order_by("name")
    first = list(names[: 5 * limit])
    # Names that start with the text, or have a word that does, rank before names that merely contain it.
    first.sort(key=lambda prompt: (not prompt.name.startswith(text), f".{text}" not in prompt.name, prompt.name))
    yield from (Hit("name", prompt.name, detail=_first_line(prompt.description)) for prompt in first)
    described = _current(project).filter(_has_all_words(words, "description") | Q(tags__contains=[text]))
    for prompt in described.order_by("name")[:limit]:
        yield Hit(
            "name", prompt.name, detail=_first_line(prompt.description), excerpt=_excerpt(prompt.description, words)
        )
    if len(text) >= MIN_TEXT:
        yield from _by_text(project, words, limit)


def _has_all_words(words: list[str], field: str) -> Q:
    """Return the condition that a field contains all words."""
    condition = Q()
    for word in words:
        condition &= Q(**{f"{field}__icontains": word})
    return condition


def _first_line(text: str) -> str:
    return shorten(text.split("\n")[0], MAX_DETAIL, placeholder=" …")


def _current(project: Project) -> QuerySet[Prompt]:
    return Prompt.objects.filter(project=project, archived_at=None).defer("head_text")


def _by_reference(project: Project, text: str) -> Iterator[Hit]:
    try:
        version = resolve(project, parse_reference(text))
    except Problem:
        return
    yield Hit("reference", version.prompt.name, version.number, version.message)


def _by_hash(project: Project, digits: str, limit: int) -> Iterator[Hit]:
    versions = PromptVersion.objects.filter(prompt__project=project, content_hash__startswith=f"sha256:{digits}")
    matches = versions.select_related("prompt").defer("content", "prompt__head_text").order_by("id")[:limit]
    yield from (Hit("hash", version.prompt.name, version.number, version.content_hash[:19]) for version in matches)


def _by_text(project: Project, words: list[str], limit: int) -> Iterator[Hit]:
    matches = Prompt.objects.filter(_has_all_words(words, "head_text"), project=project, archived_at=None)
    for prompt in matches.order_by("name")[:limit]:
        yield Hit("text", prompt.name, excerpt=_excerpt(prompt.head_text, words))


def _excerpt(whole: str, words: list[str]) -> tuple[str, str, str] | None:
    """Return the text before, of and after the match: all words together, or else the first word."""
    lowered = whole.lower()
    phrase = " ".join(words).lower()
    phrase = phrase if phrase in lowered else words[0].lower()
    start = lowered.find(phrase)
    # Where lower-casing changes the length, positions do not correspond.
    if start < 0 or len(lowered) != len(whole):
        return None
    end = start + len(phrase)
    before, after = whole[max(0, start - EXCERPT_CONTEXT) : start], whole[end : end + EXCERPT_CONTEXT]
    return before.rpartition("\n")[2], whole[start:end], after.partition("\n")[0]
