"""Two versions' figures against each other, compared with scipy."""

import numpy as np
import pytest
from scipy import stats as distributions

from inference.usage.stats import UsageStats
from inference.usage.versus import Contrast, contrasts


def scored(values: "np.ndarray[tuple[int], np.dtype[np.float64]]", **members: int) -> UsageStats:
    sums = {"scored": len(values), "score_sum": float(values.sum()), "score_squares": float((values**2).sum())}
    return UsageStats(calls=len(values), **sums, **members)


def row(rows: list[Contrast], title: str) -> Contrast:
    return next(each for each in rows if each.title == title)


def test_a_difference_of_means_is_welchs():
    chance = np.random.default_rng(4)
    first, second = chance.beta(2, 3, 80), chance.beta(3, 2, 300)

    change = row(contrasts(scored(first), scored(second)), "Score").change

    expected = distributions.ttest_ind(second, first, equal_var=False).confidence_interval(0.95)
    assert change
    assert (change.value, change.low, change.high) == pytest.approx(
        (second.mean() - first.mean(), expected.low, expected.high), rel=0.01
    )


def test_a_difference_of_proportions_is_newcombes():
    """The example of Newcombe's paper: 56 of 70 against 48 of 80 differ by 0.2, from 0.0524 to 0.3339."""
    first, second = UsageStats(formatted=80, format_ok=48), UsageStats(formatted=70, format_ok=56)

    adherence = row(contrasts(first, second), "Format adherence")

    assert adherence.change
    assert (adherence.change.value, adherence.change.low, adherence.change.high) == pytest.approx(
        (0.2, 0.0524, 0.3339), abs=5e-5
    )
    assert adherence.is_better is True


def test_what_is_better_depends_on_the_figure_and_what_is_not_known_is_left_out():
    slow = UsageStats(calls=200, failed=40, timed=200, latencies={70: 200}, feedback={"helpful": (50, 10.0, 10.0)})
    quick = UsageStats(calls=200, failed=4, timed=200, latencies={50: 200}, feedback={"helpful": (50, 12.0, 12.0)})

    rows = {each.title: each.is_better for each in contrasts(slow, quick)}

    assert rows == {"Feedback: helpful": None, "Failures": True, "Latency, p50": True, "Latency, p95": True}
    assert {each.title: each.is_better for each in contrasts(quick, slow)}["Failures"] is False
    assert contrasts(UsageStats(), UsageStats()) == []
    assert row(contrasts(slow, UsageStats()), "Feedback: helpful").change is None


def test_a_few_values_and_values_all_alike_prove_nothing():
    few, alike = UsageStats(feedback={"tone": (2, 0.4, 0.08)}), UsageStats(feedback={"tone": (50, 45.0, 40.5)})

    assert row(contrasts(few, alike), "Feedback: tone").is_better is None
    # Yes and no are rates, whose interval knows how few there are.
    no, yes = UsageStats(feedback={"ok": (2, 0.0, 0.0)}), UsageStats(feedback={"ok": (2, 2.0, 2.0)})
    ok = row(contrasts(no, yes), "Feedback: ok")
    # Whether more of it is good, only its sender knows.
    rare, often = UsageStats(feedback={"harmful": (90, 9.0, 9.0)}), UsageStats(feedback={"harmful": (90, 60.0, 60.0)})
    harmful = row(contrasts(rare, often), "Feedback: harmful")
    assert (harmful.is_better, harmful.is_higher) == (None, True)
    assert ok.change
    assert ok.change.low is not None
    assert ok.change.low < 0.3
