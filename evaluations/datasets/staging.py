"""Rows in a temporary table of this session: checked one by one as they come, and copied there, so that a million need
no memory and lock nothing."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import connection

from core.errors import Fault, Problem
from core.json_values import MAX_FAULTS
from evaluations.datasets.cases import Case, read_case
from evaluations.datasets.row import Row
from evaluations.datasets.row_images import RowImages

Reject = Callable[[Row, Sequence[Fault]], None]
# Rows that are sent together, and the number of such blocks before the progress is reported.
BLOCK, BLOCKS_A_COPY = 500, 40
COPY_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
# A larger dataset is better kept at its source, and sampled.
MAX_CASES = 5_000_000
STAGED = "staged_case"
# The columns of a staged row; `split` is its split where known, `is_placed` true where the row named it itself.
STAGED_COLUMNS = {
    "number": "integer",
    "variables": "jsonb",
    "expected": "jsonb",
    "label": "varchar",
    "tags": "varchar[]",
    "group_key": "varchar",
    "weight": "double precision",
    "split": "varchar",
    "is_placed": "boolean",
    "digest": "bytea",
    "group_hash": "bigint",
    "input_hash": "bigint",
}


@contextmanager
def staging_table() -> Iterator[None]:
    """Create the session's table, and drop it afterwards."""
    columns = ", ".join(f"{name} {kind}" for name, kind in STAGED_COLUMNS.items())
    execute(f"CREATE TEMPORARY TABLE {STAGED} ({columns})")
    try:
        yield
    finally:
        # Where the transaction has failed it is gone already, and no statement would run.
        if not connection.needs_rollback and connection.connection and not connection.connection.closed:
            execute(f"DROP TABLE IF EXISTS {STAGED}")


def execute(statement: str, values: Any = None) -> int:
    """Run a statement; return the number of its rows."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return int(cursor.rowcount)


def stage(
    rows: Iterable[Row],
    images: RowImages,
    split_of_row: Mapping[int, str],
    reject: Reject | None,
    report_progress: Callable[[int, int], None] | None,
) -> tuple[int, int]:
    """Check and copy rows; return how many were read, and how many of them were bad. A bad row refuses them all with
    `cases.invalid`, or is passed to `reject`."""
    checked = _CheckedRows(images, split_of_row, reject)
    source = iter(rows)
    statement = f"COPY {STAGED} ({', '.join(STAGED_COLUMNS)}) FROM STDIN"
    refusal: Problem | None = None
    while refusal is None and not checked.is_over:
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            # The server copies one block while the next is read. A refusal waits until the COPY has ended well: ending
            # it otherwise would break a transaction that this may be part of.
            try:
                for _ in range(BLOCKS_A_COPY):
                    copy.write(checked.block(source))
                    if checked.is_over or checked.images.is_full:
                        break
            except Problem as problem:
                refusal = problem
        if refusal is None:
            checked.settle_images()
        if report_progress:
            report_progress(checked.read, checked.bad)
    if refusal or checked.refusal:
        raise refusal or checked.refusal  # type: ignore[misc]  # one of them is set
    return checked.read, checked.bad


class _CheckedRows:
    """Checked rows for the session's table, a block at a time."""

    def __init__(
        self,
        images: RowImages,
        split_of_row: Mapping[int, str],
        reject: Reject | None,
    ) -> None:
        self.images = images
        self.read = self.bad = 0
        self.is_over = False
        self._split_of_row = split_of_row
        self._reject = reject
        self._first: list[Fault] = []

    @property
    def refusal(self) -> Problem | None:
        return _refusal(self._first[:MAX_FAULTS], self.bad) if self._first else None

    def block(self, source: Iterator[Row]) -> bytes:
        """Return the next rows, checked, in COPY's format."""
        lines = []
        for _ in range(BLOCK):
            if self.images.is_full:
                break
            row = next(source, None)
            if row is None or len(self._first) >= MAX_FAULTS:
                self.is_over = True
                break
            self.read += 1
            faults = [row.fault] if row.fault else []
            case = None if faults else self._read_case(row, faults)
            if case is not None:
                lines.append(_copy_line(self.read, case, self._split_of_row.get(row.line, case.preferred_split)))
            else:
                self._reject_row(row, faults)
        if self.read - self.bad > MAX_CASES:
            raise Problem("cases.too_many", f"A dataset has at most {MAX_CASES:,} cases.")
        return "".join(lines).encode()

    def settle_images(self) -> None:
        """Store the images of the rows so far, and reject those that name one that is not there. Not during a COPY."""
        unfit = self.images.settle()
        if unfit:
            numbers = [number for number, _, _ in unfit]
            execute("DELETE FROM staged_case WHERE number = ANY(%s)", [numbers])
        for _, row, fault in unfit:
            self._reject_row(row, [fault])

    def _read_case(self, row: Row, faults: list[Fault]) -> Case | None:
        document = self.images.read(row.document, faults)
        case = read_case(document, faults, is_normal=row.is_normal) if not faults else None
        if case is not None:
            self.images.accept(self.read, row, document, case.variables)
        return case

    def _reject_row(self, row: Row, faults: Sequence[Fault]) -> None:
        self.bad += 1
        if self._reject:
            self._reject(row, faults)
        elif len(self._first) < MAX_FAULTS:
            self._first += [Fault(f"/lines/{row.line}{fault.pointer}", fault.code, fault.message) for fault in faults]


def _copy_line(number: int, case: Case, preferred_split: str) -> str:
    """Write a case as a line of COPY's text format, in the order of STAGED_COLUMNS. In JSON only the backslash is
    special to COPY; the other texts are escaped as a whole, and the rest is numbers."""
    split = case.split or preferred_split
    expected = "\\N" if case.expected is None else case.expected.replace("\\", "\\\\")
    variables = case.variables.replace("\\", "\\\\")
    tags = _array(case.tags) if case.tags else "{}"
    label = _escaped(case.label) if case.label else ""
    group = _escaped(case.group) if case.group else ""
    return (
        f"{number}\t{variables}\t{expected}\t{label}\t{tags}\t{group}\t{case.weight}\t{split}\t"
        f"{'t' if case.split else 'f'}\t\\\\x{case.digest.hex()}\t{case.group_hash}\t{case.input_hash}\n"
    )


def _escaped(text: str) -> str:
    return text.translate(COPY_ESCAPES)


def _array(texts: Sequence[str]) -> str:
    quoted = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return _escaped("{" + ",".join(f'"{text}"' for text in quoted) + "}")


def _refusal(faults: list[Fault], bad: int) -> Problem:
    _, _, line, *members = faults[0].pointer.split("/")
    where = f"Line {line}{', ' + '/'.join(members) if members else ''}"
    more = {1: "", 2: " (1 more row has faults.)"}.get(bad, f" ({bad - 1:,} more rows have faults.)")
    return Problem("cases.invalid", f"{where}: {faults[0].message}{more}", faults=faults)
