"""Imports of prompts from other products. Content that a prompt has already adds nothing, so imports can be
repeated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from django.db import transaction

from core.errors import Problem
from registry.accounts.permissions import Actor, Right
from registry.interop.importers import convert
from registry.interop.importers.convert import SourcePrompt
from registry.models import Prompt
from registry.prompts import lifecycle as prompts
from registry.prompts import versions


@dataclass(frozen=True)
class ImportedVersion:
    """An imported version. `source` is its number in the other product, `labels` where it was live; `is_new` is False
    for content that the prompt had already."""

    source: str
    number: int
    hash: str
    is_new: bool
    labels: Sequence[str]
    notes: Sequence[str]


@dataclass(frozen=True)
class ImportResult:
    """The result for one prompt: its versions, or why it was refused."""

    source: str
    name: str
    is_new: bool = False
    versions: Sequence[ImportedVersion] = field(default=())
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
    def added(self) -> Sequence[ImportedVersion]:
        """The versions that the import created."""
        return [version for version in self.versions if version.is_new]

    @property
    def notes(self) -> Sequence[str]:
        """Notes of what was renamed or left out, each once."""
        return list(dict.fromkeys(note for version in self.versions for note in version.notes))


def import_prompts(
    actor: Actor, source: str, document: object, *, names: Mapping[str, str] | None = None, is_dry_run: bool = False
) -> list[ImportResult]:
    """Commit the prompts of another product's document, each with all its versions or not at all.

    A refused prompt does not stop the others. A dry run does the same and rolls everything back, so it refuses what the
    import would. Raises `exchange.unreadable` where the document as a whole cannot be read.
    """
    actor.require(Right.EDIT)
    source_prompts = convert.read_prompts(source, document, names)
    if not is_dry_run:
        return [_import_prompt(actor, prompt) for prompt in source_prompts]
    with transaction.atomic():
        results = [_import_prompt(actor, prompt) for prompt in source_prompts]
        transaction.set_rollback(True)
    return results


def _import_prompt(actor: Actor, source_prompt: SourcePrompt) -> ImportResult:
    if source_prompt.refusal:
        return ImportResult(source_prompt.source, source_prompt.name, refusal=source_prompt.refusal)
    try:
        with transaction.atomic():
            return _commit_versions(actor, source_prompt)
    except Problem as problem:
        return ImportResult(source_prompt.source, source_prompt.name, refusal=problem)


def _commit_versions(actor: Actor, source_prompt: SourcePrompt) -> ImportResult:
    prompt = Prompt.objects.filter(project=actor.project, name=source_prompt.name).select_related("project").first()
    is_new = prompt is None
    prompt = prompt or prompts.create(actor, name=source_prompt.name, tags=source_prompt.tags)
    imported: list[ImportedVersion] = []
    for source_version in source_prompt.versions:
        committed = versions.commit(actor, prompt, content=source_version.content, message=source_version.message)
        version = committed.version
        imported.append(
            ImportedVersion(
                source_version.source,
                version.number,
                version.content_hash,
                committed.created,
                source_version.labels,
                source_version.notes,
            )
        )
    return ImportResult(source_prompt.source, source_prompt.name, is_new, imported)
