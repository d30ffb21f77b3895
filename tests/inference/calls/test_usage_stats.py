"""Sums and histograms of live calls, and what is read from them, held against scipy."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from inference.calls import usage_stats
from inference.calls.usage_stats import Traffic
from inference.monitoring import drift
from inference.monitoring.drift import Size


def bins(values: list[float]) -> dict[int, int]:
    return dict(Counter(map(usage_stats.bin_of, values)))


def drawn(seed: int, n: int, middle: float = 5.0, spread: float = 0.5) -> dict[int, int]:
    return bins(list(np.random.default_rng(seed).lognormal(middle, spread, n)))


@given(st.lists(st.floats(1, 1e7), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_quantile_is_at_most_a_bin_off(values: list[float], share: float):
    found = usage_stats.quantile(bins(values), share)

    assert found
    exact = float(np.quantile(values, share, method="inverted_cdf"))
    bin_width = 2 ** (1 / usage_stats.BINS_PER_DOUBLING) + 1e-9
    assert exact / bin_width <= found.value <= exact * bin_width
    assert (found.low or 0) <= found.value <= (found.high or 0)


@given(st.integers(1, 10_000), st.data())
def test_a_share_has_wilsons_interval(n: int, data: st.DataObject):
    hits = data.draw(st.integers(0, n))

    found = usage_stats.proportion(hits, n)

    assert found
    expected = stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert found.low == pytest.approx(expected.low, abs=1e-9)
    assert found.high == pytest.approx(expected.high, abs=1e-9)


def test_approximations_are_close():
    for freedom in (3, 5, 12, 29, 300):
        assert usage_stats.student(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=0.01)
        for value in (0.5 * freedom, freedom, 2.0 * freedom):
            assert drift.chi_square_tail(value, freedom) == pytest.approx(stats.chi2.sf(value, freedom), abs=0.01)


def test_days_add_up_in_any_order():
    days = [Traffic(calls=n, timed=n, latency_sum=2.0 * n, latencies={n: n}, labels={"a": n}) for n in (1, 2, 3)]

    assert usage_stats.added(days) == usage_stats.added(reversed(days))
    assert usage_stats.added(days).latencies == {1: 1, 2: 2, 3: 3}
    assert usage_stats.added(days).labels == {"a": 6}
    assert usage_stats.added([]).format_rate() is None


def test_a_month_has_idle_days_in_it():
    found = usage_stats.per_month([100.0, 0.0, 50.0, 0.0])

    assert found
    assert found.value == pytest.approx(37.5 * 30.4375)
    assert found.low == 0.0
    assert usage_stats.per_month([100.0, 100.0]) == usage_stats.Measured(100 * 30.4375, None, None, 2)
    assert usage_stats.per_month([]) is None


def test_what_has_not_moved_is_hardly_ever_called_drift():
    called = 0
    for seed in range(200):
        found = drift.of_bins("x", drawn(seed, 300), drawn(seed + 1_000, 300))
        assert found
        called += found.size != Size.NONE

    assert called <= 6


def test_what_has_moved_is_found_and_said():
    moved = drift.of_bins("Length of questions", drawn(1, 2_000), drawn(2, 2_000, middle=5.6))
    assert moved
    assert moved.size == Size.MUCH
    assert "has moved much: stability index" in moved.sentence
    labels = drift.of_labels("Labels", {"a": 500, "b": 500}, {"a": 300, "b": 500, "new": 200})
    assert labels
    assert labels.size == Size.MUCH
    few = drift.of_labels("Labels", {"a": 5}, {"b": 500})
    assert few
    assert few.size == Size.TOO_FEW
    assert "too few" in few.sentence
    assert drift.of_labels("Labels", {}, {"b": 500}) is None


def test_what_lies_outside_all_that_was_is_seen_either_way():
    for now in ({60: 500}, {120: 500}):
        found = drift.of_bins("x", {88: 15, 89: 485}, now)
        assert found
        assert found.size == Size.MUCH


def test_a_share_that_fell_is_drift_and_a_flicker_is_not():
    fell = drift.of_shares("Format", (980, 1_000), (900, 1_000))
    assert fell
    assert fell.size == Size.MUCH
    assert fell.change
    assert fell.change.value == pytest.approx(-0.08)
    assert -0.11 < (fell.change.low or 0) < (fell.change.high or 0) < -0.05
    assert "-8.0%" in fell.sentence
    for before, now in (((980, 1_000), (975, 1_000)), ((98, 100), (50, 100))):
        found = drift.of_shares("Format", before, now)
        assert found
        assert found.size in (Size.NONE, Size.TOO_FEW)
    assert drift.of_shares("Format", (0, 0), (1, 1)) is None
