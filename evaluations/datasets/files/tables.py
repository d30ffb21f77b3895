"""Cases as tables: CSV with any usual separator in, CSV out, without formulas for spreadsheets. Pure."""

import csv
import io
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any

from core.errors import Fault, Problem
from evaluations.datasets.files.column_uses import EXPECTED
from evaluations.datasets.files.file_mapping import FileMapping
from evaluations.datasets.files.row_mapping import VARIABLES_NAMES, Columns, as_case, may_be_expected
from evaluations.datasets.row import MAX_LINE_LENGTH, Row, not_utf8
from registry.content.example_file import guard_formula

SEPARATORS = (",", ";", "\t", "|")
CSV_COLUMNS = ("expected", "label", "tags", "group", "weight", "split", "dealt")
FORMULA_GUARD = "'"


def read_table(handle: IO[str], separator: str, columns: Columns, mapping: FileMapping) -> Iterator[Row]:
    """Read the rows of a table; its first line names the columns. Without a `separator` that line shows which one it
    is."""
    # The largest field that any file here may have; the module has one limit for the process.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE_LENGTH))
    lines = _bounded(handle)
    first = next(lines, "")
    reader = csv.reader(itertools.chain([first], lines), delimiter=separator or separator_of(first), strict=True)
    try:
        names = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise Problem("dataset.unreadable", f"The first line cannot be read as a table: {error}") from None
    if not any(names):
        raise Problem("dataset.unreadable", "The first line of a table names its columns; this one is empty.")
    if any("\0" in name or not_utf8(name) for name in names):
        raise Problem("dataset.unreadable", "The names of the columns are not UTF-8. Save the table as UTF-8.")
    duplicates = sorted({name for name in names if name and names.count(name) > 1})
    if duplicates:
        raise Problem("dataset.unreadable", f"Columns have the same name: {', '.join(duplicates)}.")
    mapping.header[:] = [name for name in names if name]
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Row(line, fault=Fault("", "csv", f"Cannot be read as a row: {error}"))
            continue
        if any(cells):
            yield _csv_row(line, names, cells, columns, mapping)


def separator_of(first: str) -> str:
    """Return what separates the columns of a table, by its first line: a comma, semicolon, tab or bar, whichever makes
    most columns. Spreadsheets in half of the world write semicolons."""

    def count(separator: str) -> int:
        try:
            return len(next(csv.reader([first], delimiter=separator)))
        except (csv.Error, StopIteration):
            return 0

    return max(SEPARATORS, key=count)


def _bounded(handle: IO[str]) -> Iterator[str]:
    """Yield the lines of a table, and refuse very long ones: a row is in memory as a whole."""
    number = 0
    while line := handle.readline(MAX_LINE_LENGTH + 1):
        number += 1
        if len(line) > MAX_LINE_LENGTH:
            raise Problem("dataset.unreadable", f"Line {number} has more than {MAX_LINE_LENGTH:,} characters.")
        yield line


def _csv_row(line: int, names: list[str], cells: list[str], columns: Columns, mapping: FileMapping) -> Row:
    if len(cells) > len(names) and any(cells[len(names) :]):
        sentence = f"Has {len(cells)} columns, the first line {len(names)}. Is a quote missing?"
        return Row(line, fault=Fault("", "columns", sentence), raw=cells)
    # An empty cell means no value: a table has no other way to say so. A column named expected is the only one then.
    members: dict[str, Any] = {name: cell for name, cell in zip(names, cells, strict=False) if name and cell}
    if "expected" in names:
        members.setdefault("expected", "")
    for name, cell in members.items():
        if not cell.isascii() and (fault := not_utf8(cell)):
            return Row(line, fault=Fault(f"/{name}", fault.code, fault.message), raw=cells)
        if cell.startswith(FORMULA_GUARD):
            members[name] = _unguarded(cell)
    try:
        document = as_case(_typed(members, columns), columns, mapping)
        if document.get("expected") == "":
            document["expected"] = None
    except ValueError as error:
        return Row(line, fault=Fault(f"/{error.args[0]}", "type", error.args[1]), raw=members)
    return Row(line, document, raw=members)


def _typed(members: dict[str, Any], columns: Columns) -> dict[str, Any]:
    """Convert cells that are not text: tags, the weight, and an expected output that is written as JSON; but no column
    of which a user says that it is something else."""
    own = members.keys() - columns.uses - set(columns.left_out)
    if "tags" in own:
        members["tags"] = _tags(members["tags"])
    if "dealt" in own:
        members["dealt"] = members["dealt"].strip().lower() == "true"
    if "weight" in own:
        try:
            members["weight"] = float(members["weight"])
        except ValueError:
            raise ValueError("weight", f"{members['weight'][:40]!r} is not a number.") from None
    for name in ("expected", "variables", *(column for column, use in columns.uses.items() if use == EXPECTED)):
        if columns.uses.get(name, EXPECTED) != EXPECTED:
            continue
        text = str(members.get(name, "")).strip()
        if text[:1] in ("{", "["):
            try:
                members[name] = json.loads(text)
            except (ValueError, RecursionError):
                continue
    return members


def _tags(cell: str) -> list[str]:
    """Read tags separated by semicolons; a JSON list where one of them has a semicolon itself."""
    if cell.startswith("["):
        try:
            listed = json.loads(cell)
        except (ValueError, RecursionError):
            listed = None
        if isinstance(listed, list):
            return [str(tag) for tag in listed]
    return [tag.strip() for tag in cell.split(";") if tag.strip()]


def _unguarded(cell: str) -> str:
    """Return a cell as it was before `guarded` wrote it for a spreadsheet."""
    return cell[1:] if guard_formula(cell[1:]) == cell else cell


def write_csv(cases: Iterable[Mapping[str, Any]], variables: list[str] | None) -> Iterator[str]:
    """Write a table with a column for each variable, or (None) all of them as JSON in one; spreadsheets see no formula.

    A table loses whether a value is a number or a truth value or text.
    """
    line = io.StringIO(newline="")
    writer = csv.writer(line, lineterminator="\r\n")
    writer.writerow(
        [*(guard_formula(name) for name in (variables if variables is not None else ["variables"])), *CSV_COLUMNS]
    )
    for case in cases:
        case_variables = case["variables"]
        cells = [case_variables] if variables is None else [case_variables.get(name) for name in variables]
        cells += [_tags_cell(case.get(name)) if name == "tags" else case.get(name) for name in CSV_COLUMNS]
        writer.writerow([guard_formula(_cell(value)) for value in cells])
        yield line.getvalue()
        line.seek(0)
        line.truncate()
    yield line.getvalue()


def fits_columns(name: str) -> bool:
    """Return whether a variable can be a column: no other column has its name, and no spreadsheet would change it."""
    return (
        name not in {*CSV_COLUMNS, *VARIABLES_NAMES, "messages", "assert"}
        and not may_be_expected(name)
        and not name.startswith("__")
        and guard_formula(name) == name == name.strip() != ""
    )


def _tags_cell(tags: Any) -> Any:
    if not tags:
        return None
    return tags if any(";" in tag or tag.startswith("[") for tag in tags) else ";".join(tags)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
