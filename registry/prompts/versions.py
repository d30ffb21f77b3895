"""Committing content as a version, and rendering a stored one."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction

from core.content import EXAMPLES_PLACEHOLDER, whole_text
from core.errors import Fault, Problem
from core.example_selection import BY_SIMILARITY, MOST_IN_ORDER
from core.rendering import places_examples
from core.template_language import Analysis
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.content import tokens
from registry.content.content_hash import content_hash
from registry.content.normalize import normalise
from registry.examples import embedders, example_sets, few_shot
from registry.models import ExampleSet, ExampleSetVersion, Inclusion, Project, Prompt, PromptVersion
from registry.prompts import includes
from registry.prompts.resolution import deliverable
from registry.rendering.pool import RendererPool

MAX_MESSAGE = 500


@dataclass(frozen=True)
class Committed:
    """A version, and whether this commit made it (False: the prompt had this content already)."""

    version: PromptVersion
    created: bool


@dataclass(frozen=True)
class _Change:
    """What is to be committed, checked and pinned."""

    content: dict[str, Any]
    includes: Mapping[str, PromptVersion]
    examples: ExampleSetVersion | None
    message: str
    parent: int | None
    expected_latest: str | None


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
    chosen = pin_examples(actor.project, normal)
    analysis = renderers().analyse(normal, owner=actor.project.pk)
    with transaction.atomic():
        pinned = _pin_includes(actor.project, prompt, normal, analysis, picks=chosen is not None)
        locked = _lock(prompt, pinned)
        return _insert(actor, prompt, locked, _Change(normal, pinned, chosen, message, parent, expected_latest))


def uncommitted(project: Project, prompt: Prompt, content: object) -> dict[str, Any]:
    """What a commit would make of this content now, with all its pins; refuses what a commit would. Nothing is kept."""
    normal = normalise(content)
    chosen = pin_examples(project, normal)
    analysis = renderers().analyse(normal, owner=project.pk)
    _pin_includes(project, prompt, normal, analysis, picks=chosen is not None)
    return normal


def _pin_includes(
    project: Project, prompt: Prompt, content: dict[str, Any], analysis: Analysis, *, picks: bool
) -> dict[str, PromptVersion]:
    """The version of each include, which `content` is pinned to; what `picks` examples has to have a place for them."""
    pinned = includes.pin(project, prompt, analysis.includes, content.get("includes", {}))
    if picks and content["kind"] == "text" and not places_examples(content, analysis.variables):
        _require_place([version.content for version in pinned.values()])
    if pinned:
        content["includes"] = {name: version.content_hash for name, version in pinned.items()}
    return pinned


def pin_examples(project: Project, content: dict[str, Any]) -> ExampleSetVersion | None:
    """The set's version that a content picks examples from; `content` gets the embedder that it is picked by.

    Raises `content.unknown_example_set` or `embedder.unknown`.
    """
    asked = content.get("examples")
    if asked is None:
        return None
    version = example_sets.pinned(project.pk, asked["set"])
    if asked.get("select", "fixed") == "fixed" and version.size > MOST_IN_ORDER:
        sentence = f"{version} has {version.size:,} examples; at most {MOST_IN_ORDER:,} are shown as they are."
        raise Problem("content.invalid", sentence, faults=[Fault("/examples/select", "choice", sentence)])
    if asked.get("select") in BY_SIMILARITY:
        content["examples"] = {**asked, "embedder": asked.get("embedder", embedders.default())}
        embedders.require(content["examples"]["embedder"])
    return version


def _require_place(partials: Iterable[Mapping[str, Any]]) -> None:
    """A text that does not go through the examples itself includes something that does."""
    if not any(EXAMPLES_PLACEHOLDER in whole_text(content) for content in partials):
        raise unplaced_examples()


def unplaced_examples() -> Problem:
    """A text prompt has no messages that examples could stand between."""
    sentence = "Say where the examples go: {% for example in examples %}…{{ example.input }}…{% endfor %}."
    return Problem("content.invalid", sentence, faults=[Fault("/text", "examples", sentence)])


def render(
    version: PromptVersion, variables: Mapping[str, Any], partials: Mapping[str, PromptVersion] | None = None
) -> dict[str, Any]:
    """The request that a provider gets for a stored version and these variables; `examples` says which were picked
    and why, where the version picks some."""
    found = includes.partials_of([version]) if partials is None else partials
    contents = {key: partial.content for key, partial in found.items()}
    return request_for(version.prompt.project_id, version.content, variables, contents)


def request_for(
    project_id: int, content: Mapping[str, Any], variables: Mapping[str, Any], partials: Mapping[str, Any]
) -> dict[str, Any]:
    """As `render`, for a content that may not be committed yet; `partials` has the contents of what it includes."""
    asked = content.get("examples")
    if asked is None:
        return renderers().render(content, variables, partials, owner=project_id)
    by_similarity = asked.get("select") in BY_SIMILARITY
    query = renderers().query(content, variables, partials, owner=project_id) if by_similarity else None
    picks = few_shot.pick(project_id, asked, query)
    request = renderers().render(content, variables, partials, picks.shots, owner=project_id)
    return {**request, "examples": picks.as_dict()}


def requests_for(
    project_id: int,
    content: Mapping[str, Any],
    every: Sequence[Mapping[str, Any]],
    partials: Mapping[str, Any],
) -> list[dict[str, Any] | Problem]:
    """As `request_for` for each of many variables, or the problem with it; much faster than one after the other."""
    asked = content.get("examples")
    if asked is not None and asked.get("select") in BY_SIMILARITY:
        return [_request_or_problem(project_id, content, variables, partials) for variables in every]
    if asked is None:
        return renderers().render_all(content, every, partials, owner=project_id)
    try:
        picks = few_shot.pick(project_id, asked, None)
    except Problem as problem:
        return [problem for _ in every]
    found = renderers().render_all(content, every, partials, picks.shots, owner=project_id)
    told = picks.as_dict()
    return [one if isinstance(one, Problem) else {**one, "examples": told} for one in found]


def _request_or_problem(
    project_id: int, content: Mapping[str, Any], variables: Mapping[str, Any], partials: Mapping[str, Any]
) -> dict[str, Any] | Problem:
    try:
        return request_for(project_id, content, variables, partials)
    except Problem as problem:
        return problem


def written_tokens(
    content: Mapping[str, Any], pinned: Iterable[PromptVersion], chosen: ExampleSetVersion | None = None
) -> int:
    """The tokens of a content's text as it is written, with those of what it includes and of the examples that it
    picks (registry.examples.example_sets.expected_tokens); variables come on top."""
    own = tokens.count(whole_text(content), str(content.get("model", {}).get("name", "")))
    shown = example_sets.expected_tokens(chosen, content["examples"]) if chosen else 0
    return own.tokens + sum(version.tokens for version in pinned) + shown


def _lock(prompt: Prompt, pinned: Mapping[str, PromptVersion]) -> dict[int, Prompt]:
    """Lock the prompt, and with it what it includes (so that none is archived meanwhile), in one order for all."""
    wanted = {prompt.pk, *(version.prompt_id for version in pinned.values())}
    rows = Prompt.objects.select_for_update(no_key=True).filter(pk__in=wanted).order_by("pk")
    return {row.pk: row for row in rows}


def _refuse_archived(prompt: Prompt, change: _Change, locked: Mapping[int, Prompt]) -> None:
    if locked[prompt.pk].archived_at:
        raise Problem("prompt.archived", f"{prompt.name} is archived; restore it to commit.")
    for name, version in change.includes.items():
        if locked[version.prompt_id].archived_at:
            sentence = f"“{name}” cannot be included: it is archived."
            raise Problem("template.unknown_include", sentence, include=name)
    if change.examples:
        # Locked as well: it is not archived while a version that picks from it is being written.
        example_set = ExampleSet.objects.select_for_update(no_key=True).get(pk=change.examples.example_set_id)
        if example_set.archived_at:
            raise Problem("example_set.archived", f"The example set {example_set.name} is archived; restore it first.")


def _insert(actor: Actor, prompt: Prompt, locked: Mapping[int, Prompt], change: _Change) -> Committed:
    digest = content_hash(change.content)
    versions = prompt.versions.order_by("-number")
    latest = versions.only("number", "content_hash").first()
    if change.expected_latest is not None and change.expected_latest != (latest.content_hash if latest else ""):
        raise Problem(
            "request.precondition",
            f"Somebody committed to {prompt.name} meanwhile.",
            latest=latest and latest.number,
        )
    same = deliverable(prompt.versions.filter(content_hash=digest)).first()
    if same:
        return Committed(same, created=False)
    _refuse_archived(prompt, change, locked)
    version = PromptVersion.objects.create(
        prompt=prompt,
        number=latest.number + 1 if latest else 1,
        content=change.content,
        content_hash=digest,
        tokens=written_tokens(change.content, change.includes.values(), change.examples),
        example_set=change.examples,
        message=change.message,
        parent=_parent(prompt, change.parent) if change.parent is not None else latest,
        author=actor.user,
        author_key=actor.key,
        author_name=actor.name,
    )
    Inclusion.objects.bulk_create(
        Inclusion(version=version, name=name, included=included) for name, included in change.includes.items()
    )
    if change.examples and "embedder" in change.content["examples"]:
        example_sets.await_embedding(change.examples, change.content["examples"]["embedder"])
    Prompt.objects.filter(pk=prompt.pk).update(head=version, head_text=whole_text(change.content))
    audit.record(actor, "version.committed", version, after={"hash": digest, "message": change.message})
    version.live_in = []  # type: ignore[attr-defined]  # as `deliverable` annotates it: a new version is live nowhere
    return Committed(version, created=True)


def _parent(prompt: Prompt, number: int) -> PromptVersion:
    found = prompt.versions.filter(number=number).first()
    if found is None:
        fault = Fault("/parent", "unknown", f"{prompt.name} has no version {number}.")
        raise Problem("request.invalid", fault.message, faults=[fault])
    return found
