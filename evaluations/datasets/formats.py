"""Datasets as files: JSON lines, CSV, Parquet and promptfoo's tests in; JSON lines and CSV out. Pure.

A reader goes through its file once and yields one `Row` at a time, so a million rows need the memory of one. The names
in the file are mapped to a case's members (`evaluations.datasets.cases`):

* a row with `variables` (or `vars`, `inputs`, or an `input` that is an object) has its variables there;
* a row with `messages` is an OpenAI training line: the last user message is `input`, the answer to it (or the tools
  that it calls) is expected, and a conversation of more than that is `messages`;
* any other row is flat: its `expected` (or ideal, answer, output, completion, label, category, ...), `tags`, `group`,
  `weight` and `split` are those members, and every further column is a variable.

What became of each name, and what was left out, is counted (evaluations.datasets.file_mapping).
"""

import csv
import io
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import orjson

from core.errors import Fault, Problem
from evaluations.datasets import parquet, promptfoo, training_lines
from evaluations.datasets.cases import MAX_LABEL_LENGTH, MEMBERS, has_only_text, is_normal_line
from evaluations.datasets.column_uses import EXPECTED, GROUP, TAG, apply_uses
from evaluations.datasets.file_mapping import FileMapping
from evaluations.datasets.row import Row
from registry.content.example_file import guard_formula

FORMATS = ("jsonl", "csv", "parquet", "promptfoo")
ENDINGS = {
    **dict.fromkeys(("jsonl", "ndjson", "json"), "jsonl"),
    **dict.fromkeys(("csv", "tsv"), "csv"),
    "parquet": "parquet",
    **dict.fromkeys(("yaml", "yml"), "promptfoo"),
}
MAX_LINE_LENGTH = 1024 * 1024
# In order: the first of these that a row has is its expected output.
EXPECTED_NAMES = (
    "expected",
    "expected_output",
    "ideal",
    "answer",
    "output",
    "outputs",
    "completion",
    "label",
    "category",
    "intent",
    "target",
)
# The same names as other products write them (Langfuse: expectedOutput, MLflow: expectations, LangSmith:
# reference_outputs), compared without case and signs.
OTHER_EXPECTED_NAMES = frozenset(
    {
        *("expectedoutput", "expectedanswer", "expectedresponse", "expectedresult", "expectations"),
        *("groundtruth", "referenceanswer", "referenceoutput", "referenceoutputs", "referenceresponse"),
        *("idealanswer", "idealresponse", "goldanswer", "correctanswer"),
    }
)
VARIABLES_NAMES = ("variables", "vars", "inputs")
SEPARATORS = (",", ";", "\t", "|")
SETTINGS_NAMES = frozenset({"tags", "group", "weight", "split", "dealt"})
CSV_COLUMNS = ("expected", "label", "tags", "group", "weight", "split", "dealt")
FORMULA_GUARD = "'"
NOT_LETTERS = re.compile("[^a-z]")
# Among other columns these may as well mean the input, or a class: a name that says "expected" comes before them.
WEAK_EXPECTED_NAMES = ("answer", "output", "outputs", "completion", "label", "category", "intent", "target")


@dataclass(frozen=True)
class Columns:
    """Names in a file that differ from the usual ones: the column of the expected output, that of the group, other
    names for variables (`{"input": "ticket"}`), and what is not to be read."""

    expected: str = ""
    group: str = ""
    renamed: tuple[tuple[str, str], ...] = ()
    left_out: tuple[str, ...] = ()
    # What each column is (evaluations.datasets.column_uses); the others are read by their names.
    uses: Mapping[str, str] = field(default_factory=dict)


DEFAULT_COLUMNS = Columns()


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
    more. Raises `dataset.unreadable` where the file as a whole cannot be read."""
    columns = columns or DEFAULT_COLUMNS
    mapping = FileMapping() if mapping is None else mapping
    if form == "parquet":
        for row in parquet.read_rows(path, max_rows):
            yield row if row.fault else replace(row, document=as_case(row.document, columns, mapping))
        return
    # Surrogates stand for bytes that are not UTF-8: only the row that has them is refused.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as handle:
        if form == "jsonl":
            yield from _json_lines(handle, columns, mapping)
        elif form == "csv":
            has_tabs = (name or path.name).lower().endswith(".tsv")
            yield from _csv(handle, "\t" if has_tabs else "", columns, mapping)
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
    if not line.isascii() and (fault := _not_utf8(line)):
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


def _csv(handle: IO[str], separator: str, columns: Columns, mapping: FileMapping) -> Iterator[Row]:
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
    if any("\0" in name or _not_utf8(name) for name in names):
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
        if not cell.isascii() and (fault := _not_utf8(cell)):
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


def as_case(row: Mapping[str, Any], columns: Columns, mapping: FileMapping) -> dict[str, Any]:
    """Return a file's row under the names of a case's members, and count in `mapping` what became of its own."""
    return _as_mapped_case(row, columns, mapping) if columns.uses else _as_named_case(row, columns, mapping)


def _as_mapped_case(row: Mapping[str, Any], columns: Columns, mapping: FileMapping) -> dict[str, Any]:
    """Return a row of which a user says what its columns are; the others are read by their names."""
    mapping.mapped |= columns.uses.keys()
    mapping.seen |= columns.uses.keys() & row.keys()
    mapped, by_name = apply_uses(row, columns.uses), FileMapping()
    has_expected = EXPECTED in columns.uses.values()
    if has_expected:
        # So that no other column is taken for it by its name.
        mapped.rest[EXPECTED] = mapped.expected
    case = _as_named_case(mapped.rest, columns, by_name)
    left_out = [*mapped.left_out, *by_name.left_out]
    expected = [*by_name.expected]
    if has_expected:
        case[EXPECTED] = mapped.expected
        # An assertion, or the answer of a training line, would have been it.
        left_out = [name for name in left_out if name != EXPECTED or name in row]
        left_out += [name for name in expected if name != EXPECTED]
        expected = [column for column, use in columns.uses.items() if use == EXPECTED and column in row]
    if mapped.group:
        case[GROUP] = mapped.group
    tagged = [column for column, use in columns.uses.items() if use == TAG and column in row]
    if mapped.tags:
        own_tags = case.get("tags") or []
        case["tags"] = [*(own_tags if isinstance(own_tags, list) else [own_tags]), *mapped.tags]
    variables = case["variables"]
    names = [*by_name.variables]
    if mapped.variables and isinstance(variables, dict):
        # A column of that name that nobody said anything of.
        left_out += [name for name in mapped.variables if name in variables]
        case["variables"] = {**variables, **mapped.variables}
        names = [*dict.fromkeys([*names, *mapped.variables])]
    mapping.add(variables=names, expected=expected, left_out=left_out, tags=tagged)
    return case


def _as_named_case(row: Mapping[str, Any], columns: Columns, mapping: FileMapping) -> dict[str, Any]:
    members = {name: value for name, value in row.items() if name not in columns.left_out}
    if columns.group and columns.group in members:
        members["group"] = str(members.pop(columns.group))
    left_out = [name for name in columns.left_out if name in row]
    if columns.expected and columns.expected in members:
        left_out += [EXPECTED] if EXPECTED in members and columns.expected != EXPECTED else []
        members[EXPECTED] = members.pop(columns.expected)
    tests = promptfoo.split_off_assertions(members)
    left_out += tests.left_out
    if tests.expected is not None:
        members["expected"] = tests.expected
    own_names = {EXPECTED: tests.name if tests.expected is not None else columns.expected or EXPECTED}
    case, dropped = (
        _from_training_line(members)
        or _from_holder(members, mapping, own_names)
        or _from_columns(members, mapping, own_names)
    )
    variables = case["variables"]
    if columns.renamed and isinstance(variables, dict):
        names = dict(columns.renamed)
        case["variables"] = variables = {names.get(name, name): value for name, value in variables.items()}
    mapping.add(variables=variables if isinstance(variables, dict) else (), left_out=[*left_out, *dropped])
    return case


# A case, and the names of the row that are not in it.
_Case = tuple[dict[str, Any], list[str]]


def _expected_name(row: Mapping[str, Any], *, is_flat: bool = False) -> str | None:
    """Return the name in a row that has the expected output: ours first, then those of other products. A label is one
    in a flat row."""
    usual = next((name for name in EXPECTED_NAMES if name in row and (is_flat or name != "label")), None)
    if usual in (None, *WEAK_EXPECTED_NAMES):
        other = next((name for name in row if NOT_LETTERS.sub("", name.lower()) in OTHER_EXPECTED_NAMES), None)
        return other or usual
    return usual


def _expected_of(value: Any) -> Any:
    """Return an expected output: of MLflow's expectations the response itself, where there is nothing else."""
    if isinstance(value, dict) and len(value) == 1:
        name, response = next(iter(value.items()))
        if NOT_LETTERS.sub("", str(name).lower()) in OTHER_EXPECTED_NAMES:
            return response
    return value


def _from_training_line(row: dict[str, Any]) -> _Case | None:
    messages = row.get("messages")
    if not isinstance(messages, list):
        return None
    case, rest = training_lines.read_case(messages)
    settings = {name: row[name] for name in SETTINGS_NAMES & row.keys()}
    return {**settings, **case}, [*(name for name in row if name != "messages" and name not in SETTINGS_NAMES), *rest]


def _from_holder(row: dict[str, Any], mapping: FileMapping, own_names: Mapping[str, str]) -> _Case | None:
    holder = next((name for name in (*VARIABLES_NAMES, "input") if isinstance(row.get(name), dict)), None)
    if holder is None:
        return None
    if holder == "variables":
        # Our own form: an unknown member is a mistake, and is reported as one.
        if EXPECTED not in row:
            return _with_expected(row, mapping), []
        mapping.add(expected=[own_names[EXPECTED]] if own_names[EXPECTED] != EXPECTED else ())
        return {**row}, []
    case: dict[str, Any] = {name: row[name] for name in row.keys() & (SETTINGS_NAMES | {"label"})}
    case["variables"] = row[holder]
    expected = _expected_name(row)
    if expected is not None:
        case["expected"] = _expected_of(row[expected])
    elif "label" in row:
        case["expected"], expected = case.pop("label"), "label"
    mapping.add(expected=[own_names.get(expected, expected)] if expected else ())
    return case, [name for name in row if name not in case and name not in (holder, expected)]


def _with_expected(row: dict[str, Any], mapping: FileMapping) -> dict[str, Any]:
    """Rename the answer of a row with variables where it has another usual name."""
    name = _expected_name(row)
    if name is None:
        return row
    mapping.add(expected=[name])
    return {
        ("expected" if member == name else member): (_expected_of(value) if member == name else value)
        for member, value in row.items()
    }


def _from_columns(row: dict[str, Any], mapping: FileMapping, own_names: Mapping[str, str]) -> _Case:
    case: dict[str, Any] = {name: row.pop(name) for name in SETTINGS_NAMES & row.keys()}
    expected = _expected_name(row, is_flat=True)
    if expected is not None:
        case["expected"] = _expected_of(row.pop(expected))
        mapping.add(expected=[own_names.get(expected, expected)])
    label = row.get("label")
    if isinstance(label, str) and len(label) <= MAX_LABEL_LENGTH:
        case["label"] = row.pop("label")
    # A table that we exported may have its variables as one column of JSON.
    variables = row.pop("variables", None)
    case["variables"] = {**row, **variables} if isinstance(variables, dict) else row
    return case, []


def _not_utf8(text: str) -> Fault | None:
    column = next((place for place, letter in enumerate(text, start=1) if "\ud800" <= letter <= "\udfff"), None)
    return Fault("", "encoding", f"Is not UTF-8 (column {column}).") if column else None


def write_jsonl(cases: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Write lines that `read_rows` reads back as they were."""
    for case in cases:
        yield json.dumps(case, ensure_ascii=False) + "\n"


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
        name not in {*CSV_COLUMNS, *EXPECTED_NAMES, *VARIABLES_NAMES, "messages", "assert"}
        and NOT_LETTERS.sub("", name.lower()) not in OTHER_EXPECTED_NAMES
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
