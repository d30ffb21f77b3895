"""Sums and histograms of live calls, and the figures read from them, compared with scipy."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as distributions

from inference.monitoring import drift
from inference.monitoring.drift import DriftSize
from inference.usage import estimates, stats
from inference.usage.stats import UsageStats


def bins(values: list[float]) -> dict[int, int]:
    return dict(Counter(map(estimates.bin_of, values)))


def drawn(seed: int, n: int, middle: float = 5.0, spread: float = 0.5) -> dict[int, int]:
    return bins(list(np.random.default_rng(seed).lognormal(middle, spread, n)))


@given(st.lists(st.floats(1, 1e7), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_quantile_is_at_most_a_bin_off(values: list[float], share: float):
    estimate = estimates.quantile(bins(values), share)

    assert estimate
    exact = float(np.quantile(values, share, method="inverted_cdf"))
    bin_width = 2 ** (1 / estimates.BINS_PER_DOUBLING) + 1e-9
    assert exact / bin_width <= estimate.value <= exact * bin_width
    assert (estimate.low or 0) <= estimate.value <= (estimate.high or 0)


@given(st.integers(1, 10_000), st.data())
def test_a_share_has_wilsons_interval(n: int, data: st.DataObject):
    hits = data.draw(st.integers(0, n))

    estimate = estimates.proportion(hits, n)

    assert estimate
    expected = distributions.binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert estimate.low == pytest.approx(expected.low, abs=1e-9)
    assert estimate.high == pytest.approx(expected.high, abs=1e-9)


def test_approximations_are_close():
    for freedom in (3, 5, 12, 29, 300):
        assert estimates.student_t(freedom) == pytest.approx(distributions.t.ppf(0.975, freedom), rel=0.01)
        for value in (0.5 * freedom, freedom, 2.0 * freedom):
            assert drift.chi_square_tail(value, freedom) == pytest.approx(
                distributions.chi2.sf(value, freedom), abs=0.01
            )


def test_days_add_up_in_any_order():
    days = [UsageStats(calls=n, timed=n, latency_sum=2.0 * n, latencies={n: n}, labels={"a": n}) for n in (1, 2, 3)]

    assert stats.sum_usage(days) == stats.sum_usage(reversed(days))
    assert stats.sum_usage(days).latencies == {1: 1, 2: 2, 3: 3}
    assert stats.sum_usage(days).labels == {"a": 6}
    assert stats.sum_usage([]).format_rate() is None


def test_a_month_has_idle_days_in_it():
    estimate = estimates.monthly_rate([100.0, 0.0, 50.0, 0.0])

    assert estimate
    assert estimate.value == pytest.approx(37.5 * 30.4375)
    assert estimate.low == 0.0
    assert estimates.monthly_rate([100.0, 100.0]) == estimates.IntervalEstimate(100 * 30.4375, None, None, 2)
    assert estimates.monthly_rate([]) is None


def test_what_has_not_changed_is_hardly_ever_called_drift():
    called = 0
    for seed in range(200):
        change = drift.drift_of_histogram("x", drawn(seed, 300), drawn(seed + 1_000, 300))
        assert change
        called += change.size != DriftSize.NONE

    assert called <= 6


def test_what_has_moved_is_found_and_said():
    moved = drift.drift_of_histogram("Length of questions", drawn(1, 2_000), drawn(2, 2_000, middle=5.6))
    assert moved
    assert moved.size == DriftSize.MUCH
    assert "has moved much: stability index" in moved.sentence
    labels = drift.drift_of_labels("Labels", {"a": 500, "b": 500}, {"a": 300, "b": 500, "new": 200})
    assert labels
    assert labels.size == DriftSize.MUCH
    few = drift.drift_of_labels("Labels", {"a": 5}, {"b": 500})
    assert few
    assert few.size == DriftSize.TOO_FEW
    assert "too few" in few.sentence
    assert drift.drift_of_labels("Labels", {}, {"b": 500}) is None


def test_values_outside_the_former_range_are_drift_either_way():
    for now in ({60: 500}, {120: 500}):
        change = drift.drift_of_histogram("x", {88: 15, 89: 485}, now)
        assert change
        assert change.size == DriftSize.MUCH


def test_a_share_that_fell_is_drift_and_a_flicker_is_not():
    fell = drift.drift_of_proportions("Format", (980, 1_000), (900, 1_000))
    assert fell
    assert fell.size == DriftSize.MUCH
    assert fell.change
    assert fell.change.value == pytest.approx(-0.08)
    assert -0.13 < (fell.change.low or 0) < (fell.change.high or 0) < -0.03
    assert "-8.0%" in fell.sentence
    for before, now in (((980, 1_000), (975, 1_000)), ((98, 100), (50, 100))):
        change = drift.drift_of_proportions("Format", before, now)
        assert change
        assert change.size in (DriftSize.NONE, DriftSize.TOO_FEW)
    assert drift.drift_of_proportions("Format", (0, 0), (1, 1)) is None
