"""A row of a dataset's file, as every reader gives it. Pure."""

from dataclasses import dataclass
from typing import Any

from core.errors import Fault

# A line of a file: a row is in memory as a whole. An image in it may be as large as one that is uploaded.
MAX_LINE_LENGTH = 8 * 1024 * 1024


@dataclass(slots=True)
class Row:
    """A row at a line (or number, in Parquet) of its file: a case's document, or its fault."""

    line: int
    document: Any = None
    fault: Fault | None = None
    raw: Any = None
    # True where texts and numbers are in normal form already.
    is_normal: bool = False


def not_utf8(text: str) -> Fault | None:
    """Return the fault of a text with bytes that are not UTF-8, which half surrogates stand for."""
    column = next((place for place, letter in enumerate(text, start=1) if "\ud800" <= letter <= "\udfff"), None)
    return Fault("", "encoding", f"Is not UTF-8 (column {column}).") if column else None
