import json
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from django.core.management.base import CommandError

from core.errors import Fault, Problem
from evaluations.datasets import imports, ingest
from evaluations.datasets import lifecycle as datasets
from evaluations.datasets.files import promptfoo
from evaluations.datasets.files.column_uses import USES, read_uses
from evaluations.datasets.files.file_mapping import FileMapping
from evaluations.datasets.files.file_preview import FilePreview, preview_file
from evaluations.datasets.files.formats import format_of, read_rows
from evaluations.datasets.files.row_mapping import Columns
from evaluations.datasets.ingest import DatasetChange
from evaluations.datasets.row import Row
from evaluations.models import Dataset
from registry.management.project_command import ProjectCommand

PROGRESS_INTERVAL = 100_000


class Command(ProjectCommand):
    """Read a file of any size into a dataset, in this process."""

    help = (
        "Read cases from FILE (.jsonl, .csv, .tsv, .parquet, or promptfoo's .yaml) into a dataset of the project, "
        "which is created if it does not exist. All of them or none, unless --skip-bad."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("dataset", metavar="DATASET")
        parser.add_argument("file", type=Path, metavar="FILE")
        parser.add_argument("--replace", action="store_true", help="the file is the whole dataset")
        parser.add_argument(
            "--skip-bad",
            nargs="?",
            const="",
            metavar="REJECTED",
            help="leave bad rows out, and write them with the reasons to REJECTED (default: FILE.rejected.jsonl)",
        )
        parser.add_argument("--expected", default="", metavar="COLUMN", help="the column that is expected")
        parser.add_argument("--group", default="", metavar="COLUMN", help="the column that groups cases")
        parser.add_argument("--rename", action="append", default=[], metavar="COLUMN=VARIABLE")
        parser.add_argument("--leave-out", action="append", default=[], metavar="COLUMN", help="a column not to read")
        parser.add_argument(
            "--map",
            action="append",
            default=[],
            metavar="COLUMN=USE",
            help=f"what a column is: {', '.join(USES)}, or variable:NAME",
        )
        parser.add_argument("--preview", action="store_true", help="show how the first rows are read; write nothing")
        parser.add_argument("--message", default="")

    def run(self, *, project: str, dataset: str, file: Path, **options: Any) -> None:
        if not file.is_file():
            raise CommandError(f"There is no file {file}.")
        columns = _read_columns({**options, "file": file})
        if options["preview"]:
            self._print_preview(preview_file(file, format_of(file.name), columns))
            return
        actor = self.actor_in(project)
        existing = Dataset.objects.filter(project=actor.project, name=dataset).first()
        target = datasets.get_dataset(actor.project, dataset) if existing else datasets.create(actor, name=dataset)
        mapping = FileMapping()
        rows = read_rows(file, format_of(file.name), columns, mapping=mapping)
        change = DatasetChange(replace=options["replace"], message=options["message"] or f"From {file.name}")
        if options["skip_bad"] is None:
            loaded = ingest.load(actor, target, rows, change, report_progress=self._show_progress)
        else:
            rejected = Path(options["skip_bad"] or f"{file}.rejected.jsonl")
            with rejected.open("w", encoding="utf-8") as handle:
                loaded = ingest.load(
                    actor, target, rows, change, reject=_writer(handle), report_progress=self._show_progress
                )
            self.stdout.write(f"{loaded.bad:,} rows left out, in {rejected}")
        self.stdout.write(
            f"{dataset}@{loaded.version.number}: {loaded.read:,} rows read, {loaded.added:,} added, "
            f"{loaded.unchanged:,} unchanged; {loaded.version.size:,} cases, {loaded.version.content_hash}"
        )
        for sentence in mapping.sentences():
            self.stdout.write(sentence)
        if format_of(file.name) == "promptfoo":
            self._print_assertions(promptfoo.plan_file_assertions(file))

    def _print_preview(self, preview: FilePreview) -> None:
        for sentence in preview.mapping.sentences():
            self.stdout.write(sentence)
        for case in preview.cases:
            self.stdout.write(json.dumps(case, ensure_ascii=False))
        for line, fault in preview.faults:
            self.stdout.write(f"line {line}: {fault.pointer} {fault.message}")

    def _print_assertions(self, plan: promptfoo.AssertionPlan) -> None:
        self.stdout.write(f"Its assertions as scorers: {json.dumps(plan.scorers)}")
        for sentence in plan.left_out:
            self.stdout.write(f"left out: {sentence}")

    def _show_progress(self, read: int, bad: int) -> None:
        if read and read % PROGRESS_INTERVAL == 0 and sys.stderr.isatty():
            self.stderr.write(f"{read:,} rows read, {bad:,} bad")


def _read_columns(options: dict[str, Any]) -> Columns:
    if odd := next((pair for pair in (*options["map"], *options["rename"]) if "=" not in pair), None):
        raise CommandError(f"Write COLUMN=… and not {odd!r}.")
    renamed = tuple(sorted(tuple(pair.split("=", 1)) for pair in options["rename"]))
    try:
        pairs = [pair.rsplit("=", 1) for pair in options["map"]]
        if twice := next((name for name, _ in pairs if [name for name, _ in pairs].count(name) > 1), None):
            raise CommandError(f"--map says two things of {twice!r}.")
        uses = read_uses(dict(pairs), format_of(options["file"].name))
    except Problem as problem:
        raise CommandError(problem.detail) from None
    return Columns(options["expected"], options["group"], renamed, tuple(options["leave_out"]), uses)


def _writer(handle: IO[str]) -> Any:
    def reject(row: Row, faults: Sequence[Fault]) -> None:
        handle.write(imports.rejected_line(row, faults))

    return reject
