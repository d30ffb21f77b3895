"""A row of a dataset's file, as every reader gives it. Pure."""

from dataclasses import dataclass
from typing import Any

from core.errors import Fault


@dataclass(slots=True)
class Row:
    """A row at a line (or number, in Parquet) of its file: a case's document, or its fault."""

    line: int
    document: Any = None
    fault: Fault | None = None
    raw: Any = None
    # True where texts and numbers are in normal form already.
    is_normal: bool = False
