"""How fast 100,000 cases come in, beside a bare COPY of the very same rows into the same table.

    .venv/bin/python benchmarks/import.py

The import is the whole verb: read JSON lines, check and normalise each case, digest it, compare what is there, assign
the splits, insert, hash the version, commit. The bare COPY gets finished rows. Both run in turn, several times; the
ratio of the best of each is what counts (the machine is shared). The bar: at least 40 %.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness.database import fresh_database

ROWS = 100_000
ROUNDS = 4
BAR = 0.40
LABELS = ("incident", "billing", "how-to", "request", "account", "security", "cancellation")
COLUMNS = (
    *("dataset_id", "added_in", "variables", "expected", "label", "tags", "group_key", "weight", "split"),
    *("is_placed", "digest", "group_hash", "input_hash"),
)


def main() -> int:
    with fresh_database(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cases.jsonl"
        write(path)
        pairs = [one_round(path, number) for number in range(ROUNDS)]
    imported, copied = (min(times) for times in zip(*pairs, strict=True))
    ratio = copied / imported
    print(f"| {ROWS:,} cases, best of {ROUNDS} | seconds | rows/s | of the bare COPY |")
    print("|---|---|---|---|")
    print(f"| bare COPY | {copied:.2f} | {ROWS / copied:,.0f} | 100 % |")
    print(f"| import | {imported:.2f} | {ROWS / imported:,.0f} | {100 * ratio:.0f} % |")
    return 0 if ratio >= BAR else 1


def write(path: Path) -> None:
    with path.open("w", encoding="utf-8") as handle:
        for number in range(ROWS):
            text = f"My dashboard number {number} shows only zeros since the update on day {number % 31}, please help"
            case = {"variables": {"ticket": text}, "expected": {"category": LABELS[number % 7]}}
            if number % 5 == 0:
                case["tags"] = ["de"]  # type: ignore[assignment]
            handle.write(json.dumps(case) + "\n")


def one_round(path: Path, number: int) -> tuple[float, float]:
    """Seconds of an import, and of a bare COPY of what it stored."""
    # Django's models can be imported only now.
    from django.db import connection  # noqa: PLC0415

    from evaluations.datasets import ingest  # noqa: PLC0415
    from evaluations.datasets import lifecycle as datasets  # noqa: PLC0415
    from evaluations.datasets.files.formats import read_rows  # noqa: PLC0415
    from infra.bulk_copy import copy_into  # noqa: PLC0415
    from registry.accounts import projects  # noqa: PLC0415
    from registry.accounts.permissions import actor_for_command_line  # noqa: PLC0415

    actor = actor_for_command_line(projects.create_project(slug=f"bench{number}", name="Bench"))
    imported = datasets.create(actor, name="imported")
    started = time.perf_counter()
    ingest.load(actor, imported, read_rows(path, "jsonl"))
    import_seconds = time.perf_counter() - started

    bare = datasets.create(actor, name="bare")
    rows = finished_rows(connection, imported.pk, bare.pk)
    started = time.perf_counter()
    copy_into("evaluations_case", COLUMNS, rows)
    return import_seconds, time.perf_counter() - started


def finished_rows(connection: Any, imported: int, bare: int) -> list[tuple[Any, ...]]:
    """What the import stored, as values that COPY takes."""
    own = ", ".join(f"{name}::text" if name in ("variables", "expected", "tags") else name for name in COLUMNS[2:])
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {own} FROM evaluations_case WHERE dataset_id = %s ORDER BY id", [imported])
        return [(bare, 1, *row) for row in cursor.fetchall()]


if __name__ == "__main__":
    sys.exit(main())
