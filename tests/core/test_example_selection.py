"""The selection of examples, and its reasons."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.example_selection import Candidate, choose, example_messages, max_count
from core.examples import Shot


def candidates(*labels: str, tokens: int = 10, scores: bool = False) -> list[Candidate]:
    return [
        Candidate(place, Shot(f"input {place}", "out", tags=(label,)), tokens, 1 - place / 100 if scores else None)
        for place, label in enumerate(labels, start=1)
    ]


def positions(selection: dict[str, Any], examples: list[Candidate]) -> list[int]:
    return [pick.candidate.position for pick in choose(selection, examples).picked]


def test_fixed_takes_all_and_first_the_first():
    assert positions({}, candidates("a", "b", "c")) == [1, 2, 3]
    assert positions({"select": "first", "k": 2}, candidates("a", "b", "c")) == [1, 2]
    assert max_count({}) is None
    assert max_count({"select": "similar"}) == 5


def test_balanced_takes_at_most_some_of_a_label():
    examples = candidates("a", "a", "a", "b", "a", "c", scores=True)
    selection = {"select": "balanced", "k": 3, "per_label": 1}

    choice = choose(selection, examples)

    assert [pick.candidate.position for pick in choice.picked] == [1, 4, 6]
    assert choice.passed_over[0].why == "“a” has its 1 already"


def test_a_budget_passes_over_what_does_not_fit_and_goes_on():
    examples = [*candidates("a", tokens=60), *candidates("a", "a", tokens=50), Candidate(9, Shot("x", "y"), 30)]

    choice = choose({"token_budget": 100}, examples)

    assert [pick.candidate.position for pick in choice.picked] == [1, 9]
    assert choice.tokens == 90
    assert "50 tokens do not fit" in choice.passed_over[0].why


def test_each_pick_says_why():
    by_place = choose({}, candidates("a"))
    by_score = choose({"select": "similar", "k": 2}, candidates("a", "b", scores=True))

    assert by_place.picked[0].why == "place 1 of the set"
    assert [pick.why for pick in by_score.picked] == ["similarity 0.99, the nearest", "similarity 0.98, rank 2"]


def test_examples_are_a_conversation():
    assert example_messages([Shot("a", "b")]) == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
    ]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 50)), max_size=20),
    st.integers(1, 6),
    st.integers(1, 3),
    st.integers(1, 200),
)
def test_no_rule_is_ever_broken(rows: list[Any], k: int, per_label: int, budget: int):
    examples = [
        Candidate(i, Shot(f"{i}", "o", tags=(label,)), tokens, 0.5) for i, (label, tokens) in enumerate(rows, 1)
    ]
    selection = {"select": "balanced", "k": k, "per_label": per_label, "token_budget": budget}

    choice = choose(selection, examples)

    labels = [pick.candidate.shot.label for pick in choice.picked]
    assert len(labels) <= k
    assert all(labels.count(label) <= per_label for label in labels)
    assert choice.tokens <= budget
    assert [pick.candidate.position for pick in choice.picked] == sorted(
        pick.candidate.position for pick in choice.picked
    )


@pytest.mark.parametrize("select", ["fixed", "first", "similar", "balanced"])
def test_nothing_comes_of_nothing(select: str):
    assert choose({"select": select}, []).picked == ()
