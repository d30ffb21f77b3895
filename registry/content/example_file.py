"""Example sets as files: JSONL, CSV, and rows pasted from a spreadsheet. Pure: usable without Django.

JSONL has one example a line. CSV has a header; its columns are `input` (or prompt, question, text), `output` (or
answer, completion, label, expected), `note` and `tags` (separated by ; or ,). A pasted table is CSV or has tabs;
without a header its columns are input, output, note, tags.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from core.errors import Fault, Problem
from core.examples import MAX_EXAMPLES, Shot, read_example
from core.json_values import MAX_FAULTS

MAX_BYTES = 32 * 1024 * 1024
COLUMNS = ("input", "output", "note", "tags")
ALIASES = {
    **dict.fromkeys(("input", "prompt", "question", "text"), "input"),
    **dict.fromkeys(("output", "answer", "completion", "label", "expected", "category"), "output"),
    **dict.fromkeys(("note", "notes", "comment"), "note"),
    **dict.fromkeys(("tags", "tag"), "tags"),
}
# Text that a spreadsheet would take for a formula is written with an apostrophe in front, and read without it.
# Spreadsheets take the full-width signs for the same.
FORMULA = (*"=+-@", *"＝＋－＠", "\t", "\r", "\n")
csv.field_size_limit(MAX_BYTES)


def read_file(data: bytes, name: str) -> list[Shot]:
    """Read the examples of an uploaded file, by its name's ending (.jsonl, .ndjson, .json, .csv, .tsv).

    Raises `examples.unreadable`, or `examples.invalid` with the line and column of every fault.
    """
    if len(data) > MAX_BYTES:
        raise Problem("examples.too_large", f"The file has {len(data):,} bytes; at most {MAX_BYTES:,} are read.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise Problem("examples.unreadable", f"The file is not UTF-8 (line {line}).", line=line) from None
    ending = name.rpartition(".")[2].lower()
    if ending in ("jsonl", "ndjson", "json"):
        return read_json(text)
    if ending in ("csv", "tsv"):
        return read_table(text, "\t" if ending == "tsv" else ",")
    raise Problem("examples.unreadable", "Example files end in .jsonl, .json, .csv or .tsv.")


def read_pasted(text: str) -> list[Shot]:
    """Read pasted examples: JSON lines, a JSON list, or a table."""
    start = text.lstrip()[:1]
    if start in ("{", "["):
        return read_json(text)
    first = text.strip().partition("\n")[0]
    return read_table(text.strip("\r\n"), "\t" if "\t" in first else ",", header_required=False)


def read_json(text: str) -> list[Shot]:
    """Read a JSON list, or one JSON object a line."""
    if text.lstrip().startswith("["):
        try:
            documents = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Problem("examples.unreadable", f"This cannot be read as JSON: {error}") from None
        return _shots((index, document) for index, document in enumerate(documents, start=1))
    return _shots(_json_lines(text))


def _json_lines(text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                yield number, Fault("", "json", f"Cannot be read as JSON: {error}")


def read_table(text: str, separator: str, *, header_required: bool = True) -> list[Shot]:
    """Read a table whose first row names the columns, or (where it need not) has COLUMNS."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        first = next(reader, [])
        names = [ALIASES.get(cell.strip().lower(), "") for cell in first]
        if {"input", "output"} <= set(names):
            return _shots((reader.line_num, _row(names, cells)) for cells in reader if any(cells))
        if header_required:
            columns = ", ".join(first)[:200]
            sentence = f"The first row names the columns; input and output are needed, and it has: {columns}."
            raise Problem("examples.unreadable", sentence)
        rows = [(1, first), *((reader.line_num, cells) for cells in reader if any(cells))]
    except csv.Error as error:
        raise Problem("examples.unreadable", f"Line {reader.line_num} cannot be read as a table: {error}") from None
    return _shots((number, _row(COLUMNS, cells)) for number, cells in rows)


def _row(names: Iterable[str], cells: list[str]) -> Any:
    columns = list(names)
    if len(cells) > len(columns) and any(cells[len(columns) :]):
        return Fault("", "columns", f"Has {len(cells)} columns; {len(columns)} are expected. Is a quote missing?")
    row: dict[str, Any] = {name: _without_guard(cell) for name, cell in zip(columns, cells, strict=False) if name}
    row["tags"] = split_tags(str(row.get("tags", "")))
    return row


def split_tags(text: str) -> list[str]:
    """Split tags written in one field: separated by semicolons or commas."""
    return [tag.strip() for tag in re.split("[;,]", text) if tag.strip()]


def _shots(rows: Iterable[tuple[int, Any]]) -> list[Shot]:
    """Return the examples of numbered rows; every fault is named by the row's line."""
    shots: dict[Shot, None] = {}
    faults: list[Fault] = []
    count = 0
    for count, (line, document) in enumerate(rows, start=1):
        own: list[Fault] = []
        if isinstance(document, Fault):
            own.append(document)
        shot = None if own else read_example(_with_own_names(document), own)
        if shot is not None:
            shots[shot] = None
        faults += [Fault(f"/lines/{line}{fault.pointer}", fault.code, fault.message) for fault in own]
        if len(faults) >= MAX_FAULTS or count > MAX_EXAMPLES:
            break
    if count > MAX_EXAMPLES:
        raise Problem("examples.too_many", f"A set has at most {MAX_EXAMPLES:,} examples.")
    if faults:
        _, _, place, *members = faults[0].pointer.split("/")
        where = f"Line {place}{', ' + members[0] if members else ''}"
        more = f" ({len(faults) - 1} more)" if len(faults) > 1 else ""
        raise Problem("examples.invalid", f"{where}: {faults[0].message}{more}", faults=faults[:MAX_FAULTS])
    return list(shots)


def _with_own_names(document: Any) -> Any:
    """Rename a row's members to those of examples; a file made elsewhere may name them differently."""
    if not isinstance(document, dict) or "input" in document:
        return document
    return {ALIASES.get(str(name).lower(), name): value for name, value in document.items()}


def write_jsonl(shots: Iterable[Shot]) -> Iterator[str]:
    """Yield lines that `read_file` reads back unchanged."""
    for shot in shots:
        yield json.dumps(shot.as_dict(), ensure_ascii=False) + "\n"


def write_csv(shots: Iterable[Shot]) -> Iterator[str]:
    """Yield CSV for spreadsheets: text that reads as a formula gets an apostrophe in front."""
    line = io.StringIO(newline="")
    writer = csv.writer(line, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for shot in shots:
        writer.writerow(
            [
                guard_formula(shot.input),
                guard_formula(shot.output),
                guard_formula(shot.note),
                guard_formula(";".join(shot.tags)),
            ]
        )
        yield line.getvalue()
        line.seek(0)
        line.truncate()
    yield line.getvalue()


def guard_formula(text: str) -> str:
    """Return text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith((*FORMULA, "'")) else text


def _without_guard(text: str) -> str:
    return text[1:] if text.startswith("'") and text[1:].startswith((*FORMULA, "'")) else text
