"""Confidence sequences: intervals that hold at every moment at once, so that one may look at them every day. Pure.

A confidence interval of 95 % holds at one moment that was chosen before. Who looks every day and stops when it
excludes zero is wrong far more often. A confidence sequence excludes the truth ever, at any moment, with at most 5 %.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, exp, lgamma, log, sqrt

from inference.usage.estimates import IntervalEstimate

# Below so many units in an arm nothing is said: the sequences for means hold in the limit of many.
MIN_UNITS = 50
MIN_EVENTS = 30


@dataclass(frozen=True)
class Sums:
    """Units of an arm (subjects, mostly): how many, and the sums of their values and of the values' squares;
    `is_bounded` where values are from 0 to 1."""

    n: int
    total: float
    squares: float
    is_bounded: bool = False

    @property
    def mean(self) -> float:
        return self.total / self.n

    @property
    def variance(self) -> float:
        """The sample variance."""
        return max(0.0, self.squares / self.n - self.mean**2) * self.n / (self.n - 1)

    @property
    def squared_error(self) -> float:
        """The squared standard error of the mean."""
        return self.variance / self.n

    @property
    def is_rare(self) -> bool:
        """Whether the values are yes and no, with fewer than MIN_EVENTS of one of the two."""
        return self.is_bounded and self.total == self.squares and min(self.total, self.n - self.total) < MIN_EVENTS


def best_rho(expected: float, alpha: float) -> float:
    """Return the mixture's parameter with which the boundary is closest after so many units (Howard, Ramdas, McAuliffe
    and Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences", Annals of Statistics 2021, 3.5)."""
    reach = 2 * log(1 / alpha)
    return expected / (reach + log(1 + reach))


def normal_mixture_bound(time: float, alpha: float, rho: float) -> float:
    """Return the two-sided boundary of the normal mixture (the same, eq. 14): a sum of units of variance 1 stays below
    it at all times, with a chance of 1 - alpha."""
    return sqrt((time + rho) * (log((time + rho) / rho) + 2 * log(1 / alpha)))


def difference_of_means(a: Sums, b: Sums, *, alpha: float = 0.05, expected: float = 2_000) -> IntervalEstimate | None:
    """Return b - a with its asymptotic confidence sequence (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas,
    "Time-uniform central limit theory and asymptotic confidence sequences", Annals of Statistics 2024, theorem 2.2);
    None with fewer than MIN_UNITS in an arm.

    Of yes and no with few of either, for which "many" is not reached, the sequences of the two rates are taken, which
    hold for any number. Else the estimator's variance is that of the difference of two independent means, with the
    larger of the two sample variances for both: in a small arm of skewed values a low mean and a low variance come
    together, and its own variance would make it surely lower far too often (benchmarks/peeking.py). A unit of time is a
    unit of either arm. It is closest after the `expected` number of units, and holds at all others as well.
    """
    if min(a.n, b.n) < MIN_UNITS:
        return None
    units = a.n + b.n
    change = b.mean - a.mean
    if a.is_rare or b.is_rare:
        (a_low, a_high), (b_low, b_high) = (rate(round(arm.total), arm.n, alpha=alpha / 2) for arm in (a, b))
        return IntervalEstimate(change, b_low - a_high, b_high - a_low, units)
    squared_error = _squared_error_of_difference(a, b)
    if not squared_error:
        # All values alike: how far others would be from them is not known.
        return None
    reach = sqrt(squared_error) * _multiplier(units, alpha, expected)
    return IntervalEstimate(change, change - reach, change + reach, units)


def _squared_error_of_difference(a: Sums, b: Sums) -> float:
    return max(a.variance, b.variance) * (1 / a.n + 1 / b.n)


def mean_of_differences(pairs: Sums, *, alpha: float = 0.05, expected: float = 2_000) -> IntervalEstimate | None:
    """Return the mean of differences within pairs with its asymptotic confidence sequence (the same theorem, of one
    mean); None with fewer than MIN_UNITS pairs, or where all differ alike."""
    if pairs.n < MIN_UNITS or not pairs.squared_error:
        return None
    reach = sqrt(pairs.squared_error) * _multiplier(pairs.n, alpha, expected)
    return IntervalEstimate(pairs.mean, pairs.mean - reach, pairs.mean + reach, pairs.n)


def _multiplier(units: int, alpha: float, expected: float) -> float:
    """Return by what the standard error is multiplied; 1.96 for an interval that is looked at once."""
    return normal_mixture_bound(units, alpha, best_rho(expected, alpha)) / sqrt(units)


def units_to_decide(
    a: Sums, b: Sums, distance: float, *, alpha: float = 0.05, expected: float = 2_000, most: int = 100_000_000
) -> int | None:
    """Estimate how many more units, at this ratio of arms, until the sequence reaches no further than `distance`; None
    where that is more than anybody will have."""
    if min(a.n, b.n) < MIN_UNITS or distance <= 0 or not _squared_error_of_difference(a, b):
        return None
    units = a.n + b.n
    spread = _squared_error_of_difference(a, b) * units

    def reach(count: float) -> float:
        return sqrt(spread / count) * _multiplier(ceil(count), alpha, expected)

    low, high = float(units), float(units)
    while reach(high) > distance:
        low, high = high, high * 2
        if high > most:
            return None
    while high - low > 1:
        middle = (low + high) / 2
        low, high = (middle, high) if reach(middle) > distance else (low, middle)
    return max(0, ceil(high) - units)


def rate(hits: int, n: int, *, alpha: float = 0.05) -> tuple[float, float]:
    """Return the ends of a confidence sequence for a rate (Robbins 1970): all rates against which a uniform mixture of
    rates has not gained a factor of 1 / alpha. It holds for any number, the first call included."""
    if n == 0:
        return 0.0, 1.0
    mixture = lgamma(hits + 1) + lgamma(n - hits + 1) - lgamma(n + 2)
    limit = log(1 / alpha)

    def is_out(share: float) -> bool:
        likelihood = (hits * log(share) if hits else 0.0) + ((n - hits) * log(1 - share) if n > hits else 0.0)
        return mixture - likelihood >= limit

    middle = min(max(hits / n, 1e-12), 1 - 1e-12)
    low = 0.0 if hits == 0 else _edge(is_out, 1e-15, middle)
    high = 1.0 if hits == n else _edge(is_out, 1 - 1e-15, middle)
    return low, high


def _edge(is_out: Callable[[float], bool], outer: float, inner: float) -> float:
    """Find where shares begin to be out, between one that is and one that is not."""
    if not is_out(outer):
        return outer
    for _ in range(60):
        middle = (outer + inner) / 2
        outer, inner = (middle, inner) if is_out(middle) else (outer, middle)
    return outer


def quantile_ranks(n: int, share: float, *, alpha: float = 0.05) -> tuple[float, float]:
    """Return the shares between whose sample quantiles a quantile lies at all times (Howard and Ramdas, "Sequential
    estimation of quantiles with applications to A/B testing and best-arm identification", Bernoulli 2022, eq. 4)."""
    if n < 2:
        return 0.0, 1.0
    scale = (1.4 * log(log(2.1 * n)) + log(10 / alpha)) / n
    reach = 1.5 * sqrt(share * (1 - share) * scale) + 0.8 * scale
    return max(0.0, share - reach), min(1.0, share + reach)


def mismatch_e_value(counts: Sequence[int], weights: Sequence[float], *, concentration: float = 100.0) -> float:
    """Return the evidence against arms having been assigned by their weights: a Bayes factor, with Dirichlet's prior
    round the weights. Where they were, it exceeds 1 / alpha ever with a chance of at most alpha (Lindon and Malek,
    "Anytime-valid inference for multinomial count data", NeurIPS 2022)."""
    total = sum(weights)
    probabilities = [weight / total for weight in weights]
    if any(count and not probability for count, probability in zip(counts, probabilities, strict=True)):
        return float("inf")
    evidence = lgamma(concentration) - lgamma(concentration + sum(counts))
    for count, probability in zip(counts, probabilities, strict=True):
        if probability:
            prior = concentration * probability
            evidence += lgamma(prior + count) - lgamma(prior) - count * log(probability)
    return exp(min(evidence, 700.0))
