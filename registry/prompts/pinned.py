"""What a version pins: everything that a model may read because of it, to the end.

Partials and few-shot examples are pinned by hash in the content; an inference config names its prompt with a hash in
its text. Whatever names `prompt@sha256:…` is followed, so that no way to pin escapes review.
"""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from django.db.models import Q

from core.content import empty_content
from core.errors import Problem
from core.examples import Shot
from registry.content.diff import Content
from registry.examples.example_sets import stored_shot, version_places
from registry.models import ExampleSetVersion, Inclusion, PromptVersion

# Possessive: a long text without an @ is gone through once.
PINNED_REFERENCE = re.compile(r"(?<![a-z0-9._-])([a-z0-9]++(?:[._-][a-z0-9]++)*+)@(sha256:[0-9a-f]{64})")
# As many are followed from one version; one that names more is refused, so that none is left out in silence.
MAX_NAMED = 100
MAX_EXAMPLES_COMPARED = 200
WITH_AUTHOR = ("prompt", "author", "author_key__owner", "author_key__created_by")


@dataclass(frozen=True)
class Pinned:
    """The versions that a version pins, itself included, and the example sets of any of them, by id."""

    versions: dict[int, PromptVersion] = field(default_factory=dict)
    example_sets: dict[int, ExampleSetVersion] = field(default_factory=dict)


def pinned_by(*roots: PromptVersion) -> Pinned:
    """Return everything that these versions pin, directly or through others, with its authors. A version is visited
    once, with a few queries for each level."""
    pinned = Pinned()
    level = _versions(pk__in=[root.pk for root in roots])
    while level:
        pinned.versions.update(level)
        inclusions = Inclusion.objects.filter(version__in=level).values_list("included_id", flat=True)
        named = Q(pk__in=[])
        for version in level.values():
            for name, content_hash in named_references(version.content):
                named |= Q(prompt__project=version.prompt.project_id, prompt__name=name, content_hash=content_hash)
        level = _versions(Q(pk__in=set(inclusions)) | named)
        level = {pk: version for pk, version in level.items() if pk not in pinned.versions}
    set_ids = {version.example_set_id for version in pinned.versions.values() if version.example_set_id}
    sets = ExampleSetVersion.objects.filter(pk__in=set_ids)
    pinned.example_sets.update(
        {row.pk: row for row in sets.select_related("example_set", *WITH_AUTHOR[1:])},
    )
    return pinned


def named_references(content: Content) -> set[tuple[str, str]]:
    """Return the (name, hash) that the texts of a content name, as they are and as the JSON that a text may be: in a
    config `\\u0040` is an @."""
    references: set[tuple[str, str]] = set()
    for text in _texts(content):
        references.update(PINNED_REFERENCE.findall(text))
        if "sha256:" in text and text.lstrip().startswith("{"):
            with suppress(ValueError, RecursionError):
                for decoded in _texts(json.loads(text)):
                    references.update(PINNED_REFERENCE.findall(decoded))
    if len(references) > MAX_NAMED:
        raise Problem("content.invalid", f"A version names at most {MAX_NAMED} others by their hash.")
    return references


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, member in value.items():
            yield str(name)
            yield from _texts(member)
    elif isinstance(value, list):
        for member in value:
            yield from _texts(member)


def get_versions(keys: Iterable[int]) -> dict[int, PromptVersion]:
    """Return versions with their authors, by id."""
    return _versions(pk__in=list(keys))


def _versions(*conditions: Q, **lookups: object) -> dict[int, PromptVersion]:
    rows = PromptVersion.objects.filter(*conditions, **lookups).select_related(*WITH_AUTHOR)
    return {version.pk: version for version in rows}


@dataclass(frozen=True)
class PinnedChange:
    """Something that one version pins and another does not: a `prompt` or `examples`, with the content before (an empty
    one where there was none) and after."""

    kind: str
    name: str
    old_label: str
    new_label: str
    old_content: Content
    new_content: Content


def pinned_changes(old: PromptVersion | None, new: PromptVersion) -> list[PinnedChange]:
    """Return what a model would read differently below the two versions: every partial, named prompt and example set
    that only the new one pins, beside what the old one pins of the same name."""
    before, after = pinned_by(old) if old else Pinned(), pinned_by(new)
    changes = []
    earlier = {version.prompt_id: version for version in before.versions.values() if old and version.pk != old.pk}
    for version in sorted(after.versions.values(), key=lambda version: version.prompt.name):
        if version.pk != new.pk and version.pk not in before.versions:
            previous = earlier.get(version.prompt_id)
            old_content = previous.content if previous else empty_content(version.content["kind"])
            labels = (f"v{previous.number}" if previous else "", f"v{version.number}")
            changes.append(PinnedChange("prompt", version.prompt.name, *labels, old_content, version.content))
    earlier_sets = {row.example_set_id: row for row in before.example_sets.values()}
    for row in sorted(after.example_sets.values(), key=lambda row: row.example_set.name):
        if row.pk not in before.example_sets:
            former = earlier_sets.get(row.example_set_id)
            labels = (f"v{former.number}" if former else "", f"v{row.number}")
            contents = (_examples_apart(former, row), _examples_apart(row, former))
            changes.append(PinnedChange("examples", row.example_set.name, *labels, *contents))
    return changes


def _examples_apart(version: ExampleSetVersion | None, other: ExampleSetVersion | None) -> Content:
    """Return the examples of a version that another does not have, as a text to compare: all that a template can use of
    them, an example a paragraph."""
    if version is None:
        return empty_content("text")
    places = version_places(version)
    if other is not None:
        places = places.exclude(example__places__version=other)
    shots = [stored_shot(place.example) for place in places[: MAX_EXAMPLES_COMPARED + 1]]
    paragraphs = [_as_paragraph(shot) for shot in shots[:MAX_EXAMPLES_COMPARED]]
    if len(shots) > MAX_EXAMPLES_COMPARED:
        paragraphs.append(f"… and {places.count() - MAX_EXAMPLES_COMPARED} more, on the page of the example set.")
    return {"kind": "text", "text": "\n\n".join(paragraphs)}


def _as_paragraph(shot: Shot) -> str:
    lines = [shot.input, f"→ {shot.output}"]
    lines += [f"note: {shot.note}"] if shot.note else []
    lines += [f"tags: {', '.join(shot.tags)}"] if shot.tags else []
    return "\n".join(lines)
