import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from core.errors import Problem
from registry.interop import files, import_prompts
from registry.interop.importers.convert import MAX_CHARACTERS, SOURCES
from registry.management.project_command import ProjectCommand


class Command(ProjectCommand):
    """Reads a project's prompts from files; what is there already is left alone."""

    help = "Commit the prompts of an export in DIR, or of another product's FILE. What is there already adds nothing."
    project_required = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("path", type=Path, metavar="DIR|FILE")
        parser.add_argument("--from", dest="source", choices=SOURCES, help="FILE is of this product")
        parser.add_argument("--dry-run", action="store_true", help="with --from: say what would come in")

    def run(self, *, project: str | None, path: Path, source: str | None, dry_run: bool, **options: Any) -> None:
        if source:
            return self._bring(project, path, source, is_dry_run=dry_run)
        if dry_run:
            raise Problem("request.invalid", "A dry run is of another product's file: say --from.")
        slug = project or files.exported_project(path)
        done = files.import_directory(self.actor_in(slug), path)
        self.stdout.write(
            f"{slug}: {done.created} new prompts, {done.committed} new versions, {done.known} known already."
        )
        return None

    def _bring(self, project: str | None, path: Path, source: str, *, is_dry_run: bool) -> None:
        if not project:
            raise Problem("auth.no_project", "Say which project they come into: --project.")
        try:
            if path.stat().st_size > MAX_CHARACTERS:
                raise Problem("exchange.unreadable", f"A document has at most {MAX_CHARACTERS // 2**20} MB.")
            document = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise Problem("exchange.unreadable", f"{path} cannot be read ({error}).") from None
        found = import_prompts.bring(self.actor_in(project), source, document, is_dry_run=is_dry_run)
        for one in found:
            told = one.refusal.detail if one.refusal else ", ".join(_told(version) for version in one.versions)
            self.stdout.write(f"{one.outcome:8} {json.dumps(one.source, ensure_ascii=False)} -> {one.name}: {told}")
            for note in one.notes:
                self.stdout.write(f"         {note}")
        refused = sum(one.refusal is not None for one in found)
        if refused:
            raise Problem("exchange.unreadable", f"{refused} of {len(found)} prompts were refused; see above.")


def _told(version: import_prompts.BroughtVersion) -> str:
    return f"version {version.number}" if version.is_new else f"version {version.number} already"
