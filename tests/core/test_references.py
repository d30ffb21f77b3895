"""Reference syntax: one meaning for each text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Problem
from core.references import (
    Environment,
    HashPrefix,
    Latest,
    Number,
    is_environment_name,
    parse_reference,
    parse_selector,
)


@pytest.mark.parametrize(
    ("text", "selector"),
    [
        ("support.triage", Environment("production")),
        ("support.triage@3", Number(3)),
        ("support.triage@latest", Latest()),
        ("support.triage@my-stage", Environment("my-stage")),
        ("support.triage@sha256:9f2c41d07a1b", HashPrefix("sha256:9f2c41d07a1b")),
        ("a", Environment("production")),
        ("a_b-c.d", Environment("production")),
    ],
)
def test_a_reference_is_read(text: str, selector: object):
    reference = parse_reference(text)

    assert reference.name == text.partition("@")[0]
    assert reference.selector == selector


@pytest.mark.parametrize(
    "text", ["", "@3", "Support", "a..b", ".a", "a.", "a b", "a/b", "ä", "a\n", "x" * 201, "batch"]
)
def test_what_is_no_name_is_refused(text: str):
    with pytest.raises(Problem) as refused:
        parse_reference(text)

    assert refused.value.code == "reference.invalid"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "-1",
        "99999999999999999999",
        "sha256:",
        "sha256:12",
        "sha256:ABCDEFABCDEF",
        "Prod",
        "1.5",
        "٣",
    ],
)
def test_what_is_no_selector_is_refused(text: str):
    with pytest.raises(Problem) as refused:
        parse_selector(text)

    assert refused.value.code == "prompt.invalid_selector"


@given(st.text(max_size=80))
def test_any_text_is_a_selector_or_refused(text: str):
    try:
        selector = parse_selector(text)
    except Problem as refused:
        selector = refused

    if isinstance(selector, Problem):
        assert selector.code == "prompt.invalid_selector"
    else:
        assert isinstance(selector, Environment) == is_environment_name(text)
