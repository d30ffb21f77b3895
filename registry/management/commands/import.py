from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from registry import exchange
from registry.management.project_command import ProjectCommand


class Command(ProjectCommand):
    """Reads a project's prompts from files; what is there already is left alone."""

    help = "Commit the prompts of an export in DIR. Content that a prompt has already adds nothing."
    project_required = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("directory", type=Path, metavar="DIR")

    def run(self, *, project: str | None, directory: Path, **options: Any) -> None:
        slug = project or exchange.exported_project(directory)
        done = exchange.import_directory(self.actor_in(slug), directory)
        self.stdout.write(
            f"{slug}: {done.created} new prompts, {done.committed} new versions, {done.known} known already."
        )
