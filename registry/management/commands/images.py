from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from core.errors import Problem
from core.image_data import MAX_IMAGE_BYTES
from registry.images import lookup, uploads
from registry.management.project_command import ProjectCommand


class Command(ProjectCommand):
    """Uploads and lists the images that cases name, and deletes those that nothing has."""

    help = (
        "upload FILE…: store images; prints the address of each, for a row of a file of cases. list: show them. "
        "delete-unused: delete those that no case and no sample value names."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=["upload", "list", "delete-unused"])
        super().add_arguments(parser)
        parser.add_argument("files", nargs="*", type=Path, metavar="FILE")

    def run(self, *, action: str, project: str, files: list[Path], **options: Any) -> None:
        actor = self.actor_in(project)
        if bool(files) != (action == "upload"):
            raise CommandError("Name files to upload them; the other actions take none.")
        for path in files:
            if not path.is_file():
                raise CommandError(f"There is no file {path}.")
            with path.open("rb") as file:
                data = file.read(MAX_IMAGE_BYTES + 1)
            try:
                image, _ = uploads.upload(actor, data)
            except Problem as problem:
                raise CommandError(f"{path}: {problem.detail} [{problem.code}]") from None
            self.stdout.write(f"{image.address}\t{path}")
        if action == "list":
            for image in lookup.stored(actor.project).order_by("id"):
                self.stdout.write(f"{image.address}\t{image.media_type}\t{image.size:,} bytes\t{image.by_name}")
        if action == "delete-unused":
            deleted = 0
            for image in lookup.stored(actor.project):
                try:
                    uploads.delete(actor, image)
                    deleted += 1
                except Problem as problem:
                    if problem.code != "image.in_use":
                        raise
            self.stdout.write(f"{deleted:,} deleted")
