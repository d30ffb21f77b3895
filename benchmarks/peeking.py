"""What looking every day costs, and what it spares: experiments simulated, looked at after every 50 subjects.

    .venv/bin/python benchmarks/peeking.py [--experiments 10000]

A simulation; no subject exists. For each kind of value there are experiments without a difference (A/A), in which
whoever says "different" is wrong, and experiments with one (5 points of a rate, a tenth of a standard deviation of a
skewed value), in which it is to be found. Three ways to look: our confidence sequence (inference/experiments), a t test
that is looked at each time (naive peeking), and a t test that is looked at once, with as many subjects as it needs for
a power of 80 %. Bars (design section 10): at most 5 % of the A/A tests end "different", also where an arm has 5 % or
1 % of the subjects, and the lift is found after at most 1.6 times the fixed number of subjects, at the median.
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
# Of the subjects, those in the smaller arm.
SMALL_ARMS = (0.05, 0.01)
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


def ended(
    draw: Draw, lift: float, experiments: int, units: int, expected: float, share: float = 0.5
) -> dict[str, Values]:
    """After how many subjects each experiment says "different", infinity where it never does; by the way of looking.
    `share` of the subjects are in the second arm."""
    chance = np.random.default_rng(20261128)
    looks = np.arange(LOOK, units + 1, LOOK)
    in_second = (looks * share).astype(int)
    counts = (looks - in_second, in_second)
    critical = stats.norm.ppf(1 - ALPHA / 2)
    multipliers = np.array([sequences._multiplier(int(look), ALPHA, expected) for look in looks])
    multipliers[in_second < sequences.MIN_UNITS] = np.inf
    # Those that are too few for any variance are not looked at by anybody.
    is_looked_at = in_second >= 2
    ends: dict[str, list[Values]] = {"sequence": [], "naive": []}
    for start in range(0, experiments, BATCH):
        batch = min(BATCH, experiments - start)
        parts = []
        for own_lift, count in zip((0.0, lift), counts, strict=True):
            values = draw(chance, (batch, int(count[-1])), own_lift)
            # Before its first subject nothing is looked at.
            place = np.maximum(count - 1, 0)
            total, squares = (each.cumsum(axis=1)[:, place] for each in (values, values**2))
            n = np.maximum(count, 2)
            mean = total / n
            parts.append((mean, np.maximum(squares / n - mean**2, 0.0) * n / (n - 1), n))
        (first, first_variance, n), (second, second_variance, m) = parts
        # The sequence has the larger of the two variances for both, as the product does.
        wide = np.maximum(first_variance, second_variance) * (1 / n + 1 / m)
        errors = {"sequence": wide, "naive": first_variance / n + second_variance / m}
        for name, limit in (("sequence", multipliers), ("naive", critical)):
            t = np.abs(second - first) / np.sqrt(np.maximum(errors[name], 1e-300))
            is_different = (t > limit) & is_looked_at
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
        for share in SMALL_ARMS:
            small = ended(draw, 0.0, experiments, LONGEST * fixed, fixed, share)
            wrong_of_small = {name: float(np.isfinite(ends).mean()) for name, ends in small.items()}
            print(
                f"  with {share:.0%} in the second arm: {wrong_of_small['sequence']:.1%} (bar {BAR_WRONG:.0%}); naive"
                f" peeking {wrong_of_small['naive']:.1%}"
            )
            is_good &= wrong_of_small["sequence"] <= BAR_WRONG
        print(f"  ({time.perf_counter() - began:.0f} s)")
        is_good &= wrong["sequence"] <= BAR_WRONG and cost <= BAR_COST
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
