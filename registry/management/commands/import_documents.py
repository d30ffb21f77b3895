import functools
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from pathlib import Path

from django.core.management import CommandError

from core.errors import Problem
from registry import tasks
from registry.management.project_command import ProjectCommand
from registry.models import Collection
from registry.retrieval import collections, documents, extraction, file_imports


class Command(ProjectCommand):
    """Takes a folder over into a collection."""

    help = (
        "Put the files of DIR into a collection: what is there already by its content is left as it is, what has "
        "changed gets a revision, and what is gone is removed. Files of kinds that are not read are named."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("directory", type=Path)
        super().add_arguments(parser)
        parser.add_argument("--collection", required=True, help="its name; it is created where there is none")
        parser.add_argument("--language", default="english", help="of a new collection: how words are read")
        parser.add_argument("--keep-missing", action="store_true", help="leave documents that are not in DIR")
        parser.add_argument(
            "--replace-all", action="store_true", help="also where not one of the documents there are is in DIR"
        )

    def run(
        self,
        *,
        directory: Path,
        project: str,
        collection: str,
        language: str,
        keep_missing: bool,
        replace_all: bool,
        **_options: object,
    ) -> None:
        actor = self.actor_in(project)
        if not directory.is_dir():
            raise Problem("document.unreadable", f"{directory} is no folder.")
        if not Collection.objects.filter(project=actor.project, name=collection).exists():
            collections.create(actor, name=collection, language=language)
        row = collections.get_collection(actor.project, collection)
        try:
            outcomes, refused = file_imports.import_files(
                actor, row, _files(directory), removes_others=not keep_missing, may_replace_all=replace_all
            )
        except Problem as refusal:
            if refusal.code != "collection.other_files":
                raise
            hint = "--keep-missing leaves them, --replace-all removes them."
            raise Problem(refusal.code, f"{refusal.detail} {hint}") from None
        tasks.start_collection(row)
        for outcome in outcomes:
            if outcome.what != "unchanged":
                self.stdout.write(f"{outcome.what:<9}  {outcome.revision.document.path}")
        for path, problem in refused:
            self.stderr.write(f"refused    {path}: {problem.detail} [{problem.code}]")
        counts = {
            what: sum(each.what == what for each in outcomes) for what in ("created", "updated", "removed", "unchanged")
        }
        counted = ", ".join(f"{count:,} {what}" for what, count in counts.items())
        self.stdout.write(f"{collection}: {counted}, {len(refused):,} refused.")
        if refused:
            raise CommandError(f"{len(refused):,} files were refused; their documents stay as they are.")


def _files(directory: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Yield the files below a folder by name, and what reads them; hidden ones are left out, and links are not
    followed."""
    for path in sorted(directory.rglob("*")):
        relative = path.relative_to(directory)
        if path.is_symlink() or not path.is_file() or any(part.startswith(".") for part in relative.parts):
            continue
        yield relative.as_posix(), functools.partial(_read, path)


def _read(path: Path) -> bytes:
    """Return what a file has. One that is refused for its size or its kind need not be read."""
    size = path.stat().st_size
    is_read = size <= documents.MAX_BYTES and extraction.suffix_of(path.name) in extraction.MEDIA_TYPES
    return path.read_bytes() if is_read else b"\0" * min(size, documents.MAX_BYTES + 1)
