"""Finding what somebody has in mind: a name, words of a text, the digits of a hash, or a whole reference."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from django.db.models import Q, QuerySet

from registry.models import Project, Prompt, PromptVersion
from registry.problems import Problem
from registry.references import parse_reference
from registry.resolution import resolve

# Fewer digits would fit by chance; sha256: in front may be left out.
HASH_DIGITS = re.compile(r"(?:sha256:)?([0-9a-f]{6,64})")
SHORTEST_TEXT = 3
AROUND = 60


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
        yield from _by_hash(project, digits[1], limit)
    names = _current(project).filter(name__icontains=text).order_by("name")
    first = list(names[: 5 * limit])
    # A name that starts so, or has a word that does, is likelier meant than one that has it inside.
    first.sort(key=lambda prompt: (not prompt.name.startswith(text), f".{text}" not in prompt.name, prompt.name))
    yield from (Hit("name", prompt.name, detail=prompt.description.split("\n")[0][:120]) for prompt in first)
    described = _current(project).filter(Q(description__icontains=text) | Q(tags__contains=[text]))
    yield from (Hit("name", one.name, detail=one.description[:120]) for one in described.order_by("name")[:limit])
    if len(text) >= SHORTEST_TEXT:
        yield from _by_text(project, text, limit)


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


def _by_text(project: Project, text: str, limit: int) -> Iterator[Hit]:
    found = Prompt.objects.filter(project=project, archived_at=None, head_text__icontains=text)
    for prompt in found.order_by("name")[:limit]:
        yield Hit("text", prompt.name, excerpt=_excerpt(prompt.head_text, text))


def _excerpt(whole: str, text: str) -> tuple[str, str, str] | None:
    """What stands before, the text as it stands there, and what stands after; None where letters change in length."""
    lowered = whole.lower()
    start = lowered.find(text.lower())
    if start < 0 or len(lowered) != len(whole):
        return None
    end = start + len(text)
    before, after = whole[max(0, start - AROUND) : start], whole[end : end + AROUND]
    return before.rpartition("\n")[2], whole[start:end], after.partition("\n")[0]
