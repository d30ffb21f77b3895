"""Datasets as files: JSON lines, CSV, Parquet and promptfoo's tests in; JSON lines and CSV out. Pure.

A reader goes through its file once and yields one `Row` at a time, so a million rows need the memory of one. Its names
are read by evaluations.datasets.files.row_mapping.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import orjson

from core.errors import Fault, Problem
from evaluations.datasets.cases import MEMBERS, has_only_text, is_normal_line
from evaluations.datasets.files import parquet, promptfoo, tables
from evaluations.datasets.files.file_mapping import FileMapping
from evaluations.datasets.files.row_mapping import DEFAULT_COLUMNS, Columns, as_case
from evaluations.datasets.row import MAX_LINE_LENGTH, Row, not_utf8

FORMATS = ("jsonl", "csv", "parquet", "promptfoo")
ENDINGS = {
    **dict.fromkeys(("jsonl", "ndjson", "json"), "jsonl"),
    **dict.fromkeys(("csv", "tsv"), "csv"),
    "parquet": "parquet",
    **dict.fromkeys(("yaml", "yml"), "promptfoo"),
}


def format_of(name: str) -> str:
    """Return the format by the ending of a file's name, or raise `dataset.unreadable`."""
    form = ENDINGS.get(name.rpartition(".")[2].lower())
    if form is None:
        sentence = "Datasets are read from .jsonl, .csv, .tsv, .parquet, and promptfoo's .yaml."
        raise Problem("dataset.unreadable", sentence)
    return form


def read_rows(
    path: Path,
    form: str,
    columns: Columns | None = None,
    *,
    name: str = "",
    mapping: FileMapping | None = None,
    max_rows: int | None = None,
) -> Iterator[Row]:
    """Read the rows of a file, and count in `mapping` what became of its names. `name` is the file's own, where it is
    kept under another: a `.tsv` has tabs. `max_rows` bounds what is decoded where that costs much, for who takes no
    more. Raises `dataset.unreadable` where the file as a whole cannot be read, or lacks a column of which something is
    said."""
    columns = columns or DEFAULT_COLUMNS
    mapping = FileMapping() if mapping is None else mapping
    mapping.mapped |= columns.uses.keys()
    if form == "parquet":
        for row in parquet.read_rows(path, max_rows):
            yield row if row.fault else replace(row, document=as_case(row.document, columns, mapping))
    else:
        yield from _text_rows(path, form, columns, name, mapping)
    if mapping.missing and max_rows is None:
        # A typing error would leave the column that is meant to its name. A preview only tells it.
        sentence = f"The file has no column {', '.join(mapping.missing)}, of which something is said."
        raise Problem("dataset.unreadable", sentence)


def _text_rows(path: Path, form: str, columns: Columns, name: str, mapping: FileMapping) -> Iterator[Row]:
    # Surrogates stand for bytes that are not UTF-8: only the row that has them is refused.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as handle:
        if form == "jsonl":
            yield from _json_lines(handle, columns, mapping)
        elif form == "csv":
            has_tabs = (name or path.name).lower().endswith(".tsv")
            yield from tables.read_table(handle, "\t" if has_tabs else "", columns, mapping)
        elif form == "promptfoo":
            yield from promptfoo.rows(handle.read(promptfoo.MAX_BYTES + 1))
        else:
            raise Problem("dataset.unreadable", f"There is no format {form!r}; there are {', '.join(FORMATS)}.")


def _json_lines(handle: IO[str], columns: Columns, mapping: FileMapping) -> Iterator[Row]:
    number = 0
    while line := handle.readline(MAX_LINE_LENGTH + 1):
        number += 1
        if len(line) > MAX_LINE_LENGTH:
            while line and not line.endswith("\n"):
                line = handle.readline(MAX_LINE_LENGTH)
            yield Row(number, fault=Fault("", "too_large", f"The line has more than {MAX_LINE_LENGTH:,} characters."))
            continue
        if line.isspace():
            continue
        if number == 1 and line.lstrip().startswith("["):
            raise Problem("dataset.unreadable", "This is one JSON list; a dataset's file has one JSON object a line.")
        yield _json_row(number, line, columns, mapping)


def _json_row(number: int, line: str, columns: Columns, mapping: FileMapping) -> Row:
    if not line.isascii() and (fault := not_utf8(line)):
        return Row(number, fault=fault, raw=line.encode("utf-8", "replace").decode())
    try:
        document = orjson.loads(line)
    except ValueError as error:
        column = getattr(error, "colno", None)
        where = f" (column {column})" if column else ""
        return Row(number, fault=Fault("", "json", f"Cannot be read as JSON{where}: {error}"), raw=line.rstrip("\r\n"))
    if not isinstance(document, dict):
        return Row(number, fault=Fault("", "type", "The line is not a JSON object."), raw=line.rstrip("\r\n"))
    is_usual = columns is DEFAULT_COLUMNS and document.keys() <= MEMBERS and "variables" in document
    case = document if is_usual else as_case(document, columns, mapping)
    return Row(number, case, raw=document, is_normal=is_normal_line(line) and has_only_text(case))


def write_jsonl(cases: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Write lines that `read_rows` reads back as they were."""
    for case in cases:
        yield json.dumps(case, ensure_ascii=False) + "\n"
