"""Export to files and import from them. The hash makes both safe to repeat.

DIR/project.yaml                          which project this was
DIR/support.triage.md                     a prompt: its newest version
DIR/history/support.triage/0002.md        earlier versions: all with --history, else those that others include
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from django.db import transaction

from registry import prompt_file, prompts, versions
from registry.access import Actor
from registry.content import normalise
from registry.identity import content_hash
from registry.models import Inclusion, Project, Prompt, PromptVersion
from registry.problems import Problem
from registry.prompt_file import PromptFile

MANIFEST = "project.yaml"
HISTORY = "history"
SUFFIX = ".md"


@dataclass(frozen=True)
class Exported:
    prompts: int
    earlier: int


@dataclass
class Imported:
    created: int = 0
    committed: int = 0
    known: int = 0


def export_project(project: Project, directory: Path, *, history: bool = False) -> Exported:
    """Write a project's prompts that are not archived. Files of an earlier export that no longer apply are removed."""
    files = dict(_files(project, history=history))
    directory.mkdir(parents=True, exist_ok=True)
    manifest = yaml.safe_dump({"project": project.slug, "name": project.name}, allow_unicode=True)
    (directory / MANIFEST).write_text(manifest, encoding="utf-8", newline="\n")
    for path, text in files.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8", newline="\n")
    for stale in _prompt_files(directory):
        if stale.relative_to(directory).as_posix() not in files:
            stale.unlink()
    earlier = sum(path.startswith(f"{HISTORY}/") for path in files)
    return Exported(prompts=len(files) - earlier, earlier=earlier)


def exported_project(directory: Path) -> str:
    """The slug that an export's manifest names."""
    try:
        manifest = yaml.safe_load((directory / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise Problem(
            "exchange.unreadable", f"{directory / MANIFEST} cannot be read ({error}); name the project."
        ) from None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("project"), str):
        raise Problem("exchange.unreadable", f"{directory / MANIFEST} does not name a project.")
    slug: str = manifest["project"]
    return slug


@transaction.atomic
def import_directory(actor: Actor, directory: Path) -> Imported:
    """Commit every file of an export: all of them or, where one is refused, none.

    Partials come before what includes them; the versions of one prompt come in their order.
    """
    files = [_read(path, directory) for path in _prompt_files(directory)]
    if not files:
        raise Problem("exchange.unreadable", f"There is no prompt's file in {directory}.")
    done = Imported()
    for file in _in_order(files):
        _import_file(actor, file, done)
    return done


def _files(project: Project, *, history: bool) -> Iterator[tuple[str, str]]:
    """Each file's path and text."""
    rows = PromptVersion.objects.filter(prompt__project=project, prompt__archived_at=None)
    included = set(Inclusion.objects.filter(version__in=rows).values_list("included_id", flat=True))
    newest: dict[int, PromptVersion] = {}
    for version in rows.select_related("prompt").order_by("prompt__name", "-number").iterator(chunk_size=500):
        is_newest = newest.setdefault(version.prompt_id, version) is version
        if is_newest:
            yield f"{version.prompt.name}{SUFFIX}", _text(version, describe=True)
        elif history or version.pk in included:
            yield (
                f"{HISTORY}/{version.prompt.name}/{version.number:04}{SUFFIX}",
                _text(version, describe=False),
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
    return sorted([*directory.glob(f"*{SUFFIX}"), *directory.glob(f"{HISTORY}/*/*{SUFFIX}")])


def _read(path: Path, directory: Path) -> PromptFile:
    """A file's content in normal form; every fault names the file."""
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            file = prompt_file.read(handle.read())
        content = normalise(file.content)
    except (OSError, UnicodeDecodeError) as error:
        raise Problem("exchange.unreadable", f"{path.relative_to(directory)}: {error}") from None
    except Problem as problem:
        sentence = f"{path.relative_to(directory)}: {problem.detail}"
        raise Problem(problem.code, sentence, faults=problem.faults, **problem.members) from None
    found = content_hash(content)
    # An edited file is a new version; a pinned one must be what others were built on.
    if file.hash and found != file.hash and path.parent != directory:
        raise Problem("exchange.hash_mismatch", f"{path.relative_to(directory)} names {file.hash} but has {found}.")
    return PromptFile(file.prompt, content, file.number, found, file.message, file.description, file.tags)


def _in_order(files: Iterable[PromptFile]) -> list[PromptFile]:
    """Files such that each comes after those that it includes and after earlier versions of its prompt.

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


def _import_file(actor: Actor, file: PromptFile, done: Imported) -> None:
    prompt = Prompt.objects.filter(project=actor.project, name=file.prompt).select_related("project").first()
    if prompt is None:
        prompt = prompts.create(actor, name=file.prompt, description=file.description, tags=file.tags)
        done.created += 1
    elif file.description or file.tags:
        prompts.describe(actor, prompt, description=file.description or None, tags=file.tags or None)
    committed = versions.commit(actor, prompt, content=file.content, message=file.message)
    done.committed += committed.created
    done.known += not committed.created
