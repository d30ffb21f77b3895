"""Committing content as a version, and rendering a stored one."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction

from core.content import EXAMPLES_PLACEHOLDER, RETRIEVAL_QUERY, full_text
from core.errors import Fault, Problem
from core.example_selection import BY_SIMILARITY, MAX_IN_ORDER
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
from registry.prompts.pinned import named_references
from registry.prompts.resolution import with_live_environments
from registry.rendering.pool import RendererPool
from registry.retrieval import context, usage
from registry.retrieval.context import SEARCHES_NOW, SearchMode

MAX_MESSAGE = 500


@dataclass(frozen=True)
class CommitResult:
    """A version, and whether this commit created it (False: the prompt had this content already)."""

    version: PromptVersion
    created: bool


@dataclass(frozen=True)
class _PendingCommit:
    """A checked and pinned content, ready to be committed."""

    content: dict[str, Any]
    includes: Mapping[str, PromptVersion]
    examples: ExampleSetVersion | None
    message: str
    parent: int | None
    expected_latest: str | None
    expected_hash: str | None


@functools.cache
def renderer_pool() -> RendererPool:
    """Return this process's pool of child processes for untrusted templates."""
    return RendererPool(settings.RENDER_PROCESSES)


def commit(
    actor: Actor,
    prompt: Prompt,
    *,
    content: object,
    message: str = "",
    parent: int | None = None,
    expected_latest: str | None = None,
    expected_hash: str | None = None,
) -> CommitResult:
    """Add `content` to a prompt as its next version, or return the version that has it already.

    `parent` is the number of the version that was edited (the newest one where it is not given). `expected_latest`
    is the newest version's hash as the author saw it: `request.precondition` where it has changed. `expected_hash` is
    the hash of the content with what it included when the author looked: `version.not_as_seen` where an include means
    another version by now. Templates are parsed and compiled under limits before any row is locked.
    """
    actor.require(Right.EDIT)
    if len(message) > MAX_MESSAGE:
        fault = Fault("/message", "too_long", f"Must have at most {MAX_MESSAGE} characters.")
        raise Problem("request.invalid", fault.message, faults=[fault])
    normal = normalise(content)
    context.require_collection(actor.project, normal)
    example_version = pin_examples(actor.project, normal)
    # Refuses one that names too many others.
    named_references(normal)
    analysis = renderer_pool().analyse(normal, owner=actor.project.pk)
    with transaction.atomic():
        pinned = _pin_includes(actor.project, prompt, normal, analysis, picks=example_version is not None)
        locked = _lock(prompt, pinned)
        change = _PendingCommit(normal, pinned, example_version, message, parent, expected_latest, expected_hash)
        return _insert(actor, prompt, locked, change)


def preview_commit(project: Project, prompt: Prompt, content: object) -> dict[str, Any]:
    """Return the content as a commit would store it now, with all pins; refuses what a commit would. Stores nothing."""
    normal = normalise(content)
    context.require_collection(project, normal)
    example_version = pin_examples(project, normal)
    analysis = renderer_pool().analyse(normal, owner=project.pk)
    _pin_includes(project, prompt, normal, analysis, picks=example_version is not None)
    return normal


def _pin_includes(
    project: Project, prompt: Prompt, content: dict[str, Any], analysis: Analysis, *, picks: bool
) -> dict[str, PromptVersion]:
    """Pin the includes of `content` and return their versions; a content that `picks` examples needs a place for
    them."""
    pinned = includes.pin_includes(project, prompt, analysis.includes, content.get("includes", {}))
    if picks and content["kind"] == "text" and not places_examples(content, analysis.variables):
        _require_place([version.content for version in pinned.values()])
    if pinned:
        content["includes"] = {name: version.content_hash for name, version in pinned.items()}
    return pinned


def pin_examples(project: Project, content: dict[str, Any]) -> ExampleSetVersion | None:
    """Return the set's version that a content picks examples from; `content` gets its embedder pinned.

    Raises `content.unknown_example_set` or `embedder.unknown`.
    """
    selection = content.get("examples")
    if selection is None:
        return None
    version = example_sets.get_pinned_version(project.pk, selection["set"])
    if selection.get("select", "fixed") == "fixed" and version.size > MAX_IN_ORDER:
        sentence = f"{version} has {version.size:,} examples; at most {MAX_IN_ORDER:,} are shown as they are."
        raise Problem("content.invalid", sentence, faults=[Fault("/examples/select", "choice", sentence)])
    if selection.get("select") in BY_SIMILARITY:
        content["examples"] = {**selection, "embedder": selection.get("embedder", embedders.default_embedder())}
        embedders.require_embedder(content["examples"]["embedder"])
    return version


def _require_place(partials: Iterable[Mapping[str, Any]]) -> None:
    """Refuse a text prompt whose partials do not place the examples either."""
    if not any(EXAMPLES_PLACEHOLDER in full_text(content) for content in partials):
        raise unplaced_examples_problem()


def unplaced_examples_problem() -> Problem:
    """Return the refusal of a text prompt that does not place its examples."""
    sentence = "Say where the examples go: {% for example in examples %}…{{ example.input }}…{% endfor %}."
    return Problem("content.invalid", sentence, faults=[Fault("/text", "examples", sentence)])


def render(
    version: PromptVersion, variables: Mapping[str, Any], partials: Mapping[str, PromptVersion] | None = None
) -> dict[str, Any]:
    """Return the request that a provider gets for a stored version and these variables; `examples` lists the picks with
    their reasons, where the version picks some."""
    included = includes.get_partials([version]) if partials is None else partials
    contents = {key: partial.content for key, partial in included.items()}
    return render_request(version.prompt.project_id, version.content, variables, contents)


def render_request(
    project_id: int,
    content: Mapping[str, Any],
    variables: Mapping[str, Any],
    partials: Mapping[str, Any],
    *,
    is_checked: bool = True,
    picks: few_shot.Picks | None = None,
    searching: SearchMode = SEARCHES_NOW,
) -> dict[str, Any]:
    """Render a content that may not be committed yet; `partials` has the contents of what it includes. Where stand-ins
    take the place of values, images and arguments are not checked (not `is_checked`). `picks` are the examples of
    `fixed_picks`, for whoever renders it often."""
    pool = renderer_pool()
    selection, retrieval = content.get("examples"), content.get("retrieval")
    if selection is not None and picks is None:
        by_similarity = selection.get("select") in BY_SIMILARITY
        query = pool.query(content, variables, partials, owner=project_id) if by_similarity else None
        picks = few_shot.pick(project_id, selection, query)
    retrieved = None
    if retrieval is not None and searching.is_on:
        query = pool.query(content, variables, partials, RETRIEVAL_QUERY, owner=project_id)
        retrieved = context.find(project_id, retrieval, query, searching.as_of)
    request = pool.render(
        *(content, variables, partials, picks.shots if picks else (), retrieved.seen() if retrieved else None),
        owner=project_id,
        is_checked=is_checked,
    )
    request |= {"examples": picks.as_dict()} if picks else {}
    return request | ({"retrieval": retrieved.as_dict()} if retrieved else {})


def fixed_picks(project_id: int, content: Mapping[str, Any]) -> few_shot.Picks | None:
    """Return the examples of a content that are the same whatever it is asked; None where it has none, or picks them by
    the question."""
    selection = content.get("examples")
    if selection is None or selection.get("select") in BY_SIMILARITY:
        return None
    return few_shot.pick(project_id, selection, None)


def render_requests(
    project_id: int,
    content: Mapping[str, Any],
    every: Sequence[Mapping[str, Any]],
    partials: Mapping[str, Any],
    searching: SearchMode = SEARCHES_NOW,
) -> list[dict[str, Any] | Problem]:
    """Render for each of many variables, or return its problem; much faster than one call each, unless something is
    searched for each."""
    if "retrieval" in content:
        return [_request_or_problem(project_id, content, variables, partials, searching) for variables in every]
    selection = content.get("examples")
    if selection is None:
        return renderer_pool().render_all(content, every, partials, owner=project_id)
    try:
        picks = fixed_picks(project_id, content)
    except Problem as problem:
        return [problem for _ in every]
    if picks is None:
        return [_request_or_problem(project_id, content, variables, partials) for variables in every]
    rendered = renderer_pool().render_all(content, every, partials, picks.shots, owner=project_id)
    examples = picks.as_dict()
    return [request if isinstance(request, Problem) else {**request, "examples": examples} for request in rendered]


def _request_or_problem(
    project_id: int,
    content: Mapping[str, Any],
    variables: Mapping[str, Any],
    partials: Mapping[str, Any],
    searching: SearchMode = SEARCHES_NOW,
) -> dict[str, Any] | Problem:
    try:
        return render_request(project_id, content, variables, partials, searching=searching)
    except Problem as problem:
        return problem


def count_written_tokens(
    content: Mapping[str, Any], pinned: Iterable[PromptVersion], example_version: ExampleSetVersion | None = None
) -> int:
    """Count the tokens of a content's text as it is written, with those of its images, its includes and the examples
    that it picks (registry.examples.example_sets.expected_tokens); variables come on top."""
    model = str(content.get("model", {}).get("name", ""))
    own = tokens.count(full_text(content), model)
    example_tokens = example_sets.expected_tokens(example_version, content["examples"]) if example_version else 0
    images = tokens.count_images(content.get("messages", ()), model)
    return own.tokens + images + sum(version.tokens for version in pinned) + example_tokens


def _lock(prompt: Prompt, pinned: Mapping[str, PromptVersion]) -> dict[int, Prompt]:
    """Lock the prompt, and with it what it includes (so that none is archived meanwhile), in one order for all."""
    prompt_ids = {prompt.pk, *(version.prompt_id for version in pinned.values())}
    rows = Prompt.objects.select_for_update(no_key=True).filter(pk__in=prompt_ids).order_by("pk")
    return {row.pk: row for row in rows}


def _refuse_archived(prompt: Prompt, change: _PendingCommit, locked: Mapping[int, Prompt]) -> None:
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


def _lock_collection(prompt: Prompt, content: Mapping[str, Any]) -> None:
    if "retrieval" in content:
        usage.lock_collections(prompt.project_id, [content["retrieval"]["collection"]])


def _insert(actor: Actor, prompt: Prompt, locked: Mapping[int, Prompt], change: _PendingCommit) -> CommitResult:
    digest = content_hash(change.content)
    versions = prompt.versions.order_by("-number")
    latest = versions.only("number", "content_hash").first()
    if change.expected_latest is not None and change.expected_latest != (latest.content_hash if latest else ""):
        raise Problem(
            "request.precondition",
            f"Another user committed to {prompt.name} meanwhile.",
            latest=latest and latest.number,
        )
    if change.expected_hash is not None and change.expected_hash != digest:
        moved = ", ".join(f"{name} is {version} now" for name, version in change.includes.items())
        sentence = "The content is not what you saw any more"
        raise Problem("version.not_as_seen", f"{sentence}: {moved}." if moved else f"{sentence}.", hash=digest)
    same = with_live_environments(prompt.versions.filter(content_hash=digest)).first()
    if same:
        return CommitResult(same, created=False)
    _refuse_archived(prompt, change, locked)
    _lock_collection(prompt, change.content)
    version = PromptVersion.objects.create(
        prompt=prompt,
        number=latest.number + 1 if latest else 1,
        content=change.content,
        content_hash=digest,
        tokens=count_written_tokens(change.content, change.includes.values(), change.examples),
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
    Prompt.objects.filter(pk=prompt.pk).update(head=version, head_text=full_text(change.content))
    audit.record(actor, "version.committed", version, after={"hash": digest, "message": change.message})
    version.live_in = []  # type: ignore[attr-defined]  # as `deliverable` annotates it: a new version is live nowhere
    return CommitResult(version, created=True)


def _parent(prompt: Prompt, number: int) -> PromptVersion:
    version = prompt.versions.filter(number=number).first()
    if version is None:
        fault = Fault("/parent", "unknown", f"{prompt.name} has no version {number}.")
        raise Problem("request.invalid", fault.message, faults=[fault])
    return version
