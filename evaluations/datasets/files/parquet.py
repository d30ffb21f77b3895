"""Parquet files: decoded by a child under limits, because a file of 1 KB can stand for gigabytes. Pure."""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from core.errors import Fault, Problem
from evaluations.datasets.row import Row
from infra.limited.policy import FILES, FIRST_ROWS, WITH_FILES
from infra.limited.pool import LimitedPool

UNREADABLE = "dataset.unreadable"
# Few rows at a time: the memory of a batch is the child's limit.
BATCH_ROWS = 64
MAX_ROW_BYTES = 1024 * 1024
MAX_BYTES = 2 * 1024 * 1024 * 1024


def read_rows(path: Path, max_rows: int | None = None) -> Iterator[Row]:
    """Yield the rows of a file as they stand in it; raises `dataset.unreadable` where it cannot be read within the
    limits. Types that JSON does not have are their text. With `max_rows` somebody waits for the first few."""
    with tempfile.TemporaryDirectory(prefix="cuebook-parquet-") as folder:
        target = Path(folder, "rows.jsonl")
        pool = LimitedPool(1, FILES if max_rows is None else FIRST_ROWS, patience=WITH_FILES)
        try:
            pool.call(
                write_json_lines,
                {"path": str(path.resolve()), "target": str(target), "max_rows": max_rows},
                code=UNREADABLE,
                subject="The Parquet file",
            )
        finally:
            pool.close()
        with target.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                document = orjson.loads(line)
                if isinstance(document, int):
                    sentence = f"The row has {document:,} bytes; at most {MAX_ROW_BYTES:,} are read."
                    yield Row(number, fault=Fault("", "too_large", sentence))
                else:
                    yield Row(number, document, raw=document)


def write_json_lines(path: str, target: str, max_rows: int | None) -> None:
    """The job: write each row (at most `max_rows`) as a line of JSON, or as the number of its bytes where it is too
    large."""
    # Imported here: fifty megabytes, only for those who read Parquet.
    import pyarrow  # noqa: PLC0415
    import pyarrow.parquet  # noqa: PLC0415

    written = count = 0
    try:
        with pyarrow.parquet.ParquetFile(path, memory_map=True) as file, Path(target).open("wb") as lines:
            for batch in file.iter_batches(batch_size=BATCH_ROWS, use_threads=False):
                if max_rows is not None and count >= max_rows:
                    return
                count += batch.num_rows
                for document in batch.to_pylist():
                    line = orjson.dumps(_as_json(document))
                    if len(line) > MAX_ROW_BYTES:
                        line = b"%d" % len(line)
                    written += lines.write(line + b"\n")
                    if written > MAX_BYTES:
                        raise Problem(UNREADABLE, f"The rows have more than {MAX_BYTES:,} bytes.")
    # Times beyond Python's calendar and finer than its clock are ValueErrors of many kinds.
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError, TypeError, RecursionError) as error:
        raise Problem(UNREADABLE, f"The file cannot be read as Parquet: {str(error)[:300]}") from None


def _as_json(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in document.items() if value is not None}


def _plain(value: Any) -> Any:
    """Convert types that JSON does not have; a date or a decimal becomes its text."""
    if isinstance(value, dict):
        return {name: _plain(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_plain(member) for member in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
