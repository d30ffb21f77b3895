"""Export to files and import from them. The hash makes both safe to repeat.

DIR/project.yaml                          which project this was
DIR/support.triage.md                     a prompt: its newest version
DIR/history/support.triage/0002.md        earlier versions: all with --history, else those that others include
DIR/example-sets/support.tickets/0001.jsonl   the newest version of each example set, and those that prompts pick from
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from django.db import transaction

from core.errors import Problem
from core.references import is_prompt_name
from registry.accounts.permissions import Actor
from registry.content import example_file, prompt_file
from registry.content.content_hash import content_hash
from registry.content.normalize import normalise
from registry.content.prompt_file import PromptFile
from registry.examples import example_sets
from registry.models import ExampleSet, ExampleSetVersion, Inclusion, Project, Prompt, PromptVersion
from registry.prompts import lifecycle as prompts
from registry.prompts import versions

MANIFEST = "project.yaml"
HISTORY = "history"
SUFFIX = ".md"
EXAMPLE_SETS = "example-sets"
EXAMPLES_SUFFIX = ".jsonl"
OWN_FILE = re.compile(rf"({HISTORY}/[a-z0-9._-]+/)?[a-z0-9._-]+\.md|{EXAMPLE_SETS}/[a-z0-9._-]+/\d+\.jsonl")


@dataclass(frozen=True)
class ExportCounts:
    prompts: int
    earlier: int


@dataclass
class ImportCounts:
    created: int = 0
    committed: int = 0
    existing: int = 0


def export_project(project: Project, directory: Path, *, history: bool = False) -> ExportCounts:
    """Write a project's prompts, without archived ones that no other prompt includes.

    The manifest lists what was written; the next export removes from that list what no longer applies. Nothing else
    in the directory is touched, and a directory with files but no manifest is refused.
    """
    directory.mkdir(parents=True, exist_ok=True)
    written = _manifest(directory).get("files", []) if _is_export(directory) else []
    files = dict(_files(project, history=history)) | dict(_example_files(project))
    for path, text in files.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8", newline="\n")
    for path in set(written) - files.keys():
        if isinstance(path, str) and OWN_FILE.fullmatch(path):
            (directory / path).unlink(missing_ok=True)
    manifest = {"project": project.slug, "name": project.name, "files": sorted(files)}
    text = yaml.safe_dump(manifest, allow_unicode=True, sort_keys=False)
    (directory / MANIFEST).write_text(text, encoding="utf-8", newline="\n")
    earlier = sum(path.startswith(f"{HISTORY}/") for path in files)
    sets = sum(path.startswith(f"{EXAMPLE_SETS}/") for path in files)
    return ExportCounts(prompts=len(files) - earlier - sets, earlier=earlier)


def _is_export(directory: Path) -> bool:
    """Return whether the directory has an earlier export; `exchange.not_an_export` where it has other files."""
    if (directory / MANIFEST).exists():
        return True
    if any(not path.name.startswith(".") for path in directory.iterdir()):
        sentence = f"{directory} has files but no {MANIFEST}; choose an empty directory or one of an earlier export."
        raise Problem("exchange.not_an_export", sentence)
    return False


def read_project_slug(directory: Path) -> str:
    """Return the slug in an export's manifest."""
    slug = _manifest(directory).get("project")
    if not isinstance(slug, str):
        raise Problem("exchange.unreadable", f"{directory / MANIFEST} does not name a project.")
    return slug


def _manifest(directory: Path) -> dict[str, Any]:
    path = directory / MANIFEST
    try:
        manifest = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise Problem("exchange.unreadable", f"{path} cannot be read ({error}).") from None
    if not isinstance(manifest, dict):
        raise Problem("exchange.unreadable", f"{path} is no manifest.")
    return manifest


@transaction.atomic
def import_directory(actor: Actor, directory: Path) -> ImportCounts:
    """Commit every file of an export: all of them or, where one is refused, none.

    Partials come before the prompts that include them; the versions of one prompt come in their order.
    """
    files = [_read(path, directory) for path in _prompt_files(directory)]
    if not files:
        raise Problem("exchange.unreadable", f"There is no prompt's file in {directory}.")
    counts = ImportCounts()
    _import_examples(actor, directory)
    for file in _in_order(files):
        _import_file(actor, file, counts)
    return counts


def _files(project: Project, *, history: bool) -> Iterator[tuple[str, str]]:
    """Yield the path and text of each file."""
    rows = PromptVersion.objects.filter(prompt__project=project)
    included = set(Inclusion.objects.filter(version__prompt__project=project).values_list("included_id", flat=True))
    exported = rows.filter(prompt__archived_at=None) | rows.filter(pk__in=included)
    newest: dict[int, PromptVersion] = {}
    for version in exported.select_related("prompt").order_by("prompt__name", "-number").iterator(chunk_size=500):
        is_newest = newest.setdefault(version.prompt_id, version) is version
        if is_newest and not version.prompt.archived_at:
            yield f"{version.prompt.name}{SUFFIX}", _text(version, describe=True)
        elif history or version.pk in included:
            yield (
                f"{HISTORY}/{version.prompt.name}/{version.number:04}{SUFFIX}",
                _text(version, describe=False),
            )


def _example_files(project: Project) -> Iterator[tuple[str, str]]:
    """Yield the newest version of each example set in use, and every version that a prompt picks from."""
    heads = ExampleSet.objects.filter(project=project, archived_at=None, head__isnull=False).values("head")
    picked = PromptVersion.objects.filter(prompt__project=project, example_set__isnull=False).values("example_set")
    exported = ExampleSetVersion.objects.filter(pk__in=heads) | ExampleSetVersion.objects.filter(pk__in=picked)
    for version in exported.select_related("example_set").order_by("example_set__name", "number"):
        path = f"{EXAMPLE_SETS}/{version.example_set.name}/{version.number:04}{EXAMPLES_SUFFIX}"
        yield path, "".join(example_file.write_jsonl(example_sets.version_shots(version)))


def _import_examples(actor: Actor, directory: Path) -> None:
    """Commit the example sets' versions in their order; existing ones stay."""
    for path in sorted(directory.glob(f"{EXAMPLE_SETS}/*/*{EXAMPLES_SUFFIX}")):
        name = path.parent.name
        try:
            shots = example_file.read_file(path.read_bytes(), path.name)
        except OSError as error:
            raise Problem("exchange.unreadable", f"{path.relative_to(directory)}: {error}") from None
        except Problem as problem:
            sentence = f"{path.relative_to(directory)}: {problem.detail}"
            raise Problem(problem.code, sentence, faults=problem.faults) from None
        example_set = ExampleSet.objects.filter(project=actor.project, name=name).first()
        example_sets.commit(
            actor, example_set or example_sets.create(actor, name=name), examples=shots, message="Imported"
        )


def _text(version: PromptVersion, *, describe: bool) -> str:
    prompt = version.prompt
    return prompt_file.write(
        PromptFile(
            prompt=prompt.name,
            number=version.number,
            hash=version.content_hash,
            message=version.message,
            description=prompt.description if describe else "",
            tags=prompt.tags if describe else [],
            content=version.content,
        )
    )


def _prompt_files(directory: Path) -> list[Path]:
    """Return files named like prompts; others, such as a README.md, are ignored."""
    current = [path for path in directory.glob(f"*{SUFFIX}") if is_prompt_name(path.stem)]
    return sorted([*current, *directory.glob(f"{HISTORY}/*/*{SUFFIX}")])


def _read(path: Path, directory: Path) -> PromptFile:
    """Read a file's content in normal form; every fault names the file."""
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            file = prompt_file.read(handle.read())
        content = normalise(file.content)
    except (OSError, UnicodeDecodeError) as error:
        raise Problem("exchange.unreadable", f"{path.relative_to(directory)}: {error}") from None
    except Problem as problem:
        sentence = f"{path.relative_to(directory)}: {problem.detail}"
        raise Problem(problem.code, sentence, faults=problem.faults, **problem.members) from None
    digest = content_hash(content)
    # An edited file is a new version; a pinned version must be exactly what others include.
    if file.hash and digest != file.hash and path.parent != directory:
        raise Problem("exchange.hash_mismatch", f"{path.relative_to(directory)} names {file.hash} but has {digest}.")
    return PromptFile(file.prompt, content, file.number, digest, file.message, file.description, file.tags)


def _in_order(files: Iterable[PromptFile]) -> list[PromptFile]:
    """Order files such that each comes after those that it includes and after earlier versions of its prompt.

    Both relations come from hashes and numbers of one export, so they cannot form a cycle; where hand-made files do,
    committing them says which include is missing.
    """
    waiting = sorted(files, key=lambda file: (file.number or 0, file.prompt))
    done: set[str] = set()
    ordered: list[PromptFile] = []
    while waiting:
        ready = [file for file in waiting if _is_ready(file, waiting, done)] or waiting
        ordered.extend(ready)
        done |= {file.hash for file in ready if file.hash}
        waiting = [file for file in waiting if file not in ready]
    return ordered


def _is_ready(file: PromptFile, waiting: list[PromptFile], done: set[str]) -> bool:
    pinned = set(file.content.get("includes", {}).values())
    missing = {other.hash for other in waiting if other.hash in pinned} - done
    earlier = any(other.prompt == file.prompt and (other.number or 0) < (file.number or 0) for other in waiting)
    return not missing and not earlier


def _import_file(actor: Actor, file: PromptFile, counts: ImportCounts) -> None:
    prompt = Prompt.objects.filter(project=actor.project, name=file.prompt).select_related("project").first()
    if prompt is None:
        prompt = prompts.create(actor, name=file.prompt, description=file.description, tags=file.tags)
        counts.created += 1
    elif file.description or file.tags:
        prompts.describe(actor, prompt, description=file.description or None, tags=file.tags or None)
    committed = versions.commit(actor, prompt, content=file.content, message=file.message)
    counts.committed += committed.created
    counts.existing += not committed.created
