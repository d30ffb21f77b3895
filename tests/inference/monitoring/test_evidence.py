"""When calls show that a figure is beyond its bound, compared with exact chances."""

from math import inf

import numpy as np
import pytest
from scipy import stats

from inference.monitoring import evidence
from inference.usage.estimates import bin_of


@pytest.mark.parametrize("rate", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("n", [1, 10, 50, 300, 5_000])
def test_chance_alone_is_believed_less_than_once_in_ten_thousand(rate: float, n: int):
    """The chance, by the binomial distribution, that a rate at its bound is called beyond."""
    below = sum(stats.binom(n, rate).pmf(hits) for hits in range(n + 1) if evidence.is_below(hits / n, n, rate))
    above = sum(stats.binom(n, 1 - rate).pmf(hits) for hits in range(n + 1) if evidence.is_above(hits / n, n, 1 - rate))

    assert below <= 1e-4
    assert above <= 1e-4


def test_a_drop_is_shown_by_enough_calls():
    assert not evidence.is_below(0.85, 130, 0.95)
    assert evidence.is_below(0.85, 132, 0.95)
    assert not evidence.is_below(0.96, 1_000_000, 0.95)
    assert evidence.is_above(0.2, 200, 0.05)
    # Nothing may fail: the first that does is one too many.
    assert evidence.is_below(0.99, 100, 1.0)
    assert evidence.divergence(0.5, 0.0) == inf


def test_a_quantile_is_above_where_too_many_values_are():
    fine = {bin_of(value): 100 for value in (100, 200, 300, 400)}
    slow = {**fine, bin_of(2_000): 40}

    assert not evidence.is_quantile_above(fine, 0.99, 1_000)
    assert evidence.is_quantile_above(slow, 0.99, 1_000)
    assert not evidence.is_quantile_above(slow, 0.5, 1_000)
    assert not evidence.is_quantile_above({}, 0.5, 1_000)


def test_a_mean_without_bounds_is_judged_by_its_error():
    values = np.random.default_rng(2).lognormal(0, 1, 400)
    sums = (float(values.sum()), float((values**2).sum()), 400)

    assert evidence.is_mean_above(*sums, bound=1.0)
    assert not evidence.is_mean_above(*sums, bound=float(values.mean()))
    assert not evidence.is_mean_above(float(values[:29].sum()), float((values[:29] ** 2).sum()), 29, bound=0.0)
