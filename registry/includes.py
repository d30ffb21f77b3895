"""Prompts inside prompts: pinning `{% include "shared.tone" %}` at commit, and what a version is made of.

An include is pinned to the included version's hash, so a version's behaviour never changes under it. Versions can
therefore not form a cycle; names could, and a name that includes itself through others would never settle, so that
is refused too.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.db import connection

from registry.content import partial_source
from registry.models import Environment, Project, Prompt, PromptVersion, Release
from registry.problems import Fault, Problem
from registry.references import DEFAULT_ENVIRONMENT, HashPrefix, Reference, parse_reference
from registry.resolution import resolve

MAX_DEPTH = 5

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
class _Graph:
    """The versions below some others, and their edges."""

    versions: dict[int, PromptVersion]
    edges: dict[int, list[int]]


def pin(project: Project, prompt: Prompt, names: Iterable[str], given: Mapping[str, str]) -> dict[str, PromptVersion]:
    """The version that each include of `prompt` stands for.

    A pin in `given` (name to hash, from the content itself) is kept where it fits; otherwise the include's reference
    is resolved now. Raises `template.unknown_include`, `template.include_cycle` or `template.include_depth`, the
    last two with the `path` of names.
    """
    wanted = list(names)
    unused = sorted(given.keys() - set(wanted))
    if unused:
        faults = [Fault(f"/includes/{name}", "unused", "No template includes this.") for name in unused]
        raise Problem("content.invalid", f"Pinned but not included: {', '.join(unused)}.", faults=faults)
    pinned = {name: _version_for(project, name, given.get(name)) for name in wanted}
    _refuse_cycles(prompt, pinned.values())
    return pinned


def partials_of(versions: Iterable[PromptVersion]) -> dict[str, PromptVersion]:
    """Every version that the given ones include, directly or through others, by content hash."""
    roots = [version.pk for version in versions if version.content.get("includes")]
    return {version.content_hash: version for version in _below(roots).versions.values()} if roots else {}


def refuse_archived(name: str, prompt: Prompt) -> None:
    if prompt.archived_at:
        raise Problem("template.unknown_include", f"“{name}” cannot be included: it is archived.", include=name)


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
    refuse_archived(name, version.prompt)
    if partial_source(version.content) is None:
        sentence = f"“{name}” cannot be included: it has several messages, and an include stands for one text."
        raise Problem("template.unknown_include", sentence, include=name)
    return version


def _in_use(project: Project, name: str) -> PromptVersion:
    """What a bare name includes: the version that is live in production, or the newest where none is live there yet."""
    production = Release.objects.filter(
        environment__in=Environment.objects.filter(project=project, name=DEFAULT_ENVIRONMENT),
        prompt__project=project,
        prompt__name=name,
    )
    live = production.select_related("version__prompt").order_by("-number").first()
    return live.version if live else resolve(project, parse_reference(f"{name}@latest"))


def _below(roots: list[int]) -> _Graph:
    edges: dict[int, list[int]] = {}
    with connection.cursor() as cursor:
        cursor.execute(EDGES_BELOW, [roots])
        for version_id, included_id in cursor.fetchall():
            edges.setdefault(version_id, []).append(included_id)
    wanted = {included for below in edges.values() for included in below}
    return _Graph(PromptVersion.objects.select_related("prompt").in_bulk(wanted), edges)


def _refuse_cycles(prompt: Prompt, pinned: Iterable[PromptVersion]) -> None:
    """Walk every path of includes; paths are at most MAX_DEPTH long, so this ends."""
    roots = list(pinned)
    graph = _below([version.pk for version in roots])
    waiting: list[tuple[PromptVersion, tuple[str, ...]]] = [
        (version, (prompt.name, version.prompt.name)) for version in roots
    ]
    while waiting:
        version, path = waiting.pop()
        shown = " → ".join(path)
        if path[-1] in path[:-1]:
            raise Problem("template.include_cycle", f"The includes form a cycle: {shown}.", path=list(path))
        if len(path) - 1 > MAX_DEPTH:
            sentence = f"Includes go at most {MAX_DEPTH} deep: {shown}."
            raise Problem("template.include_depth", sentence, path=list(path))
        below = [graph.versions[pk] for pk in graph.edges.get(version.pk, ())]
        waiting.extend((included, (*path, included.prompt.name)) for included in below)
