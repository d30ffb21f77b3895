"""Whether calls show that a figure is beyond a bound, or chance alone may have brought it there. Pure.

A rate or a mean of values from 0 to 1 that is truly at a bound falls as far beyond it as it did with a chance of at
most exp(-n KL(mean, bound)), whatever the number of calls (Hoeffding 1963, theorem 1): nothing is assumed, and few
calls prove little. What is beyond is believed where that chance is below 1 in 10,000: monitors look all the time.
"""

from collections.abc import Mapping
from math import inf, log, sqrt
from statistics import NormalDist

from inference.usage.estimates import BINS_PER_DOUBLING, squared_error

CHANCE = 1e-4
NEEDED = log(1 / CHANCE)
Z = NormalDist().inv_cdf(1 - CHANCE)


def is_below(mean: float, n: int, bound: float) -> bool:
    """Return whether a mean of values from 0 to 1 is surely below a bound."""
    return mean < bound and n * divergence(mean, bound) >= NEEDED


def is_above(mean: float, n: int, bound: float) -> bool:
    """Return whether a mean of values from 0 to 1 is surely above a bound."""
    return mean > bound and n * divergence(mean, bound) >= NEEDED


def divergence(mean: float, bound: float) -> float:
    """Return the Kullback-Leibler divergence of two rates, in nats."""
    total = 0.0
    for of_mean, of_bound in ((mean, bound), (1 - mean, 1 - bound)):
        if of_mean > 0:
            total += of_mean * log(of_mean / of_bound) if of_bound > 0 else inf
    return total


def is_quantile_above(bins: Mapping[int, int], share: float, bound: float) -> bool:
    """Return whether a quantile is surely above a bound: too many values are. Values count that are in bins which begin
    above it (inference.usage.estimates)."""
    n = sum(bins.values())
    above = sum(count for number, count in bins.items() if 2 ** (number / BINS_PER_DOUBLING) > bound)
    return bool(n) and is_above(above / n, n, 1 - share)


def is_mean_above(total: float, squares: float, n: int, bound: float) -> bool:
    """Return whether a mean without bounds is surely above one, by its standard error; never with fewer than 30."""
    return n >= 30 and total / n - Z * sqrt(squared_error(total, squares, n)) > bound
