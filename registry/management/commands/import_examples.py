from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from registry import tasks
from registry.content import example_file
from registry.examples import example_sets
from registry.management.project_command import ProjectCommand
from registry.models import ExampleSet


class Command(ProjectCommand):
    """Reads a file of few-shot examples into a set."""

    help = (
        "Read examples from FILE (.jsonl, .json, .csv, .tsv) into an example set of the project, which is created if "
        "needed. They are added at the end, or with --replace are the whole set."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("set", metavar="SET")
        parser.add_argument("file", type=Path, metavar="FILE")
        parser.add_argument("--replace", action="store_true", help="the file is the whole set")
        parser.add_argument("--message", default="")

    def run(self, *, project: str, file: Path, replace: bool, message: str, **options: Any) -> None:
        name: str = options["set"]
        try:
            data = file.read_bytes()
        except OSError as error:
            raise CommandError(f"{file} cannot be read: {error.strerror}.") from None
        actor = self.actor_in(project)
        added = example_file.read_file(data, file.name)
        exists = ExampleSet.objects.filter(project=actor.project, name=name).exists()
        target = example_sets.get_example_set(actor.project, name) if exists else example_sets.create(actor, name=name)
        committed = example_sets.add(
            actor, target, added=added, replace=replace, message=message or f"From {file.name}"
        )
        tasks.start_embeddings(committed.version)
        suffix = "" if committed.created else " (existing)"
        self.stdout.write(
            f"{committed.version}: {committed.version.size:,} examples, {committed.version.content_hash}{suffix}"
        )
