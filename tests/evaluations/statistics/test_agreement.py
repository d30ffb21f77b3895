"""How far two annotators agree."""

import pytest

from evaluations.statistics.agreement import cohen


def test_cohens_own_kind_of_table():
    # 20 both yes, 5 yes/no, 10 no/yes, 15 both no: observed 0.70, chance 0.50, kappa 0.40.
    pairs = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15

    agreement = cohen(pairs)

    assert agreement.kappa == pytest.approx(0.4)
    assert (agreement.cases, agreement.agreed, agreement.share) == (50, 35, 0.7)
    assert agreement.words == "fair"


def test_full_agreement_and_none():
    assert cohen([("a", "a"), ("b", "b")]).kappa == 1
    assert cohen([("a", "b"), ("b", "a")]).kappa == -1


def test_where_kappa_has_no_answer_there_is_none():
    assert cohen([]).kappa is None
    assert cohen([("a", "a")] * 9).kappa is None
    assert cohen([]).share is None
