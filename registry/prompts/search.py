"""Finding what somebody has in mind: a name, words of a text, the digits of a hash, or a whole reference."""

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

# Fewer digits would fit by chance; sha256: in front may be left out.
HASH_DIGITS = re.compile(r"(?:sha256:([0-9a-f]{4,64})|([0-9a-f]{6,64}))")
SHORTEST_TEXT = 3
AROUND = 60
LONGEST_DETAIL = 120
MOST_WORDS = 8


@dataclass(frozen=True)
class Hit:
    """`kind` says how it was found (reference, hash, name, text); `excerpt` shows where in a text."""

    kind: str
    prompt: str
    number: int | None = None
    detail: str = ""
    excerpt: tuple[str, str, str] | None = None


def search(project: Project, text: str, limit: int = 20) -> list[Hit]:
    """The best hits first: what the text names exactly, then names that have it, then texts."""
    wanted = text.strip()
    if not wanted:
        return []
    seen: set[tuple[str, int | None]] = set()
    hits = []
    for hit in islice(_hits(project, wanted, limit), 3 * limit):
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
    words = text.split()[:MOST_WORDS]
    names = _current(project).filter(_all(words, "name")).order_by("name")
    first = list(names[: 5 * limit])
    # A name that starts so, or has a word that does, is likelier meant than one that has it inside.
    first.sort(key=lambda prompt: (not prompt.name.startswith(text), f".{text}" not in prompt.name, prompt.name))
    yield from (Hit("name", prompt.name, detail=_first_line(prompt.description)) for prompt in first)
    described = _current(project).filter(_all(words, "description") | Q(tags__contains=[text]))
    for prompt in described.order_by("name")[:limit]:
        yield Hit(
            "name", prompt.name, detail=_first_line(prompt.description), excerpt=_excerpt(prompt.description, words)
        )
    if len(text) >= SHORTEST_TEXT:
        yield from _by_text(project, words, limit)


def _all(words: list[str], field: str) -> Q:
    """All words stand in the field, wherever."""
    condition = Q()
    for word in words:
        condition &= Q(**{f"{field}__icontains": word})
    return condition


def _first_line(text: str) -> str:
    return shorten(text.split("\n")[0], LONGEST_DETAIL, placeholder=" …")


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
    found = versions.select_related("prompt").defer("content", "prompt__head_text").order_by("id")[:limit]
    yield from (Hit("hash", one.prompt.name, one.number, one.content_hash[:19]) for one in found)


def _by_text(project: Project, words: list[str], limit: int) -> Iterator[Hit]:
    found = Prompt.objects.filter(_all(words, "head_text"), project=project, archived_at=None)
    for prompt in found.order_by("name")[:limit]:
        yield Hit("text", prompt.name, excerpt=_excerpt(prompt.head_text, words))


def _excerpt(whole: str, words: list[str]) -> tuple[str, str, str] | None:
    """The words together where they stand so, else the first: what is before, what was found, and what is after."""
    lowered = whole.lower()
    wanted = " ".join(words).lower()
    wanted = wanted if wanted in lowered else words[0].lower()
    start = lowered.find(wanted)
    # Where small letters are more or fewer than large ones, positions in the one are none in the other.
    if start < 0 or len(lowered) != len(whole):
        return None
    end = start + len(wanted)
    before, after = whole[max(0, start - AROUND) : start], whole[end : end + AROUND]
    return before.rpartition("\n")[2], whole[start:end], after.partition("\n")[0]
