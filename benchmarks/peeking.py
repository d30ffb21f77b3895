"""What looking every day costs, and what it spares: experiments simulated, looked at after every 50 subjects.

    .venv/bin/python benchmarks/peeking.py [--experiments 10000]

A simulation; no subject exists. For each kind of value there are experiments without a difference (A/A), in which
whoever says "different" is wrong, and experiments with one (5 points of a rate, a tenth of a standard deviation of a
skewed value), in which it is to be found. Three ways to look: our confidence sequence (inference/experiments), a t test
that is looked at each time (naive peeking), and a t test that is looked at once, with as many subjects as it needs for
a power of 80 %. Bars (design section 10): at most 5 % of the A/A tests end "different", and the lift is found after at
most 1.6 times the fixed number of subjects, at the median.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from inference.experiments import sequences

ALPHA, POWER, LOOK = 0.05, 0.8, 50
BAR_WRONG, BAR_COST = 0.05, 1.6
# A/A tests go on for so many times the fixed number of subjects.
LONGEST = 4
BATCH = 250

Values = "np.ndarray[tuple[int, ...], np.dtype[np.float64]]"
Draw = Callable[["np.random.Generator", tuple[int, ...], float], Values]


def rates(chance: "np.random.Generator", shape: tuple[int, ...], lift: float) -> Values:
    return (chance.random(shape) < 0.7 + lift).astype(np.float64)


def skewed(chance: "np.random.Generator", shape: tuple[int, ...], lift: float) -> Values:
    return chance.lognormal(0.0, 1.0, shape) + lift


KINDS: dict[str, tuple[Draw, float, float]] = {
    "a rate of 0.70, lift 5 points": (rates, 0.05, 0.7 * 0.3),
    "a skewed value, lift 0.1 of its deviation": (skewed, 0.1 * np.sqrt((np.e - 1) * np.e), (np.e - 1) * np.e),
}


def fixed_units(lift: float, variance: float) -> int:
    """Subjects of both arms that a t test looked at once needs."""
    reach = stats.norm.ppf(1 - ALPHA / 2) + stats.norm.ppf(POWER)
    return int(np.ceil(2 * 2 * variance * reach**2 / lift**2))


def ended(draw: Draw, lift: float, experiments: int, units: int, expected: float) -> dict[str, Values]:
    """After how many subjects each experiment says "different", infinity where it never does; by the way of looking."""
    chance = np.random.default_rng(20261128)
    looks = np.arange(LOOK, units + 1, LOOK)
    half = looks // 2
    critical = stats.norm.ppf(1 - ALPHA / 2)
    multipliers = np.array([sequences._multiplier(int(look), ALPHA, expected) for look in looks])
    multipliers[half < sequences.MIN_UNITS] = np.inf
    ends: dict[str, list[Values]] = {"sequence": [], "naive": []}
    for start in range(0, experiments, BATCH):
        shape = (min(BATCH, experiments - start), units // 2)
        a, b = draw(chance, shape, 0.0), draw(chance, shape, lift)
        parts = []
        for values in (a, b):
            total, squares = (each.cumsum(axis=1)[:, half - 1] for each in (values, values**2))
            mean = total / half
            parts.append((mean, (squares / half - mean**2) / (half - 1)))
        (first, first_error), (second, second_error) = parts
        t = np.abs(second - first) / np.sqrt(np.maximum(first_error + second_error, 1e-300))
        for name, limit in (("sequence", multipliers), ("naive", critical)):
            is_different = t > limit
            first_look = looks[is_different.argmax(axis=1)]
            ends[name].append(np.where(is_different.any(axis=1), first_look, np.inf))
    return {name: np.concatenate(each) for name, each in ends.items()}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--experiments", type=int, default=10_000)
    experiments = parser.parse_args().experiments
    is_good = True
    print(f"A simulation of {experiments:,} experiments of each kind, looked at after every {LOOK} subjects.")
    for title, (draw, lift, variance) in KINDS.items():
        began = time.perf_counter()
        fixed = fixed_units(lift, variance)
        nothing = ended(draw, 0.0, experiments, LONGEST * fixed, fixed)
        lifted = ended(draw, lift, experiments, LONGEST * fixed, fixed)
        wrong = {name: float(np.isfinite(ends).mean()) for name, ends in nothing.items()}
        cost = float(np.median(lifted["sequence"])) / fixed
        missed = float(np.isinf(lifted["sequence"]).mean())
        print(f"\n{title}: a test that is looked at once needs {fixed:,} subjects")
        print(f"  A/A called different within {LONGEST * fixed:,} subjects:")
        print(
            f"    confidence sequence {wrong['sequence']:.1%} (bar {BAR_WRONG:.0%}); naive peeking {wrong['naive']:.1%}"
        )
        print(
            f"  the lift is found after {cost:.2f} times as many, at the median (bar {BAR_COST}); never: {missed:.1%}"
        )
        print(f"  ({time.perf_counter() - began:.0f} s)")
        is_good &= wrong["sequence"] <= BAR_WRONG and cost <= BAR_COST
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
