"""A preview of a file of cases: how its first rows are read, before anything is written. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from core.errors import Fault
from evaluations.datasets.column_uses import EXPECTED, GROUP, LEAVE_OUT, TAG, VARIABLE
from evaluations.datasets.file_mapping import FileMapping
from evaluations.datasets.formats import Columns, read_rows
from evaluations.datasets.row import Row

MAX_ROWS = 100
MAX_CASES = 5
MAX_SAMPLES = 3
MAX_SHOWN_COLUMNS = 100


@dataclass(frozen=True)
class PreviewedColumn:
    """A column with the first of its values, and what it is read as: a use of evaluations.datasets.column_uses, or
    nothing where it is read by its name alone."""

    name: str
    use: str
    samples: Sequence[Any]


@dataclass(frozen=True)
class FilePreview:
    """What became of the names in the first rows, the first few cases, and the rows that cannot be read."""

    mapping: FileMapping
    columns: Sequence[PreviewedColumn]
    cases: Sequence[Mapping[str, Any]]
    faults: Sequence[tuple[int, Fault]]


def preview_file(path: Path, form: str, columns: Columns, *, name: str = "") -> FilePreview:
    """Read the first rows of a file. Raises `dataset.unreadable` as the import would."""
    mapping = FileMapping()
    rows = list(islice(read_rows(path, form, columns, name=name, mapping=mapping), MAX_ROWS))
    cases = [row.document for row in rows if row.fault is None and isinstance(row.document, Mapping)]
    faults = [(row.line, row.fault) for row in rows if row.fault is not None]
    return FilePreview(mapping, _columns(rows, columns, mapping), cases[:MAX_CASES], faults)


def _columns(rows: Sequence[Row], columns: Columns, mapping: FileMapping) -> list[PreviewedColumn]:
    raw_rows = [row.raw for row in rows if isinstance(row.raw, Mapping)]
    names = list(dict.fromkeys(str(name) for raw in raw_rows for name in raw))[:MAX_SHOWN_COLUMNS]
    return [
        PreviewedColumn(
            name,
            columns.uses.get(name) or _use_by_name(name, mapping),
            [raw[name] for raw in raw_rows if raw.get(name) not in (None, "")][:MAX_SAMPLES],
        )
        for name in names
    ]


def _use_by_name(name: str, mapping: FileMapping) -> str:
    if name == "tags":
        return TAG
    if name == GROUP:
        return GROUP
    uses = ((mapping.expected, EXPECTED), (mapping.left_out, LEAVE_OUT), (mapping.variables, VARIABLE))
    return next((use for counter, use in uses if name in counter), "")
