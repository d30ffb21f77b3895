"""Training files: any text comes back as it was, in one line each, the same bytes each time."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetunes.providers import jsonl
from finetunes.providers.jsonl import (
    answer_text,
    encode_file,
    encode_line,
    preference_line,
    read_lines,
    supervised_line,
)

TEXTS = st.text(alphabet=st.characters(codec="utf-8"), max_size=200)
MESSAGES = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": TEXTS}), max_size=5
)
LINES = st.one_of(st.builds(supervised_line, MESSAGES, TEXTS), st.builds(preference_line, MESSAGES, TEXTS, TEXTS))


@settings(max_examples=300, deadline=None)
@given(st.lists(LINES, max_size=6))
def test_any_text_comes_back_and_each_example_is_one_line_to_every_reader(lines: list[jsonl.Line]):
    data = encode_file(lines)

    assert [line for _, line in read_lines(data)] == [dict(line) for line in lines]
    assert [number for number, _ in read_lines(data)] == list(range(1, len(lines) + 1))
    # Readers differ in what ends a line for them; none of it stands within one.
    assert data.decode().splitlines() == data.decode().split("\n")[:-1]
    assert encode_file(lines) == data


def test_the_lines_are_as_the_providers_document_them():
    question = [{"role": "system", "content": "Sort."}, {"role": "user", "content": "It\u2028is down"}]

    assert encode_line(supervised_line(question, "incident")) == (
        b'{"messages":[{"role":"system","content":"Sort."},{"role":"user","content":"It\\u2028is down"},'
        b'{"role":"assistant","content":"incident"}]}\n'
    )
    assert json.loads(encode_line(preference_line(question[1:], "incident", "billing"))) == {
        "input": {"messages": question[1:]},
        "preferred_output": [{"role": "assistant", "content": "incident"}],
        "non_preferred_output": [{"role": "assistant", "content": "billing"}],
    }


def test_an_answer_that_stands_within_the_question_is_not_learned():
    question = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]

    line = supervised_line(question, "d")

    assert [message.get("weight") for message in line["messages"]] == [None, 0, None, None]


def test_members_of_an_answer_stand_in_the_order_of_the_schema():
    schema = {
        "properties": {
            "why": {"type": "string"},
            "items": {"items": {"properties": {"b": {}, "a": {}}}},
            "category": {"type": "string"},
        }
    }

    text = answer_text({"category": "x", "items": [{"a": 1, "b": 2}], "why": "y", "beside": 1}, schema)

    assert text == '{"why":"y","items":[{"b":2,"a":1}],"category":"x","beside":1}'
    assert answer_text("as it is") == "as it is"


def test_half_a_character_and_what_is_no_number_are_refused():
    with pytest.raises(ValueError, match="surrogates"):
        encode_line(supervised_line([], "\ud800"))
    with pytest.raises(ValueError, match="JSON"):
        answer_text(float("nan"))
