"""Drafts: what a user is writing on a prompt, saved as it is typed, merged and committed.

A draft belongs to one user, is visible to no other and need not be valid; so it is not audited: the commit is. Sample
values are shared by a prompt's editors, and nothing that is released rests on them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from core.content import empty_content, without_aside
from core.errors import Fault, Problem
from core.json_values import normalise_json
from registry.accounts.permissions import Actor, Right
from registry.content import merge
from registry.content.content_hash import canonical_bytes
from registry.content.merge import MergeSource, Part
from registry.content.normalize import MAX_BYTES, normalise
from registry.models import NextRevision, Prompt, PromptDraft, PromptSample, PromptVersion, User
from registry.prompts import versions
from registry.prompts.versions import CommitResult, renderer_pool

NEW_DOCUMENT: dict[str, Any] = {
    "kind": "chat",
    "messages": [{"role": "system", "content": ""}, {"role": "user", "content": ""}],
}
MAX_SAMPLE_BYTES = 256 * 1024


@dataclass(frozen=True)
class EditorDocument:
    """The editor's document, with its origin and the revision that the next save must name."""

    document: dict[str, Any]
    base: PromptVersion | None
    seen: PromptVersion | None
    revision: int
    draft: PromptDraft | None = None

    @property
    def is_behind(self) -> bool:
        """True if another commit was made since the draft was started."""
        if self.draft is None:
            return False
        return self.draft.prompt.head_id != self.draft.seen_id


def open_editor_document(actor: Actor, prompt: Prompt, start: PromptVersion | None = None) -> EditorDocument:
    """Return the user's draft, or a new document that starts from `start` (by default the newest version)."""
    draft = get_draft(actor, prompt)
    if draft:
        return EditorDocument(draft.document, draft.base, draft.seen, draft.revision, draft)
    base = start or prompt.head
    return EditorDocument(dict(base.content) if base else NEW_DOCUMENT, base, prompt.head, 0)


def get_draft(actor: Actor, prompt: Prompt) -> PromptDraft | None:
    """Return the user's draft of a prompt."""
    drafts = PromptDraft.objects.filter(prompt=prompt, user=_writer(actor))
    return drafts.select_related("base", "seen", "prompt__project", "prompt__head").first()


@dataclass(frozen=True)
class BrowserWindow:
    """A browser window that saves, and which of its saves this is (1, 2, 3)."""

    name: str
    serial: int


@transaction.atomic
def save(
    actor: Actor,
    prompt: Prompt,
    *,
    document: object,
    revision: int,
    window: BrowserWindow | None = None,
    base: int | None = None,
    seen: int | None = None,
) -> int:
    """Save the document as the user's draft; returns the revision that the next save must name.

    `revision` is the one that the user's window shows, 0 where there was no draft: `draft.changed_elsewhere` where
    another window saved meanwhile. What the same window sent before may be overwritten whatever its answer was, and
    what it sent later is not. `base` and `seen` are version numbers and count for a new draft only.
    """
    actor.require(Right.EDIT)
    storable = _storable_document(document)
    mine = PromptDraft.objects.filter(prompt=prompt, user=_writer(actor))
    by = {"window": window.name, "serial": window.serial} if window else {}
    allowed = Q(revision=revision)
    if window:
        allowed |= Q(window=window.name, serial__lt=window.serial)
    change = {"document": storable, "revision": NextRevision(), "updated_at": timezone.now(), **by}
    if mine.filter(allowed).update(**change):
        return mine.get().revision
    draft = mine.first()
    if draft:
        if window and draft.window == window.name:
            return draft.revision
        raise _changed_elsewhere()
    if revision:
        raise _changed_elsewhere()
    return _start(actor, prompt, base, seen, document=storable, **by)


def _start(actor: Actor, prompt: Prompt, base: int | None, seen: int | None, **columns: Any) -> int:
    """Create the user's draft and return its revision, unless another window did so at this moment."""
    numbers = [number for number in (base, seen) if number]
    versions = {version.number: version for version in prompt.versions.filter(number__in=numbers)}
    started = {"base": versions.get(base or 0), "seen": versions.get(seen or 0)}
    try:
        with transaction.atomic():
            draft = PromptDraft.objects.create(prompt=prompt, user=_writer(actor), **started, **columns)
    except IntegrityError:
        raise _changed_elsewhere() from None
    return draft.revision


@transaction.atomic
def discard(actor: Actor, prompt: Prompt, *, revision: int) -> None:
    """Discard the user's draft as they saw it; a missing draft is no error."""
    actor.require(Right.EDIT)
    mine = PromptDraft.objects.filter(prompt=prompt, user=_writer(actor))
    if not mine.filter(revision=revision).delete()[0] and mine.exists():
        raise _changed_elsewhere()


def merge_parts(draft: PromptDraft) -> list[Part]:
    """Compare the commits since the draft was started with the draft's changes, part by part."""
    mine = normalise(without_aside(draft.document))
    before = draft.seen.content if draft.seen else empty_content(mine["kind"])
    return merge.merge(before, draft.prompt.head.content if draft.prompt.head else before, mine)


@transaction.atomic
def rebase(actor: Actor, prompt: Prompt, *, revision: int, newest: int, choices: Mapping[str, MergeSource]) -> int:
    """Merge what was committed since, with the user's choices; the draft then starts from the newest version.

    `newest` is the number of the version that the choices were made against: `request.precondition` where there is
    a newer one by now.
    """
    actor.require(Right.EDIT)
    draft = _lock_draft(actor, prompt, revision)
    if prompt.head is None or prompt.head.number != newest:
        raise Problem("request.precondition", "Another user committed again; look at the difference once more.")
    parts = merge_parts(draft)
    draft.document = merge.assemble(normalise(without_aside(draft.document))["kind"], parts, choices)
    draft.base = draft.seen = prompt.head
    draft.revision = NextRevision()
    # An editor that is still open elsewhere must load this before it saves again.
    draft.window = ""
    draft.updated_at = timezone.now()
    draft.save(update_fields=["document", "base", "seen", "revision", "window", "updated_at"])
    draft.refresh_from_db(fields=["revision"])
    return draft.revision


@transaction.atomic
def commit(
    actor: Actor, prompt: Prompt, *, revision: int, message: str, expected_hash: str | None = None
) -> CommitResult:
    """Commit the user's draft and delete it; `request.precondition` where another user committed meanwhile, and
    `version.not_as_seen` where it would not be the content of `expected_hash`."""
    actor.require(Right.EDIT)
    draft = _lock_draft(actor, prompt, revision)
    committed = versions.commit(
        actor,
        prompt,
        content=committable_content(draft.document, owner=actor.project.pk),
        message=message,
        parent=draft.base.number if draft.base else None,
        expected_latest=draft.seen.content_hash if draft.seen else "",
        expected_hash=expected_hash,
    )
    draft.delete()
    return committed


def committable_content(document: object, *, owner: object = None) -> dict[str, Any]:
    """Return the document's normal form, with pins only of what is still included."""
    content = normalise(without_aside(document))
    if "includes" in content:
        included = renderer_pool().survey(content, owner=owner).includes
        content["includes"] = {name: pinned for name, pinned in content["includes"].items() if name in included}
    return content


@transaction.atomic
def save_samples(actor: Actor, prompt: Prompt, changes: Mapping[str, Any]) -> None:
    """Save sample values of a prompt, shared by all its editors; null removes a variable's value.

    Only changed values are passed: two users who try different variables do not undo each other.
    """
    actor.require(Right.EDIT)
    if not changes:
        return
    faults: list[Fault] = []
    new_values = normalise_json(changes, faults)
    if faults:
        raise Problem("request.invalid", f"The sample values: {faults[0].message}", faults=faults)
    PromptSample.objects.get_or_create(prompt=prompt, defaults={"updated_by_name": actor.name})
    before = PromptSample.objects.select_for_update(no_key=True).get(prompt=prompt).values
    merged = {name: value for name, value in {**before, **new_values}.items() if value is not None}
    if len(canonical_bytes(merged)) > MAX_SAMPLE_BYTES:
        raise Problem("request.too_large", f"Sample values have at most {MAX_SAMPLE_BYTES:,} bytes.")
    PromptSample.objects.filter(prompt=prompt).update(
        values=merged, updated_by_name=actor.name, updated_at=timezone.now()
    )


def sample_values(prompt: Prompt) -> dict[str, Any]:
    """Return the prompt's sample values."""
    sample = PromptSample.objects.filter(prompt=prompt).first()
    return sample.values if sample else {}


def _writer(actor: Actor) -> User:
    """Return the actor's user; only users have drafts."""
    if actor.user is None:
        raise Problem("draft.not_found", "Only users have drafts.")
    return actor.user


def _lock_draft(actor: Actor, prompt: Prompt, revision: int) -> PromptDraft:
    """Return the user's draft, locked, at the revision that they looked at."""
    draft = (
        PromptDraft.objects.select_for_update(of=("self",))
        .select_related("base", "seen", "prompt__head")
        .filter(prompt=prompt, user=_writer(actor))
        .first()
    )
    if draft is None:
        raise Problem("draft.not_found", f"You have no draft of {prompt.name}; it may have been committed already.")
    if draft.revision != revision:
        raise _changed_elsewhere()
    return draft


def _changed_elsewhere() -> Problem:
    return Problem("draft.changed_elsewhere", "Your draft was changed in another window; load the page again.")


def _storable_document(document: object) -> dict[str, Any]:
    """Return the document in a form that PostgreSQL can store."""
    faults: list[Fault] = []
    storable = normalise_json(document, faults)
    if faults or not isinstance(storable, dict):
        faults = faults or [Fault("", "type", "Must be an object.")]
        raise Problem("content.invalid", f"{faults[0].pointer or 'the draft'}: {faults[0].message}", faults=faults)
    if len(canonical_bytes(storable)) > MAX_BYTES:
        raise Problem("content.too_large", f"A draft has at most {MAX_BYTES:,} bytes.")
    return storable
