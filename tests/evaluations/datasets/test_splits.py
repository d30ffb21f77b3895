"""On which side a case stands."""

import hashlib
from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Problem
from evaluations.datasets.splits import (
    DEFAULT_SPLIT_RATIOS,
    SPLITS,
    Group,
    assign_folds,
    assign_splits,
    checked_split_ratios,
    order_key,
)

GROUPS = st.dictionaries(
    st.integers(-(2**63), 2**63 - 1), st.tuples(st.sampled_from(["a", "b", "rare"]), st.integers(1, 4)), max_size=60
).map(lambda sizes: [Group(key, label, size) for key, (label, size) in sizes.items()])


def groups(count: int, *labels: str, start: int = 0) -> list[Group]:
    return [Group(number * 7919, labels[number % len(labels)], 1) for number in range(start, start + count)]


def counted(new_groups: list[Group], split_of: dict[int, str]) -> dict[str, Counter[str]]:
    by_label: dict[str, Counter[str]] = defaultdict(Counter)
    for group in new_groups:
        by_label[group.label][split_of[group.hash]] += group.size
    return by_label


def test_every_label_gets_its_share_of_every_side():
    new_groups = groups(400, "a", "b")

    by_label = counted(new_groups, assign_splits(new_groups, 1, DEFAULT_SPLIT_RATIOS, {}))

    assert by_label["a"] == by_label["b"] == {"train": 140, "validation": 30, "test": 30}


def test_the_order_of_the_rows_does_not_count_and_the_seed_does():
    new_groups = groups(100, "a")

    assert assign_splits(new_groups, 1, DEFAULT_SPLIT_RATIOS, {}) == assign_splits(
        new_groups[::-1], 1, DEFAULT_SPLIT_RATIOS, {}
    )
    assert assign_splits(new_groups, 1, DEFAULT_SPLIT_RATIOS, {}) != assign_splits(
        new_groups, 2, DEFAULT_SPLIT_RATIOS, {}
    )


def test_what_is_added_evens_out_what_is_there():
    existing = {"a": {"train": 100}}
    new_groups = groups(100, "a")

    sides = Counter(assign_splits(new_groups, 1, DEFAULT_SPLIT_RATIOS, existing).values())

    assert sides == {"train": 40, "validation": 30, "test": 30}


def test_rare_labels_are_dealt_together():
    new_groups = [Group(number, f"label {number}", 1) for number in range(100)]

    assert Counter(assign_splits(new_groups, 1, DEFAULT_SPLIT_RATIOS, {}).values()) == {
        "train": 70,
        "validation": 15,
        "test": 15,
    }


@given(GROUPS, st.integers(0, 100))
def test_every_group_has_one_side_and_no_side_is_far_from_its_share(new_groups: list[Group], seed: int):
    sides = assign_splits(new_groups, seed, DEFAULT_SPLIT_RATIOS, {})
    total = sum(group.size for group in new_groups)

    assert set(sides) == {group.hash for group in new_groups}
    for name in SPLITS:
        size = sum(group.size for group in new_groups if sides[group.hash] == name)
        # Three strata, each of which may be off by its largest group.
        assert abs(size - DEFAULT_SPLIT_RATIOS[name] / 100 * total) <= 3 * 4


def test_the_order_is_as_it_is_specified():
    assert order_key(1, -5) == hashlib.sha256(b"1:-5").hexdigest()


@given(GROUPS.filter(bool), st.integers(2, 5))
def test_folds_are_even_and_keep_groups_together(new_groups: list[Group], count: int):
    fold_of = assign_folds(new_groups, count, seed=1)

    assert set(fold_of) == {group.hash for group in new_groups}
    for label in {group.label for group in new_groups}:
        own = Counter(dict.fromkeys(range(count), 0))
        for group in new_groups:
            if group.label == label:
                own[fold_of[group.hash]] += group.size
        assert max(own.values()) - min(own.values()) <= max(group.size for group in new_groups)


@pytest.mark.parametrize("count", [0, 1, 21])
def test_folds_are_two_to_twenty(count: int):
    with pytest.raises(Problem):
        assign_folds([], count, 1)


@pytest.mark.parametrize(
    "split_ratios",
    [
        {},
        {"train": 100, "test": 1},
        {"train": 50.5, "test": 49.5},
        {"train": True, "test": 99},
        {"dev": 100},
        {"train": -1, "test": 101},
    ],
)
def test_shares_are_whole_percentages_that_make_a_hundred(split_ratios: dict[str, object]):
    with pytest.raises(Problem) as refused:
        checked_split_ratios(split_ratios)
    assert refused.value.code == "dataset.invalid_split_ratios"
