"""A case in its normal form, its digest, and what it is compared by."""

import hashlib
import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Fault
from evaluations.datasets.cases import (
    MAX_BYTES,
    comparison_form,
    has_only_text,
    input_text,
    is_normal_line,
    label_of,
    read_case,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def read(document: Any) -> Any:
    faults: list[Fault] = []
    case = read_case(document, faults)
    assert not faults, faults
    return case


@given(st.dictionaries(TEXT, JSON, min_size=1, max_size=3), JSON)
def test_the_digest_is_of_the_canonical_form(variables: dict[str, Any], expected: Any):
    faults: list[Fault] = []
    case = read_case({"variables": variables, "expected": expected, "tags": ["a"], "weight": 2.5}, faults)
    if case is None:
        assert faults
        return
    again = {"variables": json.loads(case.variables), "tags": ["a"], "weight": 2.5}
    if case.expected is not None:
        again["expected"] = json.loads(case.expected)

    assert case.digest == hashlib.sha256(rfc8785.dumps(again)).digest()
    assert case.variables.encode() == rfc8785.dumps(again["variables"])


@given(TEXT, TEXT)
def test_a_line_that_is_taken_as_it_is_reads_the_same_as_one_that_is_not(text: str, name: str):
    line = json.dumps({"variables": {name or "x": text or "y"}})
    document = json.loads(line)
    quick: list[Fault] = []
    slow: list[Fault] = []
    is_normal = is_normal_line(line) and has_only_text(document)

    first, second = read_case(document, quick, is_normal=is_normal), read_case(document, slow)

    assert (first and first.digest, quick) == (second and second.digest, slow)


def test_order_of_members_and_default_members_do_not_count():
    plain = read({"variables": {"a": "1", "b": "2"}})

    assert (
        read({"weight": 1, "tags": [], "group": "", "expected": None, "variables": {"b": "2", "a": "1"}}).digest
        == plain.digest
    )
    assert read({"variables": {"a": "1", "b": "2"}, "weight": 2}).digest != plain.digest
    assert read({"variables": {"a": "1", "b": "2"}, "split": "test"}).digest != plain.digest


@pytest.mark.parametrize(
    ("expected", "label"),
    [
        ("billing", "billing"),
        ("x" * 200, ""),
        ({"category": "billing", "why": "x"}, "billing"),
        ({"label": 3}, "3"),
        ({"answer": "x"}, ""),
        (True, "true"),
        (None, ""),
        (["a"], ""),
    ],
)
def test_a_label_is_what_names_a_class(expected: Any, label: str):
    assert label_of(expected) == label


def test_what_is_the_same_text_is_compared_as_the_same():
    assert comparison_form("  The EXPORT, hangs!! ") == comparison_form("the export hangs") == "the export hangs"
    assert comparison_form("Ｆｕｌｌ ｗｉｄｔｈ") == comparison_form("full width")
    assert comparison_form("Straße 7") == comparison_form("STRASSE: 7")
    assert comparison_form("?!") == ""


def test_all_variables_are_compared_in_the_order_of_their_names():
    assert input_text({"b": "2", "a": {"x": ["1", 7]}}) == "1\n7\n2"
    assert read({"variables": {"a": "x", "b": "y"}}).input_hash == read({"variables": {"b": "Y", "a": "X"}}).input_hash


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ([], ""),
        ({}, "/variables"),
        ({"variables": {}}, "/variables"),
        ({"variables": {"a": ""}}, "/variables"),
        ({"variables": {"a": "x"}, "nonsense": 1}, "/nonsense"),
        ({"variables": {"a": "x"}, "weight": 0}, "/weight"),
        ({"variables": {"a": "x"}, "weight": True}, "/weight"),
        ({"variables": {"a": "x"}, "weight": float("inf")}, "/weight"),
        ({"variables": {"a": "x"}, "tags": "x"}, "/tags"),
        ({"variables": {"a": "x"}, "tags": [""]}, "/tags"),
        ({"variables": {"a": "x"}, "group": 7}, "/group"),
        ({"variables": {"a": "x"}, "split": "dev"}, "/split"),
        ({"variables": {"a": "\0"}}, "/variables/a"),
        ({"variables": {"a": "\ud800"}}, "/variables/a"),
        ({"variables": {"a": 2**60}}, "/variables/a"),
        ({"variables": {"a": "x" * (MAX_BYTES + 1)}}, ""),
    ],
)
def test_a_faulty_case_is_named(document: Any, pointer: str):
    faults: list[Fault] = []

    assert read_case(document, faults) is None
    assert faults[0].pointer == pointer
