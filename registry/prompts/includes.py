"""Includes: pinning `{% include "shared.tone" %}` at commit, and the versions below a version.

An include is pinned to the included version's hash, so a version's behaviour never changes under it. Versions can
therefore not form a cycle; names could, and a name that includes itself through others would never settle, so that
is refused too.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import Sum, TextField
from django.db.models.functions import Cast, Length

from core.content import partial_source
from core.errors import Fault, Problem
from core.references import DEFAULT_ENVIRONMENT, HashPrefix, Reference, parse_reference
from registry.models import Environment, Project, Prompt, PromptVersion, Release
from registry.prompts.resolution import resolve

MAX_DEPTH = 5
MAX_INCLUDES = 50
# A version is delivered with everything below it, so that clients can render; this bounds what that may be.
MAX_VERSIONS_BELOW = 100
MAX_BYTES_BELOW = 2 * 1024 * 1024

# All versions below the given ones, with the edges that lead to them.
EDGES_BELOW = """
WITH RECURSIVE below (version_id, included_id) AS (
    SELECT version_id, included_id FROM registry_inclusion WHERE version_id = ANY(%s)
    UNION
    SELECT edge.version_id, edge.included_id
    FROM registry_inclusion edge JOIN below ON edge.version_id = below.included_id
)
SELECT version_id, included_id FROM below
"""


@dataclass(frozen=True)
class _IncludeGraph:
    """The versions below some others, and their edges."""

    versions: dict[int, PromptVersion]
    edges: dict[int, list[int]]


def pin_includes(
    project: Project, prompt: Prompt, names: Iterable[str], pins: Mapping[str, str]
) -> dict[str, PromptVersion]:
    """Resolve each include of `prompt` to a version.

    A pin in `pins` (name to hash, from the content itself) is kept where it fits; otherwise the include's reference
    is resolved now. Raises `template.unknown_include`, `template.include_cycle` or `template.include_depth`, the
    last two with the `path` of names.
    """
    include_names = list(names)
    unused = sorted(pins.keys() - set(include_names))
    if unused:
        faults = [Fault(f"/includes/{name}", "unused", "No template includes this.") for name in unused]
        raise Problem("content.invalid", f"Pinned but not included: {', '.join(unused)}.", faults=faults)
    if len(include_names) > MAX_INCLUDES:
        raise Problem("template.include_size", f"A version includes at most {MAX_INCLUDES} others directly.")
    pinned = {name: _version_for(project, name, pins.get(name)) for name in include_names}
    if pinned:
        _refuse_tangles(prompt, {version.pk: version for version in pinned.values()})
    return pinned


def get_partials(versions: Iterable[PromptVersion]) -> dict[str, PromptVersion]:
    """Return every version that the given ones include, directly or indirectly, by content hash."""
    roots = [version.pk for version in versions if version.content.get("includes")]
    if not roots:
        return {}
    included_ids = {included_id for _, included_id in _edges(roots)}
    included = PromptVersion.objects.select_related("prompt").filter(pk__in=included_ids)
    return {version.content_hash: version for version in included}


def get_partials_of_content(project_id: int, content: Mapping[str, Any]) -> dict[str, PromptVersion]:
    """Return the same for a content that is no version, by its pins."""
    hashes = content.get("includes", {}).values()
    if not hashes:
        return {}
    pinned = PromptVersion.objects.filter(prompt__project=project_id, content_hash__in=hashes).select_related("prompt")
    direct = {version.content_hash: version for version in pinned}
    return direct | get_partials(direct.values())


def _version_for(project: Project, name: str, pinned_hash: str | None) -> PromptVersion:
    try:
        reference = parse_reference(name)
        if pinned_hash:
            version = resolve(project, Reference(reference.name, HashPrefix(pinned_hash)))
        elif "@" in name:
            version = resolve(project, reference)
        else:
            version = _in_use(project, reference.name)
    except Problem as problem:
        raise Problem(
            "template.unknown_include", f"“{name}” cannot be included: {problem.detail}", include=name
        ) from None
    if partial_source(version.content) is None:
        sentence = f"“{name}” cannot be included: it has several messages, and an include stands for one text."
        raise Problem("template.unknown_include", sentence, include=name)
    return version


def _in_use(project: Project, name: str) -> PromptVersion:
    """Resolve a bare name to the version that is live in production, or the newest where none is live there yet."""
    production = Release.objects.filter(
        environment__in=Environment.objects.filter(project=project, name=DEFAULT_ENVIRONMENT),
        prompt__project=project,
        prompt__name=name,
    )
    live = production.select_related("version__prompt").order_by("-number").first()
    return live.version if live else resolve(project, parse_reference(f"{name}@latest"))


def _edges(roots: list[int]) -> list[tuple[int, int]]:
    """Return (including, included) of everything below the given versions."""
    with connection.cursor() as cursor:
        cursor.execute(EDGES_BELOW, [roots])
        rows: list[tuple[int, int]] = cursor.fetchall()
    return rows


def _graph_below(roots: list[int]) -> _IncludeGraph:
    edges: dict[int, list[int]] = {}
    for version_id, included_id in _edges(roots):
        edges.setdefault(version_id, []).append(included_id)
    included_ids = {included for below in edges.values() for included in below}
    return _IncludeGraph(PromptVersion.objects.select_related("prompt").defer("content").in_bulk(included_ids), edges)


def _refuse_tangles(prompt: Prompt, roots: dict[int, PromptVersion]) -> None:
    """Refuse includes that lead back to the prompt itself, go too deep, or are too large.

    Each version is visited once: what is below it does not depend on how it is reached.
    """
    graph = _graph_below(list(roots))
    versions = {**graph.versions, **roots}
    deepest: dict[int, list[str]] = {}
    for root in roots:
        path = [prompt.name, *_deepest_path(root, prompt, versions, graph.edges, deepest)]
        path_text = " → ".join(path)
        if path[-1] == prompt.name:
            raise Problem("template.include_cycle", f"The includes form a cycle: {path_text}.", path=path)
        if len(path) - 1 > MAX_DEPTH:
            raise Problem("template.include_depth", f"Includes go at most {MAX_DEPTH} deep: {path_text}.", path=path)
    size = PromptVersion.objects.filter(pk__in=versions).aggregate(size=Sum(Length(Cast("content", TextField()))))[
        "size"
    ]
    if len(versions) > MAX_VERSIONS_BELOW or size > MAX_BYTES_BELOW:
        sentence = f"The includes add {len(versions)} versions with {size:,} characters."
        limits = f"At most {MAX_VERSIONS_BELOW} and {MAX_BYTES_BELOW:,} are allowed."
        raise Problem("template.include_size", f"{sentence} {limits}")


def _deepest_path(
    pk: int,
    prompt: Prompt,
    versions: Mapping[int, PromptVersion],
    edges: Mapping[int, list[int]],
    paths_by_version: dict[int, list[str]],
) -> list[str]:
    """Return the names on the longest path down from a version, or on one that ends at `prompt`."""
    if pk not in paths_by_version:
        version = versions[pk]
        paths = [_deepest_path(below, prompt, versions, edges, paths_by_version) for below in edges.get(pk, ())]
        closing = [path for path in paths if path[-1] == prompt.name]
        longest: list[str] = [] if version.prompt_id == prompt.pk else max(closing or paths, key=len, default=[])
        paths_by_version[pk] = [version.prompt.name, *longest]
    return paths_by_version[pk]
