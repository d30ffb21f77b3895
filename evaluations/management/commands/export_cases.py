from argparse import ArgumentParser
from typing import Any

from evaluations.datasets import lifecycle as datasets
from evaluations.datasets.files import formats, tables
from evaluations.models import Split
from registry.management.project_command import ProjectCommand


class Command(ProjectCommand):
    """Write a dataset's cases to standard output."""

    help = "Write the cases of DATASET or DATASET@VERSION as JSON lines or CSV."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("dataset", metavar="DATASET[@VERSION]")
        parser.add_argument("--as", dest="form", choices=("jsonl", "csv"), default="jsonl")
        parser.add_argument("--split", choices=Split.values, default="")
        parser.add_argument(
            "--with-images", action="store_true", help="write uploaded images as data, for another installation"
        )

    def run(self, *, project: str, dataset: str, form: str, split: str, with_images: bool, **options: Any) -> None:
        name, _, selector = dataset.partition("@")
        version = datasets.get_version(self.actor_in(project).project, name, selector or "latest")
        cases = datasets.cases_as_dicts(version, split=split, with_images=with_images)
        lines = (
            tables.write_csv(cases, datasets.table_columns(version)) if form == "csv" else formats.write_jsonl(cases)
        )
        for line in lines:
            self.stdout.write(line, ending="")
