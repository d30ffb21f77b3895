"""How long 100,000 test cases take to be compared with 100,000 training cases, and what of the planted leaks is found.

    .venv/bin/python benchmarks/data/leakage.py

The texts are made of random words (a stand-in for real ones: only their number and length matter here), in a real
dataset; the whole report runs, findings included, but for meaning, which is left out at this size. The bar (issue):
under 5 minutes on 2 cores, memory bounded.
"""

import random
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.harness.database import fresh_database

SPLIT_SIZE = 100_000
PLANTED = 1_000
BAR_SECONDS = 300.0
RANDOM = random.Random(7)  # noqa: S311 - the same texts in every run
WORDS = ["".join(RANDOM.choices("abcdefghijklmnopqrstuvwxyz", k=RANDOM.randint(2, 9))) for _ in range(20_000)]


def main() -> int:
    with fresh_database():
        # Django's models can be imported only now.
        from evaluations.data_quality import reports  # noqa: PLC0415
        from evaluations.datasets import ingest  # noqa: PLC0415
        from evaluations.datasets import lifecycle as datasets  # noqa: PLC0415
        from evaluations.datasets.row import Row  # noqa: PLC0415
        from evaluations.models import Report  # noqa: PLC0415
        from registry.accounts import projects  # noqa: PLC0415
        from registry.accounts.permissions import actor_for_command_line  # noqa: PLC0415

        actor = actor_for_command_line(projects.create_project(slug="bench", name="Bench"))
        dataset = datasets.create(actor, name="leaky")
        loaded = ingest.load(actor, dataset, (Row(number, case) for number, case in enumerate(cases())))
        report = Report.objects.get(version=loaded.version, kind="leakage")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        started = time.perf_counter()
        reports.make_report(report)
        seconds = time.perf_counter() - started
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        report.refresh_from_db()
        tally(report.result["counts"], report.result["leaked"], seconds, before, after)
        return 0 if seconds < BAR_SECONDS else 1


def text() -> str:
    return " ".join(RANDOM.choices(WORDS, k=RANDOM.randint(8, 40)))


def cases() -> Iterator[dict[str, Any]]:
    """SPLIT_SIZE test cases and SPLIT_SIZE training cases, PLANTED of which show a test case in one of four ways."""
    held_out = [text() for _ in range(SPLIT_SIZE)]
    for number, case_text in enumerate(held_out):
        yield {"variables": {"text": case_text}, "expected": "x", "split": "test", "group": f"t{number}"}
    for number in range(SPLIT_SIZE):
        training_text = planted(held_out[number], number % 4) if number < PLANTED else text()
        yield {"variables": {"text": training_text}, "expected": "x", "split": "train", "group": f"r{number}"}


def planted(held_out: str, kind: int) -> str:
    """A held-out text as it is, with one word changed, inside a longer one, or three quarters of it."""
    words = held_out.split()
    if kind == 1:
        words[RANDOM.randrange(len(words))] = "changed"
    elif kind == 2:
        words = [*RANDOM.choices(WORDS, k=20), *words, *RANDOM.choices(WORDS, k=20)]
    elif kind == 3:
        words = words[: 3 * len(words) // 4]
    return " ".join(words)


def tally(counts: dict[str, int], leaked: int, seconds: float, before: float, after: float) -> None:
    print(f"| {SPLIT_SIZE:,} x {SPLIT_SIZE:,} | seconds | planted | found | MB before | MB at most |")
    print("|---|---|---|---|---|---|")
    print(f"| whole report | {seconds:.1f} | {PLANTED:,} | {leaked:,} | {before:.0f} | {after:.0f} |")
    print(", ".join(f"{kind} {count:,}" for kind, count in counts.items() if count))


if __name__ == "__main__":
    sys.exit(main())
