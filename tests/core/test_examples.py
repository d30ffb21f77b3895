"""Examples in their normal form, and a set's hash."""

import hashlib
import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Problem
from core.examples import MAX_EXAMPLES, Shot, read_example, read_examples, set_hash

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40)


def test_the_hash_of_a_set_is_what_its_specification_says():
    shots = read_examples([{"input": "Hi", "output": "Hello", "tags": ["greeting"]}])

    canonical = b'{"examples":[{"input":"Hi","output":"Hello","tags":["greeting"]}],"kind":"example-set"}'
    assert set_hash(shots) == f"sha256:{hashlib.sha256(canonical).hexdigest()}"


@given(st.lists(st.tuples(TEXT, TEXT, TEXT, st.lists(TEXT, max_size=3)), max_size=5))
def test_the_hash_is_of_the_canonical_form_whatever_the_text(rows: list[Any]):
    shots = [Shot(input_text, output_text, note, tuple(tags)) for input_text, output_text, note, tags in rows]
    document = {"examples": [shot.as_dict() for shot in shots], "kind": "example-set"}

    assert set_hash(shots) == f"sha256:{hashlib.sha256(rfc8785.dumps(document)).hexdigest()}"


def test_the_order_counts_and_a_repeated_example_is_kept_once():
    first, second = {"input": "a", "output": "b"}, {"input": "c", "output": "d"}

    assert set_hash(read_examples([first, second])) != set_hash(read_examples([second, first]))
    assert read_examples([first, second, first]) == read_examples([first, second])


def test_text_is_normalised():
    (shot,) = read_examples([{"input": "e\u0301\r\n", "output": "x", "note": "", "tags": [" a ", "a"]}])

    assert shot == Shot("é\n", "x", "", ("a",))


def test_a_label_is_the_first_tag_or_the_output():
    assert Shot("a", "billing").label == "billing"
    assert Shot("a", "{}", tags=("refund", "de")).label == "refund"


@pytest.mark.parametrize(
    ("example", "pointer"),
    [
        ("text", ""),
        ({}, "/input"),
        ({"input": "a"}, "/output"),
        ({"input": "  ", "output": "b"}, "/input"),
        ({"input": 7, "output": "b"}, "/input"),
        ({"input": "a" * 40_000, "output": "b"}, "/input"),
        ({"input": "a", "output": "b", "tags": "x"}, "/tags"),
        ({"input": "a", "output": "b", "tags": [""]}, "/tags"),
        ({"input": "a", "output": "b", "nonsense": 1}, "/nonsense"),
        ({"input": "a\0", "output": "b"}, "/input"),
        ({"input": "\ud800", "output": "b"}, "/input"),
    ],
)
def test_a_faulty_example_is_named(example: Any, pointer: str):
    faults: list[Any] = []

    assert read_example(example, faults) is None
    assert faults[0].pointer == pointer


def test_all_faults_are_reported_with_the_index():
    with pytest.raises(Problem) as refused:
        read_examples([{"input": "a", "output": "b"}, {"input": "a"}, {"output": "b"}])

    assert refused.value.code == "examples.invalid"
    assert [fault.pointer for fault in refused.value.faults] == ["/1/output", "/2/input"]
    assert refused.value.detail.startswith("Example 2, output:")


def test_a_set_has_an_end():
    with pytest.raises(Problem) as refused:
        read_examples([{}] * (MAX_EXAMPLES + 1))

    assert refused.value.code == "examples.too_many"


def test_json_keeps_a_shot_as_it_is():
    shot = Shot("a", "b", "c", ("d",))

    assert read_examples([json.loads(json.dumps(shot.as_dict()))]) == [shot]
