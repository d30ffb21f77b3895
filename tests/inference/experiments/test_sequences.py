"""Confidence sequences, compared with published figures and with what they promise."""

from math import inf, log

import numpy as np
import pytest
from scipy import stats

from inference.experiments import sequences
from inference.experiments.sequences import Sums


def sums(values: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> Sums:
    return Sums(len(values), float(values.sum()), float((values**2).sum()))


def test_the_boundary_is_that_of_the_papers_authors():
    """The figures that the tests of confseq, their package, expect."""
    rho = sequences.best_rho(100, 0.05)

    assert rho == pytest.approx(12.60056, abs=1e-5)
    assert sequences.normal_mixture_bound(100, 0.05, rho) == pytest.approx(30.35209, abs=1e-5)


def test_a_difference_is_as_far_as_its_errors_say():
    a, b = sums(np.repeat([0.0, 1.0], 500)), sums(np.repeat([0.0, 1.0], [400, 600]))
    estimate = sequences.difference_of_means(a, b, expected=2_000)

    assert estimate
    assert (estimate.value, estimate.n) == (pytest.approx(0.1), 2_000)
    # The larger of the two variances stands for both.
    standard_error = np.sqrt(2 * np.repeat([0.0, 1.0], 500).var(ddof=1) / 1_000)
    # At the expected number it is some 1.5 times as wide as an interval that is looked at once, 1.96.
    assert ((estimate.high or 0) - estimate.value) / standard_error == pytest.approx(3.035, abs=0.01)
    assert sequences.difference_of_means(sums(np.ones(49)), b) is None


def test_it_is_closest_where_it_is_expected_to_end():
    at = {expected: sequences._multiplier(10_000, 0.05, expected) for expected in (100, 1_000, 10_000, 100_000)}

    assert min(at, key=lambda expected: at[expected]) == 10_000


@pytest.mark.parametrize("share", [0.05, 0.01])
def test_a_small_arm_of_skewed_values_is_not_surely_lower(share: float):
    """300 experiments without a difference, in which few subjects are in the arm: its low means come with low
    variances."""
    chance = np.random.default_rng(12)
    wrong = 0
    for _ in range(300):
        values = chance.lognormal(0, 1.5, 12_000)
        is_arm = chance.random(len(values)) < share
        for looked_at in range(2_000, len(values) + 1, 500):
            now, arm = values[:looked_at], is_arm[:looked_at]
            estimate = sequences.difference_of_means(sums(now[~arm]), sums(now[arm]), alpha=0.05)
            if estimate and (estimate.low > 0 or estimate.high < 0):  # type: ignore[operator]
                wrong += 1
                break
    # At 5 %, with room for chance.
    assert wrong / 300 < 0.08


def test_a_baseline_that_costs_nothing_can_be_compared_with():
    free, paid = Sums(1_000, 0.0, 0.0), Sums(1_000, 3.0, 0.0095)
    estimate = sequences.difference_of_means(free, paid)
    assert estimate
    assert estimate.low > 0.002  # type: ignore[operator]
    assert sequences.difference_of_means(Sums(60, 0.0, 0.0), Sums(60, 90.0, 140.0))


@pytest.mark.parametrize("draw", ["yes or no", "skewed"])
def test_who_looks_all_the_time_is_seldom_wrong(draw: str):
    """800 experiments without a difference, looked at after every 50 subjects up to 5,000."""
    chance = np.random.default_rng(11)
    shape = (800, 2, 2_500)
    values = (chance.random(shape) < 0.3).astype(float) if draw == "yes or no" else chance.lognormal(0, 1, shape)
    total, squares = values.cumsum(axis=2), (values**2).cumsum(axis=2)
    wrong = np.zeros(800, bool)
    for units in range(50, 2_501, 25):
        for experiment in np.flatnonzero(~wrong):
            totals, all_squares = total[experiment, :, units - 1], squares[experiment, :, units - 1]
            a, b = (Sums(units, float(totals[arm]), float(all_squares[arm])) for arm in (0, 1))
            estimate = sequences.difference_of_means(a, b)
            wrong[experiment] = estimate is not None and ((estimate.low or 0) > 0 or (estimate.high or 0) < 0)

    # At most 5 %; with 800 of them chance adds 1.5.
    assert wrong.mean() <= 0.065


def test_more_units_are_as_many_as_it_then_takes():
    chance = np.random.default_rng(5)
    a, b = sums(chance.random(300)), sums(chance.random(300) + 0.02)
    more = sequences.units_to_decide(a, b, 0.02)

    assert more
    half = (600 + more) // 2
    later = [Sums(half, arm.mean * half, arm.squares / arm.n * half) for arm in (a, b)]
    estimate = sequences.difference_of_means(*later)
    assert estimate
    assert (estimate.high or 0) - estimate.value == pytest.approx(0.02, rel=0.01)
    assert sequences.units_to_decide(a, b, 1.0) == 0
    assert sequences.units_to_decide(a, b, 0.0) is None
    assert sequences.units_to_decide(a, b, 1e-7) is None


def test_a_rate_holds_at_all_times():
    chance = np.random.default_rng(3)
    wrong = 0
    for share in (0.01, 0.1, 0.5):
        hits = (chance.random((300, 1_000)) < share).cumsum(axis=1)
        for row in hits:
            ends = [sequences.rate(int(row[n - 1]), n) for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)]
            wrong += any(not low <= share <= high for low, high in ends)

    assert wrong / 900 <= 0.05
    assert sequences.rate(0, 0) == (0.0, 1.0)
    low, high = sequences.rate(0, 100)
    assert low == 0.0
    # (1 - high)^100 has to be 1 / 20 of the mixture, 1 / 101.
    assert 100 * log(1 - high) == pytest.approx(-log(20 * 101), rel=1e-6)
    assert sequences.rate(100, 100) == (pytest.approx(1 - high), 1.0)


def test_a_quantile_lies_between_its_ranks_at_all_times():
    chance = np.random.default_rng(9)
    values = chance.random((400, 2_000))
    wrong = 0
    for row in values:
        outside = False
        for n in (20, 50, 100, 500, 2_000):
            low, high = sequences.quantile_ranks(n, 0.95)
            ordered = np.sort(row[:n])
            lowest = ordered[max(0, int(low * n) - 1)] if low > 0 else -inf
            highest = ordered[int(high * n)] if high * n < n else inf
            outside |= not lowest <= 0.95 <= highest
        wrong += outside

    assert wrong / 400 <= 0.05
    low, high = sequences.quantile_ranks(10_000, 0.5)
    assert 0.45 < low < 0.5 < high < 0.55
    assert sequences.quantile_ranks(1, 0.5) == (0.0, 1.0)


def test_a_mismatch_of_arms_is_seen_and_none_is_not():
    assert sequences.mismatch_e_value([500, 500], [1, 1]) < 1
    assert sequences.mismatch_e_value([5_000, 5_400], [1, 1]) > 20
    assert sequences.mismatch_e_value([90, 10], [9_000, 1_000]) < 1
    assert sequences.mismatch_e_value([10, 1], [1, 0]) == inf
    # By the definition: the probability of the data under the mixture, by that under the weights.
    beta = stats.betabinom(30, 50, 50).pmf(20) / stats.binom(30, 0.5).pmf(20)
    assert sequences.mismatch_e_value([20, 10], [1, 1]) == pytest.approx(beta)


def test_mismatches_are_seldom_seen_where_there_are_none():
    chance = np.random.default_rng(1)
    ones = (chance.random((1_000, 4_000)) < 0.1).cumsum(axis=1)
    looks = range(50, 4_001, 50)
    wrong = 0
    for row in ones:
        counts = ((n - int(row[n - 1]), int(row[n - 1])) for n in looks)
        wrong += any(sequences.mismatch_e_value(pair, [9, 1]) > 20 for pair in counts)
    assert wrong / 1_000 <= 0.05


@pytest.mark.parametrize(("first", "second"), [(0.0, 0.01), (0.01, 0.02), (0.98, 0.99), (0.02, 0.05)])
def test_rare_events_are_not_taken_for_many(first: float, second: float):
    """Where hardly anything fails, the limit of many values is far: the truth must still lie within, at all times."""
    chance = np.random.default_rng(21)
    wrong = 0
    for _ in range(200):
        hits = [(chance.random(1_500) < share).cumsum() for share in (first, second)]
        for n in range(50, 1_501, 50):
            a, b = (Sums(n, float(each[n - 1]), float(each[n - 1]), is_bounded=True) for each in hits)
            estimate = sequences.difference_of_means(a, b)
            assert estimate
            if not (estimate.low or 0) <= second - first <= (estimate.high or 0):
                wrong += 1
                break
    assert wrong / 200 <= 0.06


def test_values_that_are_all_alike_prove_nothing():
    alike, others = Sums(100, 50.0, 25.0), Sums(100, 60.0, 36.0)

    assert sequences.difference_of_means(alike, others) is None
    assert sequences.units_to_decide(alike, others, 0.001) is None
    none_failed = sequences.difference_of_means(Sums(60, 0.0, 0.0, True), Sums(60, 0.0, 0.0, True))
    assert none_failed
    assert (none_failed.low or 0) < -0.05
