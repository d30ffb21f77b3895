from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from registry.interop import files
from registry.management.project_command import ProjectCommand


class Command(ProjectCommand):
    """Writes a project's prompts as files."""

    help = "Write one readable file a prompt (its newest version) to DIR; --history adds every earlier version."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("directory", type=Path, metavar="DIR")
        parser.add_argument("--history", action="store_true", help="also every earlier version, below DIR/history/")

    def run(self, *, project: str, directory: Path, history: bool, **options: Any) -> None:
        written = files.export_project(self.actor_in(project).project, directory, history=history)
        self.stdout.write(f"Wrote {written.prompts} prompts and {written.earlier} earlier versions to {directory}.")
