"""A preview of a file of cases: how its first rows would be imported, before anything is written. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from core.errors import Fault
from evaluations.datasets.cases import read_case
from evaluations.datasets.files.column_uses import MAX_COLUMNS, MAX_NAME_LENGTH
from evaluations.datasets.files.file_mapping import FileMapping
from evaluations.datasets.files.formats import read_rows
from evaluations.datasets.files.row_mapping import SETTINGS_NAMES, Columns
from evaluations.datasets.image_values import with_addresses
from evaluations.datasets.row import Row

MAX_ROWS = 100
MAX_CASES = 5
MAX_FAULTS = 20
MAX_SAMPLES = 3
MAX_SAMPLE_LENGTH = 80


@dataclass(frozen=True)
class PreviewedColumn:
    """A column with the first of its values. `use` is what the user says that it is (column_uses beside this);
    `read_as` what it is by its name: variables, expected, left_out, tags, group, ..., or nothing."""

    name: str
    use: str
    read_as: str
    samples: Sequence[str]


@dataclass(frozen=True)
class FilePreview:
    """What became of the names in the first rows, the first few cases as they would be, and the rows that the import
    would refuse."""

    mapping: FileMapping
    columns: Sequence[PreviewedColumn]
    cases: Sequence[Mapping[str, Any]]
    faults: Sequence[tuple[int, Fault]]


def preview_file(path: Path, form: str, columns: Columns, *, name: str = "", is_cut: bool = False) -> FilePreview:
    """Read the first rows of a file. Raises `dataset.unreadable` as the import would. `is_cut`: it is the beginning of
    one, whose last row may be half of one."""
    mapping = FileMapping()
    rows = list(islice(read_rows(path, form, columns, name=name, mapping=mapping, max_rows=MAX_ROWS), MAX_ROWS))
    if is_cut and len(rows) < MAX_ROWS:
        rows = rows[:-1]
    faults: list[tuple[int, Fault]] = []
    cases = [row.document for row in rows if _is_case(row, faults)]
    # A promptfoo file's tests have no columns.
    shown_columns = _columns(rows, columns, mapping) if form != "promptfoo" else []
    return FilePreview(mapping, shown_columns, cases[:MAX_CASES], faults[:MAX_FAULTS])


def _is_case(row: Row, faults: list[tuple[int, Fault]]) -> bool:
    """Return whether the import would take the row, and add to `faults` why not."""
    row_faults = [row.fault] if row.fault else []
    row.document = with_addresses(row.document, {}, row_faults)
    if not row_faults:
        read_case(row.document, row_faults, is_normal=row.is_normal)
    faults += [(row.line, fault) for fault in row_faults]
    return not row_faults


def _columns(rows: Sequence[Row], columns: Columns, mapping: FileMapping) -> list[PreviewedColumn]:
    raw_rows = [row.raw for row in rows if isinstance(row.raw, Mapping)]
    named = [*mapping.header, *(name for raw in raw_rows for name in raw if isinstance(name, str))]
    # A longer name cannot be said anything of.
    names = [name for name in dict.fromkeys(named) if len(name) <= MAX_NAME_LENGTH][:MAX_COLUMNS]
    return [
        PreviewedColumn(
            name,
            columns.uses.get(name, ""),
            _use_by_name(name, mapping),
            [_sample(raw[name]) for raw in raw_rows if raw.get(name) not in (None, "")][:MAX_SAMPLES],
        )
        for name in names
    ]


def _use_by_name(name: str, mapping: FileMapping) -> str:
    if name in SETTINGS_NAMES:
        return name
    uses = {"expected": mapping.expected, "left_out": mapping.left_out, "variables": mapping.variables}
    return next((use for use, counter in uses.items() if name in counter), "")


def _sample(value: Any) -> str:
    """Return a value as a short text, whatever it is."""
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, RecursionError, TypeError):
        text = "…"
    text = text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
    return text if len(text) <= MAX_SAMPLE_LENGTH else f"{text[: MAX_SAMPLE_LENGTH - 1]}…"
