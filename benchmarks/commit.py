"""How long a commit takes with 1,000 and with 100,000 versions in the database.

    .venv/bin/python benchmarks/commit.py

Each commit is the whole verb: check and normalise, compile the template in a child process, lock, number, insert,
audit, commit to disk. The bar (design section 10): p95 under 50 ms with 100,000 versions.
"""

import statistics
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness.database import fresh_database
from benchmarks.harness.figures import percentile

if TYPE_CHECKING:
    from benchmarks.harness.registry_rows import Filler

SIZES = (1_000, 100_000)
VERSIONS_A_PROMPT = 100
COMMITS = 400
BAR_MS = 50.0
TEXT = (
    "You sort support tickets.\n"
    + "- a rule that says something about a category\n" * 30
    + "Ticket {}: {{{{ ticket }}}}"
)


def main() -> int:
    with fresh_database():
        # Django's models can be imported only now.
        from benchmarks.harness.registry_rows import Filler  # noqa: PLC0415

        filler = Filler(TEXT, VERSIONS_A_PROMPT)
        rows = []
        for size in SIZES:
            filler.fill(size)
            rows.append((size, sorted(islice(durations(filler), COMMITS))))
        report(rows)
        return 0 if percentile(rows[-1][1], 95) < BAR_MS else 1


def durations(filler: "Filler") -> Iterator[float]:
    """Milliseconds of one commit after the other, each to another prompt, after a few that do not count."""
    for index in range(-100, COMMITS):
        started = time.perf_counter()
        filler.commit(index)
        if index >= 0:
            yield (time.perf_counter() - started) * 1000


def report(rows: list[tuple[int, list[float]]]) -> None:
    base = percentile(rows[0][1], 95)
    print("| versions in the database | commits | median ms | p95 ms | p99 ms | p95 against the first row |")
    print("|---|---|---|---|---|---|")
    for size, ordered in rows:
        median, p95, p99 = statistics.median(ordered), percentile(ordered, 95), percentile(ordered, 99)
        print(f"| {size:,} | {len(ordered)} | {median:.1f} | {p95:.1f} | {p99:.1f} | {p95 / base:.2f}x |")


if __name__ == "__main__":
    sys.exit(main())
