"""Texts that contain each other, are nearly the same, or have the same pieces."""

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluations.data_quality.containment import HeldOut
from evaluations.data_quality.near_duplicates import Signatures, confirm_pairs, jaccard
from evaluations.data_quality.ngrams import Chunk
from evaluations.datasets.cases import comparison_form

WORDS = st.lists(st.text("abcde", min_size=1, max_size=4), max_size=25).map(" ".join)
RANDOM = random.Random(7)  # noqa: S311 - texts that are the same in every run
VOCABULARY = ["".join(RANDOM.choices("abcdefghijklmnopqrstuvwxyz", k=RANDOM.randint(2, 9))) for _ in range(3_000)]


def text(words: int) -> str:
    return " ".join(RANDOM.choices(VOCABULARY, k=words))


@given(st.lists(WORDS, min_size=1, max_size=6), st.integers(1, 6))
def test_equal_pieces_have_equal_hashes_and_no_others(texts: list[str], size: int):
    grams = Chunk(texts).words(size)

    neighbours: dict[int, set[int]] = {index: set() for index in range(len(texts))}
    for value, index in zip(grams.hashes.tolist(), grams.texts.tolist(), strict=True):
        neighbours[index].add(value)
    expected = [
        {tuple(words[start : start + size]) for start in range(len(words) - size + 1)}
        for words in map(str.split, texts)
    ]
    for index in range(len(texts)):
        assert len(neighbours[index]) == len(expected[index])
        for other in range(len(texts)):
            assert len(neighbours[index] & neighbours[other]) == len(expected[index] & expected[other])


@given(st.lists(WORDS, min_size=2, max_size=5))
def test_letters_are_hashed_as_jaccard_counts_them(texts: list[str]):
    grams = Chunk(texts).letters(5)
    sets = [set(grams.hashes[grams.texts == index].tolist()) for index in range(len(texts))]

    for number, first in enumerate(texts):
        for other, second in enumerate(texts):
            both, either = len(sets[number] & sets[other]), len(sets[number] | sets[other])
            assert np.isclose(both / either if either else 0.0, jaccard(first, second))


def near(left: list[str], right: list[str]) -> set[tuple[int, int]]:
    """Pairs (index left, index right) that are nearly the same."""
    signatures = Signatures()
    signatures.add([index + 1 for index in range(len(left))], 0, left)
    signatures.add([-index - 1 for index in range(len(right))], 1, right)
    texts = {index + 1: sentence for index, sentence in enumerate(left)} | {
        -index - 1: sentence for index, sentence in enumerate(right)
    }
    pairs = confirm_pairs(signatures.candidates(), lambda keys: {key: texts[key] for key in keys})
    return {(max(pair.first, pair.second) - 1, -min(pair.first, pair.second) - 1) for pair in pairs}


def test_one_changed_word_is_found_and_another_text_is_not():
    texts = [text(30) for _ in range(200)]
    changed = [" ".join([*sentence.split()[:-1], "zzz"]) for sentence in texts]

    pairs = near(texts, [*changed, *(text(30) for _ in range(200))])

    assert {(index, index) for index in range(200)} >= pairs
    assert len(pairs) >= 198


def test_short_texts_and_other_scripts_are_compared_too():
    assert near(["pivot"], ["pivot"]) == {(0, 0)}
    assert near(
        [comparison_form("ダッシュボードが表示されません")], [comparison_form("ダッシュボードが、表示されません。")]
    ) == {(0, 0)}


def test_a_form_letter_does_not_cost_the_square():
    same = ["dear team the export of yesterday did not arrive please look into it"] * 3_000

    assert near(same, same[:1])


def contained(held_out: list[str], others: list[str]) -> dict[tuple[int, int], Any]:
    index = HeldOut()
    index.add(list(range(len(held_out))), held_out)
    return {(pair.held_out, pair.other): pair for pair in index.contained_in(list(range(len(others))), others)}


def test_a_text_inside_another_is_found():
    held_out = [text(20) for _ in range(50)]
    others = [f"{text(15)} {sentence} {text(15)}" for sentence in held_out]

    matches = contained(held_out, others)

    assert set(matches) == {(index, index) for index in range(50)}
    assert matches[(0, 0)].share == 1


def test_half_of_the_runs_are_enough_and_fewer_are_not():
    held_out = [text(40)]
    words = held_out[0].split()

    assert contained(held_out, [" ".join(words[:24]) + " " + text(10)])
    assert not contained([" ".join(words[:12])], [" ".join(words[6:12])])


def test_what_everybody_writes_is_no_leak():
    phrase = "kind regards from the whole team of the northern office in the old harbour city by the sea"
    held_out = [f"{text(12)} {phrase}" for _ in range(60)]

    assert not contained(held_out, [f"{text(12)} {phrase}"])


@pytest.mark.parametrize("texts", [[], [""], ["", " "], ["a"]])
def test_nothing_is_in_nothing(texts: list[str]):
    assert contained(texts, texts) == {}
