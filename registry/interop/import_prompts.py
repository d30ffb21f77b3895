"""Bringing prompts in from other products. Content that a prompt has already adds nothing, so it is safe to repeat."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from django.db import transaction

from core.errors import Problem
from registry.accounts.permissions import Actor, Right
from registry.interop.importers import convert
from registry.interop.importers.convert import ForeignPrompt
from registry.models import Prompt
from registry.prompts import lifecycle as prompts
from registry.prompts import versions


@dataclass(frozen=True)
class BroughtVersion:
    """A version that came in. `source` is its number there, `labels` where it was live; `is_new` is False for content
    that the prompt had already."""

    source: str
    number: int
    hash: str
    is_new: bool
    labels: Sequence[str]
    notes: Sequence[str]


@dataclass(frozen=True)
class Brought:
    """What became of one prompt: its versions, or why nothing of it came in."""

    source: str
    name: str
    is_new: bool = False
    versions: Sequence[BroughtVersion] = field(default=())
    refusal: Problem | None = None

    @property
    def outcome(self) -> str:
        """`created`, `changed`, `known` or `refused`."""
        if self.refusal:
            return "refused"
        if self.is_new:
            return "created"
        return "changed" if self.added else "known"

    @property
    def added(self) -> Sequence[BroughtVersion]:
        """The versions that were not here before."""
        return [version for version in self.versions if version.is_new]

    @property
    def notes(self) -> Sequence[str]:
        """What was renamed or left out, each said once."""
        return list(dict.fromkeys(note for version in self.versions for note in version.notes))


def bring(
    actor: Actor, source: str, document: object, *, names: Mapping[str, str] | None = None, is_dry_run: bool = False
) -> list[Brought]:
    """Commit the prompts of another product's document, each with all its versions or not at all.

    One that is refused keeps no other from coming in. A dry run does the same and takes everything back, so it refuses
    what the import would. Raises `exchange.unreadable` where the document as a whole cannot be read.
    """
    actor.require(Right.EDIT)
    found = convert.read(source, document, names)
    if not is_dry_run:
        return [_brought(actor, prompt) for prompt in found]
    with transaction.atomic():
        shown = [_brought(actor, prompt) for prompt in found]
        transaction.set_rollback(True)
    return shown


def _brought(actor: Actor, foreign: ForeignPrompt) -> Brought:
    if foreign.refusal:
        return Brought(foreign.source, foreign.name, refusal=foreign.refusal)
    try:
        with transaction.atomic():
            return _committed(actor, foreign)
    except Problem as problem:
        return Brought(foreign.source, foreign.name, refusal=problem)


def _committed(actor: Actor, foreign: ForeignPrompt) -> Brought:
    prompt = Prompt.objects.filter(project=actor.project, name=foreign.name).select_related("project").first()
    is_new = prompt is None
    prompt = prompt or prompts.create(actor, name=foreign.name, tags=foreign.tags)
    done: list[BroughtVersion] = []
    for one in foreign.versions:
        made = versions.commit(actor, prompt, content=one.content, message=one.message)
        version = made.version
        done.append(
            BroughtVersion(one.source, version.number, version.content_hash, made.created, one.labels, one.notes)
        )
    return Brought(foreign.source, foreign.name, is_new, done)
