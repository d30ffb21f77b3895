"""A run's results as a file, written as it is read. Pure: usable without Django."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

FORMS = {"jsonl": "application/jsonl; charset=utf-8", "csv": "text/csv; charset=utf-8"}
# What opens a formula where a spreadsheet reads it.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def written(rows: Iterable[Mapping[str, Any]], form: str) -> Iterator[str]:
    """Rows (evaluations.runs.lifecycle.document) as lines of JSON, or as CSV with a column for each scorer's value."""
    return _jsonl(rows) if form == "jsonl" else _csv(rows)


def _jsonl(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for row in rows:
        yield json.dumps(row, ensure_ascii=False) + "\n"


def _csv(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    buffer = io.StringIO()
    writer: csv.DictWriter[str] | None = None
    for row in rows:
        flat = {name: _cell(value) for name, value in row.items() if name != "scores"}
        flat |= {f"score.{name}": str(score["value"]) for name, score in row["scores"].items()}
        if writer is None:
            # A scorer that had nothing to judge by has no value; the first row decides on the columns.
            writer = csv.DictWriter(buffer, list(flat), extrasaction="ignore", restval="")
            writer.writeheader()
        writer.writerow(flat)
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"'{text}" if isinstance(value, str) and text.startswith(FORMULA) else text
