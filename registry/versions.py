"""Committing content as a version, and rendering a stored one."""

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction

from registry import audit, includes, tokens
from registry.access import Actor, Right
from registry.content import normalise, whole_text
from registry.identity import content_hash
from registry.models import Inclusion, Prompt, PromptVersion
from registry.problems import Fault, Problem
from registry.rendering_pool import RendererPool
from registry.resolution import deliverable

MAX_MESSAGE = 500


@dataclass(frozen=True)
class Committed:
    """A version, and whether this commit made it (False: the prompt had this content already)."""

    version: PromptVersion
    created: bool


@functools.cache
def renderers() -> RendererPool:
    """This process's child processes for untrusted templates."""
    return RendererPool(settings.RENDER_PROCESSES)


def commit(
    actor: Actor,
    prompt: Prompt,
    *,
    content: object,
    message: str = "",
    parent: int | None = None,
    expected_latest: str | None = None,
) -> Committed:
    """Add `content` to a prompt as its next version, or find the version that has it already.

    `parent` is the number of the version that was edited (the newest one where it is not given). `expected_latest`
    is the newest version's hash as the author saw it: `request.precondition` where it has changed. Templates are
    parsed and compiled under limits before any row is locked.
    """
    actor.require(Right.EDIT)
    if len(message) > MAX_MESSAGE:
        fault = Fault("/message", "too_long", f"Must have at most {MAX_MESSAGE} characters.")
        raise Problem("request.invalid", fault.message, faults=[fault])
    normal = normalise(content)
    _refuse_unknown_examples(normal)
    analysis = renderers().analyse(normal, owner=actor.project.pk)
    with transaction.atomic():
        pinned = includes.pin(actor.project, prompt, analysis.includes, normal.get("includes", {}))
        locked = _lock(prompt, pinned)
        if pinned:
            normal["includes"] = {name: version.content_hash for name, version in pinned.items()}
        return _insert(actor, prompt, locked, normal, pinned, message, parent, expected_latest)


def render(
    version: PromptVersion, variables: Mapping[str, Any], partials: Mapping[str, PromptVersion] | None = None
) -> dict[str, Any]:
    """The request that a provider gets for a stored version and these variables."""
    found = includes.partials_of([version]) if partials is None else partials
    contents = {key: partial.content for key, partial in found.items()}
    return renderers().render(version.content, variables, contents, owner=version.prompt.project_id)


def written_tokens(content: Mapping[str, Any], pinned: Iterable[PromptVersion]) -> int:
    """The tokens of a content's text as it is written, with those of what it includes; variables come on top."""
    own = tokens.count(whole_text(content), str(content.get("model", {}).get("name", "")))
    return own.tokens + sum(version.tokens for version in pinned)


def _lock(prompt: Prompt, pinned: Mapping[str, PromptVersion]) -> dict[int, Prompt]:
    """Lock the prompt, and with it what it includes (so that none is archived meanwhile), in one order for all."""
    wanted = {prompt.pk, *(version.prompt_id for version in pinned.values())}
    rows = Prompt.objects.select_for_update(no_key=True).filter(pk__in=wanted).order_by("pk")
    return {row.pk: row for row in rows}


def _refuse_archived(prompt: Prompt, pinned: Mapping[str, PromptVersion], locked: Mapping[int, Prompt]) -> None:
    if locked[prompt.pk].archived_at:
        raise Problem("prompt.archived", f"{prompt.name} is archived; restore it to commit.")
    for name, version in pinned.items():
        if locked[version.prompt_id].archived_at:
            sentence = f"“{name}” cannot be included: it is archived."
            raise Problem("template.unknown_include", sentence, include=name)


def _insert(
    actor: Actor,
    prompt: Prompt,
    locked: Mapping[int, Prompt],
    content: dict[str, Any],
    pinned: Mapping[str, PromptVersion],
    message: str,
    parent: int | None,
    expected_latest: str | None,
) -> Committed:
    digest = content_hash(content)
    versions = prompt.versions.order_by("-number")
    latest = versions.only("number", "content_hash").first()
    if expected_latest is not None and expected_latest != (latest.content_hash if latest else ""):
        raise Problem(
            "request.precondition",
            f"Somebody committed to {prompt.name} meanwhile.",
            latest=latest and latest.number,
        )
    same = deliverable(prompt.versions.filter(content_hash=digest)).first()
    if same:
        return Committed(same, created=False)
    _refuse_archived(prompt, pinned, locked)
    version = PromptVersion.objects.create(
        prompt=prompt,
        number=latest.number + 1 if latest else 1,
        content=content,
        content_hash=digest,
        tokens=written_tokens(content, pinned.values()),
        message=message,
        parent=_parent(prompt, parent) if parent is not None else latest,
        author=actor.user,
        author_key=actor.key,
        author_name=actor.name,
    )
    Inclusion.objects.bulk_create(
        Inclusion(version=version, name=name, included=included) for name, included in pinned.items()
    )
    Prompt.objects.filter(pk=prompt.pk).update(head=version, head_text=whole_text(content))
    audit.record(actor, "version.committed", version, after={"hash": digest, "message": message})
    version.live_in = []  # type: ignore[attr-defined]  # as `deliverable` annotates it: a new version is live nowhere
    return Committed(version, created=True)


def _parent(prompt: Prompt, number: int) -> PromptVersion:
    found = prompt.versions.filter(number=number).first()
    if found is None:
        fault = Fault("/parent", "unknown", f"{prompt.name} has no version {number}.")
        raise Problem("request.invalid", fault.message, faults=[fault])
    return found


def _refuse_unknown_examples(content: Mapping[str, Any]) -> None:
    """Example sets are pinned by hash; a hash that the project does not have pins nothing."""
    if "examples" in content:
        wanted = content["examples"]["set"]
        raise Problem("content.unknown_example_set", f"This project has no example set with the hash {wanted}.")
