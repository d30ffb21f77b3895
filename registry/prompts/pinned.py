"""What a version pins: everything that a model may read because of it, to the end.

Partials and few-shot examples are pinned by hash in the content; an inference config names its prompt with a hash in
its text. Whatever names `prompt@sha256:…` is followed, so that no way to pin escapes review.
"""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from core.content import empty_content
from core.errors import Problem
from core.examples import Shot
from registry.content.diff import Content
from registry.examples.example_sets import stored_shot, version_places
from registry.models import Example, ExampleSetVersion, Inclusion, PromptVersion

# Possessive: a long text without an @ is gone through once.
PINNED_REFERENCE = re.compile(r"(?<![a-z0-9._-])([a-z0-9]++(?:[._-][a-z0-9]++)*+)@(sha256:[0-9a-f]{64})")
# As many are named by one version, and pinned by it to the end; one with more is refused, so that none is left out in
# silence.
MAX_NAMED, MAX_PINNED = 100, 300
MAX_EXAMPLES_COMPARED = 200
WITH_AUTHOR = ("prompt", "author", "author_key__owner", "author_key__created_by")


@dataclass(frozen=True)
class Pinned:
    """The versions that a version pins, itself included, and the example sets of any of them, by id; and the references
    that name nothing."""

    versions: dict[int, PromptVersion] = field(default_factory=dict)
    example_sets: dict[int, ExampleSetVersion] = field(default_factory=dict)
    unresolved: set[str] = field(default_factory=set)


def pinned_by(*roots: PromptVersion, until: datetime | None = None) -> Pinned:
    """Return everything that these versions pin, directly or through others, with its authors; `until`: as it was then,
    before what they name existed. A version is visited once, with a few queries for each level. Raises
    `content.invalid` beyond MAX_PINNED versions."""
    pinned = Pinned()
    level = _versions(pk__in=[root.pk for root in roots])
    while level:
        pinned.versions.update(level)
        if len(pinned.versions) > MAX_PINNED + len(roots):
            raise Problem("content.invalid", f"A version pins at most {MAX_PINNED} others, directly and below.")
        inclusions = Inclusion.objects.filter(version__in=level).values_list("included_id", flat=True)
        below = _versions(pk__in=set(inclusions)) | _named_by(level.values(), until, pinned.unresolved)
        level = {pk: version for pk, version in below.items() if pk not in pinned.versions}
    set_ids = {version.example_set_id for version in pinned.versions.values() if version.example_set_id}
    sets = ExampleSetVersion.objects.filter(pk__in=set_ids)
    pinned.example_sets.update(
        {row.pk: row for row in sets.select_related("example_set", *WITH_AUTHOR[1:])},
    )
    return pinned


def _named_by(
    versions: Iterable[PromptVersion], until: datetime | None, unresolved: set[str]
) -> dict[int, PromptVersion]:
    """Return the versions that these name by their hash; what names nothing is added to `unresolved`."""
    references = {
        (version.prompt.project_id, *reference)
        for version in versions
        for reference in named_references(version.content)
    }
    if not references:
        return {}
    candidates = _versions(
        content_hash__in={content_hash for _, _, content_hash in references},
        prompt__project__in={row[0] for row in references},
    )
    named = {
        version.pk: version
        for version in candidates.values()
        if (version.prompt.project_id, version.prompt.name, version.content_hash) in references
        and (until is None or version.created_at <= until)
    }
    resolved = {(row.prompt.project_id, row.prompt.name, row.content_hash) for row in named.values()}
    unresolved.update(f"{name}@{content_hash}" for _, name, content_hash in references - resolved)
    return named


def named_references(content: Content) -> set[tuple[str, str]]:
    """Return the (name, hash) that the texts of a content name, as they are and as the JSON that a text may be: there
    any letter may be escaped. Raises `content.invalid` beyond MAX_NAMED of them."""
    references: set[tuple[str, str]] = set()
    for text in _texts(content):
        references.update(PINNED_REFERENCE.findall(text))
        if text.lstrip()[:1] in ("{", "[", '"'):
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


def _versions(**lookups: object) -> dict[int, PromptVersion]:
    rows = PromptVersion.objects.filter(**lookups).select_related(*WITH_AUTHOR)
    return {version.pk: version for version in rows}


@dataclass(frozen=True)
class PinnedChange:
    """Something that one version pins and another does not: a `prompt` or `examples`, with the content before (an empty
    one where there was none) and after. `left_out` is how many examples of either are not in these contents."""

    kind: str
    name: str
    old_label: str
    new_label: str
    old_content: Content
    new_content: Content
    left_out: int = 0


def pinned_changes(before: Pinned, new: PromptVersion) -> list[PinnedChange]:
    """Return what a model would read because of a version that is not in `before`: every partial, named prompt and
    example set, beside what `before` has of the same name."""
    after = pinned_by(new)
    changes = []
    earlier = {version.prompt_id: version for version in before.versions.values() if version.prompt_id != new.prompt_id}
    for version in sorted(after.versions.values(), key=lambda version: version.prompt.name):
        if version.pk != new.pk and version.pk not in before.versions:
            previous = earlier.get(version.prompt_id)
            old_content = previous.content if previous else empty_content(version.content["kind"])
            labels = (f"v{previous.number}" if previous else "", f"v{version.number}")
            changes.append(PinnedChange("prompt", version.prompt.name, *labels, old_content, version.content))
    earlier_sets = {row.example_set_id: row for row in before.example_sets.values()}
    new_sets = [row for row in after.example_sets.values() if row.pk not in before.example_sets]
    new_sets.sort(key=lambda row: row.example_set.name)
    return [*changes, *(_examples_change(earlier_sets.get(row.example_set_id), row) for row in new_sets)]


def _examples_change(old: ExampleSetVersion | None, new: ExampleSetVersion) -> PinnedChange:
    """Compare two versions of an example set by the examples that only one of them has; where those that both have
    stand in another order, by all of them."""
    old_keys, new_keys = _example_keys(old), _example_keys(new)
    common = set(old_keys) & set(new_keys)
    in_order = [key for key in old_keys if key in common] == [key for key in new_keys if key in common]
    compared = [[key for key in keys if not (in_order and key in common)] for keys in (old_keys, new_keys)]
    left_out = sum(max(0, len(keys) - MAX_EXAMPLES_COMPARED) for keys in compared)
    old_content, new_content = (_examples_as_content(keys[:MAX_EXAMPLES_COMPARED]) for keys in compared)
    old_label = f"v{old.number}" if old else ""
    return PinnedChange(
        "examples", new.example_set.name, old_label, f"v{new.number}", old_content, new_content, left_out
    )


def _example_keys(version: ExampleSetVersion | None) -> list[int]:
    return list(version_places(version).values_list("example_id", flat=True)) if version else []


def _examples_as_content(keys: list[int]) -> Content:
    """Return examples as a text to compare, with all that a template can use of them, an example a paragraph."""
    rows = Example.objects.in_bulk(keys)
    return {"kind": "text", "text": "\n\n".join(_as_paragraph(stored_shot(rows[key])) for key in keys)}


def _as_paragraph(shot: Shot) -> str:
    lines = [shot.input, f"→ {shot.output}"]
    lines += [f"note: {shot.note}"] if shot.note else []
    lines += [f"tags: {', '.join(shot.tags)}"] if shot.tags else []
    return "\n".join(lines)
