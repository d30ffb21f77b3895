"""Intervals, tests and verdicts against published values, and against what they promise."""

import numpy as np
import pytest

from evaluations.statistics import intervals, paired, verdicts
from evaluations.statistics.metrics import label_figures
from evaluations.statistics.verdicts import Verdict


def test_wilsons_interval_as_published():
    """Newcombe 1998 (Statistics in Medicine 17:857), table I, the score method without continuity correction."""
    for hits, n, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)):
        estimate = intervals.proportion(hits, n)
        assert estimate is not None
        assert (estimate.low, estimate.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_nothing_and_one_value_give_no_interval():
    assert intervals.mean([]) is None
    single = intervals.mean([0.4])
    assert single is not None
    assert (single.value, single.low, single.high) == (0.4, None, None)


def test_intervals_of_means_cover_what_they_say():
    """Of 200 samples about 95 % of the intervals have the true mean in them; within what chance allows."""
    draws = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        estimate = intervals.mean(draws.beta(2, 5, 60))
        assert estimate is not None
        assert estimate.low is not None
        assert estimate.high is not None
        hits += estimate.low <= 2 / 7 <= estimate.high
    assert 180 <= hits <= 199


def test_cases_that_belong_together_say_less():
    draws = np.random.default_rng(2)
    values = np.repeat(draws.normal(0.5, 0.1, 40), 5) + draws.normal(0, 0.01, 200)
    alone, grouped = intervals.mean(values), intervals.mean(values, list(np.repeat(range(40), 5)))
    assert alone is not None
    assert grouped is not None
    assert alone.high is not None
    assert alone.low is not None
    assert grouped.high is not None
    assert grouped.low is not None
    assert grouped.high - grouped.low > 1.8 * (alone.high - alone.low)


def test_a_p99_of_few_values_has_no_upper_bound():
    few, many = intervals.quantile(range(100), 0.99), intervals.quantile(range(1000), 0.99)
    assert few is not None
    assert few.high is None
    assert many is not None
    assert many.high is not None
    assert many.low is not None
    assert many.low < 989 < many.high


def test_mcnemars_exact_test_as_published():
    """Discordant pairs 10 and 20: two-sided exact p of Binomial(30, 1/2), 0.0987 (Agresti's tables of the binomial)."""
    assert paired.mcnemar(20, 10) == pytest.approx(0.09874, abs=1e-5)
    assert paired.mcnemar(0, 0) == 1.0
    assert paired.mcnemar(5, 0) == pytest.approx(0.0625)


def test_holms_adjustment_as_published():
    """Wright 1992 (Biometrics 48:1005): 0.01, 0.04, 0.03, 0.005 become 0.03, 0.06, 0.06, 0.02."""
    assert paired.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_the_permutation_test_is_exact_for_few():
    """Eight differences that all go one way: 2 of 2^8 signs are as lopsided."""
    assert paired.permutation(np.full(8, 0.3)) == pytest.approx(2 / 256)


def test_no_difference_is_seldom_called_one():
    draws = np.random.default_rng(3)
    called = sum(paired.compare(draws.random(40), draws.random(40), seed=number).p < 0.05 for number in range(200))
    assert called <= 22


def test_what_is_detectable_is_detected_four_times_in_five():
    draws = np.random.default_rng(4)
    effect = paired.detectable(0.2, 100)
    detected = sum(
        paired.compare(np.zeros(100), draws.normal(effect, 0.2, 100), seed=number).p < 0.05 for number in range(100)
    )
    assert 68 <= detected <= 92
    assert paired.cases_needed(0.2, effect) in (100, 101)


@pytest.mark.parametrize(
    ("shift", "spread", "n", "verdict"),
    [
        (0.2, 0.1, 60, Verdict.BETTER),
        (-0.2, 0.1, 60, Verdict.WORSE),
        (0.0, 0.02, 200, Verdict.EQUIVALENT),
        (0.03, 0.4, 30, Verdict.INCONCLUSIVE),
    ],
)
def test_four_verdicts(shift: float, spread: float, n: int, verdict: Verdict):
    draws = np.random.default_rng(5)
    first = draws.random(n)
    difference = paired.compare(first, first + draws.normal(shift, spread, n))
    judged = verdicts.judge(difference, margin=0.05)
    assert judged.verdict == verdict
    if verdict == Verdict.INCONCLUSIVE:
        assert judged.more_cases
        assert "more cases" in verdicts.sentence(judged, "quality", difference.wins, difference.losses, "0.05")


@pytest.mark.parametrize(
    ("change", "n", "verdict", "is_not_worse"),
    [
        (0.0, 1, Verdict.INCONCLUSIVE, False),
        (0.0, 2, Verdict.INCONCLUSIVE, False),
        (0.0, 71, Verdict.INCONCLUSIVE, False),
        (0.0, 72, Verdict.EQUIVALENT, True),
        (-0.01, 60, Verdict.WORSE, False),
        (-0.01, 500, Verdict.EQUIVALENT, True),
        (1.0, 3, Verdict.INCONCLUSIVE, True),
        (1.0, 10, Verdict.BETTER, True),
    ],
)
def test_cases_that_differ_alike_show_as_much_as_their_number_does(
    change: float, n: int, verdict: Verdict, is_not_worse: bool
):
    """Two cases that both runs got wrong are no evidence that there is no difference."""
    difference = paired.compare([0.0] * n, [change] * n)
    judgement = verdicts.judge(difference, margin=0.05)

    assert (judgement.verdict, judgement.is_not_worse) == (verdict, is_not_worse)
    assert difference.detectable is None
    if change == 0.0 and verdict == Verdict.INCONCLUSIVE:
        assert n + (judgement.more_cases or 0) == 72


def test_less_is_better_for_measures():
    difference = paired.compare([100.0 + value for value in range(30)], [60.0 + value * 1.1 for value in range(30)])
    assert verdicts.judge(difference, margin=5, higher_is_better=False).verdict == Verdict.BETTER
    assert verdicts.judge(difference, margin=5, higher_is_better=True).verdict == Verdict.WORSE


def test_runs_on_different_cases_are_refused():
    with pytest.raises(ValueError, match="same cases"):
        paired.compare([1.0], [1.0, 2.0])


def test_differences_of_a_single_group_are_no_evidence_and_no_error():
    difference = paired.compare([0.0, 0.5, 1.0], [1.0, 1.0, 1.0], [7, 7, 7])

    assert (difference.groups, difference.p, difference.mean) == (1, 1.0, 0.5)
    assert paired.permutation(np.array([0.5])) == 1.0


def test_figures_of_labels_stand_beside_chance_and_the_largest_class():
    pairs = [("incident", "incident")] * 5 + [("billing", "incident")] * 3 + [("how-to", "incident")] * 2

    figures = label_figures(pairs)

    assert figures["largest_class"] == {"label": "incident", "share": 0.5}
    assert figures["chance"] == pytest.approx(1 / 3)
    assert label_figures([])["largest_class"] is None
