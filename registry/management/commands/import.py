import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from core.errors import Problem
from registry.interop import files, import_prompts
from registry.interop.importers.convert import MAX_CHARACTERS, SOURCES
from registry.management.project_command import ProjectCommand


class Command(ProjectCommand):
    """Imports a project's prompts from files; existing versions are left alone."""

    help = "Commit the prompts of an export in DIR, or of another product's FILE. Existing content adds nothing."
    project_required = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("path", type=Path, metavar="DIR|FILE")
        parser.add_argument("--from", dest="source", choices=SOURCES, help="FILE is of this product")
        parser.add_argument("--dry-run", action="store_true", help="with --from: show what would be imported")

    def run(self, *, project: str | None, path: Path, source: str | None, dry_run: bool, **options: Any) -> None:
        if source:
            return self._import_file(project, path, source, is_dry_run=dry_run)
        if dry_run:
            raise Problem("request.invalid", "A dry run needs another product's file: give --from.")
        slug = project or files.read_project_slug(path)
        counts = files.import_directory(self.actor_in(slug), path)
        self.stdout.write(
            f"{slug}: {counts.created} new prompts, {counts.committed} new versions, {counts.existing} existing ones."
        )
        return None

    def _import_file(self, project: str | None, path: Path, source: str, *, is_dry_run: bool) -> None:
        if not project:
            raise Problem("auth.no_project", "Say which project to import into: --project.")
        try:
            if path.stat().st_size > MAX_CHARACTERS:
                raise Problem("exchange.unreadable", f"A document has at most {MAX_CHARACTERS // 2**20} MB.")
            document = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise Problem("exchange.unreadable", f"{path} cannot be read ({error}).") from None
        results = import_prompts.import_prompts(self.actor_in(project), source, document, is_dry_run=is_dry_run)
        for result in results:
            outcome = result.refusal.detail if result.refusal else ", ".join(map(_describe, result.versions))
            source_name = json.dumps(result.source, ensure_ascii=False)
            self.stdout.write(f"{result.outcome:8} {source_name} -> {result.name}: {outcome}")
            for note in result.notes:
                self.stdout.write(f"         {note}")
        refused = sum(result.refusal is not None for result in results)
        if refused:
            raise Problem("exchange.unreadable", f"{refused} of {len(results)} prompts were refused; see above.")


def _describe(version: import_prompts.ImportedVersion) -> str:
    return f"version {version.number}" if version.is_new else f"version {version.number} already"
