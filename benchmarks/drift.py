"""How often monitors alarm without a reason, and how soon they find one: windows of calls simulated.

    .venv/bin/python benchmarks/drift.py [--windows 200000]

A simulation; no call exists. Quiet windows are of calls whose rate is exactly at the bound, the hardest there are: any
alarm is a false one. Then the rate drops by ten points, and calls come one by one until the monitor is sure. Bars
(design section 10): at most one false alarm in 10,000 quiet windows, and the drop found within 500 calls at the median.
The same for the drift of two distributions without a difference.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from inference.monitoring import drift, evidence

SIZES, RATES = (30, 200, 700, 5_000), (0.98, 0.95, 0.8, 0.5)
DROP, DROPS, LONGEST = 0.1, 2_000, 2_000
BAR_FALSE, BAR_CALLS = 1e-4, 500
PAIRS = 40_000


def false_alarms(windows: int) -> float:
    """The share of quiet windows in which the monitor is sure; the worst of all sizes and rates."""
    chance = np.random.default_rng(1)
    worst = 0.0
    for rate in RATES:
        for size in SIZES:
            hits, counts = np.unique(chance.binomial(size, rate, windows), return_counts=True)
            alarms = sum(
                int(count)
                for number, count in zip(hits, counts, strict=True)
                if evidence.is_below(int(number) / size, size, rate)
            )
            worst = max(worst, alarms / windows)
    return worst


def calls_to_find(rate: float) -> float:
    """After how many calls a drop is found, at the median."""
    chance = np.random.default_rng(2)
    hits = (chance.random((DROPS, LONGEST)) < rate - DROP).cumsum(axis=1)
    ends = []
    for row in hits:
        sure = (n for n in range(10, LONGEST + 1, 5) if evidence.is_below(int(row[n - 1]) / n, n, rate))
        ends.append(next(sure, LONGEST * 10))
    return float(np.median(ends))


def false_drifts(pairs: int) -> float:
    """The share of pairs of samples of one distribution that are called drift."""
    chance = np.random.default_rng(3)
    wrong = 0
    for _ in range(pairs // 100):
        lengths = np.floor(np.log2(chance.lognormal(5, 0.6, (100, 2, 400))) * 8).astype(int)
        for before, now in lengths:
            counts = [dict(zip(*np.unique(each, return_counts=True), strict=True)) for each in (before, now)]
            change = drift.drift_of_histogram("x", *counts)
            wrong += change is not None and change.size in (drift.DriftSize.SOME, drift.DriftSize.MUCH)
    return wrong / pairs


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--windows", type=int, default=200_000)
    windows = parser.parse_args().windows
    alarms = false_alarms(windows)
    print(f"A simulation. {windows:,} quiet windows for each of {len(SIZES)} sizes and {len(RATES)} rates:")
    print(f"  false alarms, the worst of them: {alarms * 10_000:.2f} in 10,000 (bar {BAR_FALSE * 10_000:.0f})")
    ends = {rate: calls_to_find(rate) for rate in RATES}
    for rate, calls in ends.items():
        print(
            f"  from {rate:.2f} to {rate - DROP:.2f}: found after {calls:,.0f} calls, at the median (bar {BAR_CALLS})"
        )
    drifts = false_drifts(PAIRS)
    print(f"  {PAIRS:,} pairs of one distribution: {drifts * 10_000:.2f} in 10,000 are called drift")
    return 0 if alarms <= BAR_FALSE and max(ends.values()) <= BAR_CALLS and drifts <= BAR_FALSE else 1


if __name__ == "__main__":
    sys.exit(main())
