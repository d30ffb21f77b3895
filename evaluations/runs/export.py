"""Export of a run's results as a stream. Pure: usable without Django."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from registry.content.example_file import guard_formula

MEDIA_TYPES = {"jsonl": "application/jsonl; charset=utf-8", "csv": "text/csv; charset=utf-8"}


def write_rows(rows: Iterable[Mapping[str, Any]], form: str) -> Iterator[str]:
    """Write rows (evaluations.runs.lifecycle.case_as_dict) as JSON lines, or as CSV with a column for each scorer."""
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
            # The first row decides on the columns; a scorer with nothing to judge by has no value.
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
    return guard_formula(text) if isinstance(value, str) else text
