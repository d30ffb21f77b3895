"""Two versions' usage set against each other: differences of figures with their intervals at 95 %. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

from inference.usage.estimates import (
    IntervalEstimate,
    difference_of_proportions,
    mean_with_interval,
    proportion,
    squared_error,
    student_t,
)
from inference.usage.stats import UsageStats

# Fewer values say nothing of how values differ.
MIN_VALUES = 10


@dataclass(frozen=True)
class Contrast:
    """A figure of both, and by how much the second is above the first; None where that cannot be told.

    `is_better` says whether the second is better; None where the interval has zero in it, and of feedback, where only
    its sender knows whether more is good. `is_higher` says whether its value is surely higher, or surely lower (each
    figure by itself, at 95 %)."""

    title: str
    unit: str
    first: IntervalEstimate | None
    second: IntervalEstimate | None
    change: IntervalEstimate | None
    is_better: bool | None
    is_higher: bool | None


def contrasts(first: UsageStats, second: UsageStats) -> list[Contrast]:
    """Return the figures that at least one of two has."""
    rows = [
        _proportions("Format adherence", first, second, lambda stats: (stats.format_ok, stats.formatted), more=True),
        _means("Score", first, second, lambda stats: (stats.scored, stats.score_sum, stats.score_squares), more=True),
        *(_feedback(first, second, name) for name in sorted({*first.feedback, *second.feedback})),
        _proportions("Failures", first, second, lambda stats: (stats.failed, stats.calls), more=False),
        *(_quantiles(first, second, share) for share in (0.5, 0.95)),
    ]
    return [row for row in rows if row.first or row.second]


def _row(
    title: str,
    unit: str,
    estimates: tuple[IntervalEstimate | None, IntervalEstimate | None],
    change: IntervalEstimate | None,
    *,
    more: bool | None,
) -> Contrast:
    """Return a contrast; `more` is whether more of it is better, None where that is not known."""
    is_higher = None
    if change and change.low is not None and change.high is not None and (change.low > 0 or change.high < 0):
        is_higher = change.low > 0
    is_better = None if is_higher is None or more is None else is_higher == more
    return Contrast(title, unit, *estimates, change, is_better, is_higher)


def _proportions(
    title: str, first: UsageStats, second: UsageStats, read: Callable[[UsageStats], tuple[int, int]], *, more: bool
) -> Contrast:
    a, b = proportion(*read(first)), proportion(*read(second))
    return _row(title, "", (a, b), difference_of_proportions(a, b), more=more)


def _means(
    title: str,
    first: UsageStats,
    second: UsageStats,
    read: Callable[[UsageStats], tuple[int, float, float]],
    *,
    more: bool | None,
) -> Contrast:
    a, b = read(first), read(second)
    if all(n and total == squares for n, total, squares in (a, b)):
        # Yes and no: their interval is that of a rate.
        rates = [proportion(round(total), n) for n, total, _ in (a, b)]
        return _row(title, "", (rates[0], rates[1]), difference_of_proportions(rates[0], rates[1]), more=more)
    estimates = tuple(mean_with_interval(total, squares, n) for n, total, squares in (a, b))
    return _row(title, "", (estimates[0], estimates[1]), _difference_of_means(a, b), more=more)


def _feedback(first: UsageStats, second: UsageStats, name: str) -> Contrast:
    return _means(f"Feedback: {name}", first, second, lambda stats: stats.feedback.get(name, (0, 0.0, 0.0)), more=None)


def _difference_of_means(a: tuple[int, float, float], b: tuple[int, float, float]) -> IntervalEstimate | None:
    """Return b - a by Welch's interval (Welch 1947), with the degrees of freedom of Satterthwaite."""
    if min(a[0], b[0]) < MIN_VALUES:
        return None
    change = b[1] / b[0] - a[1] / a[0]
    errors = [squared_error(total, squares, n) for n, total, squares in (a, b)]
    error = sum(errors)
    if not error:
        # All alike: how far others would be from them is not known.
        return None
    parts = errors[0] ** 2 / (a[0] - 1) + errors[1] ** 2 / (b[0] - 1)
    freedom = max(1, int(error**2 / parts)) if parts else a[0] + b[0] - 2
    reach = student_t(freedom) * sqrt(error)
    return IntervalEstimate(change, change - reach, change + reach, a[0] + b[0])


def _quantiles(first: UsageStats, second: UsageStats, share: float) -> Contrast:
    """Set quantiles of latency side by side: they differ surely where their intervals do not meet."""
    a, b = first.latency(share), second.latency(share)
    change = None
    if a and b and a.low is not None and a.high is not None and b.low is not None and b.high is not None:
        # Both lie within these with at least 90 %: wide, but of two histograms.
        change = IntervalEstimate(b.value - a.value, b.low - a.high, b.high - a.low, a.n + b.n)
    return _row(f"Latency, p{share * 100:.0f}", "ms", (a, b), change, more=False)
