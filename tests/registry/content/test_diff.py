"""What differs between two contents."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.content.diff import diff, diff_lines


def chat(*messages: tuple[str, str], **members: Any) -> dict[str, Any]:
    return {
        "kind": "chat",
        "messages": [{"role": role, "content": text} for role, text in messages],
        **members,
    }


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    return [(entry["change"], entry["old"], entry["new"]) for entry in diff(old, new)["messages"]]


def test_equal_contents_are_identical():
    content = chat(("system", "Hello"), model={"temperature": 1})

    result = diff(content, content)

    assert result["identical"]
    assert (result["added"], result["removed"], result["settings"]) == (0, 0, [])


def test_a_changed_line_has_marks_inside():
    lines = diff_lines("Answer with the category.\nTicket:", "Answer with JSON only.\nTicket:")

    removed, added, same = lines
    assert (removed["change"], removed["old"], removed["new"]) == ("removed", 1, None)
    assert [removed["text"][start:end] for start, end in removed["marks"]] == ["the category"]
    assert [added["text"][start:end] for start, end in added["marks"]] == ["JSON only"]
    assert (same["change"], same["old"], same["new"], same["marks"]) == ("same", 2, 2, [])


def test_messages_are_added_removed_changed_and_moved():
    a, b, c = ("system", "Alpha is first"), ("user", "Beta comes next"), ("assistant", "Gamma is last")

    assert changes(chat(a, b), chat(a, b, c)) == [("same", 0, 0), ("same", 1, 1), ("added", None, 2)]
    assert changes(chat(a, b, c), chat(a, c)) == [("same", 0, 0), ("removed", 1, None), ("same", 2, 1)]
    assert sorted(change for change, _, _ in changes(chat(a, b, c), chat(c, a, b))) == [
        "moved",
        "same",
        "same",
    ]
    assert changes(chat(a, b), chat(a, ("user", "Beta comes later"))) == [("same", 0, 0), ("changed", 1, 1)]


def test_a_changed_role_is_a_change():
    entry = diff(chat(("system", "Hello")), chat(("developer", "Hello")))["messages"][0]

    assert (entry["change"], entry["old_role"], entry["role"]) == ("changed", "system", "developer")


def test_settings_variables_schema_and_examples_are_told_by_pointer():
    old = chat(
        ("user", "x"),
        model={"temperature": 0, "name": "a"},
        variables={"x": {}},
        response={"format": "json_schema", "schema": {"type": "object", "required": ["a"]}},
        examples={"set": "sha256:1", "k": 3},
    )
    new = chat(
        ("user", "x"),
        model={"temperature": 1, "name": "a", "top_p": 0.5},
        variables={"x/y": {"type": "integer"}},
        response={"format": "json_schema", "schema": {"type": "object", "required": ["a", "b"]}},
        examples={"set": "sha256:2", "k": 3},
    )

    result = diff(old, new)

    assert result["settings"] == [
        {"pointer": "/model/temperature", "change": "changed", "old": 0, "new": 1},
        {"pointer": "/model/top_p", "change": "added", "old": None, "new": 0.5},
    ]
    assert [entry["pointer"] for entry in result["variables"]] == ["/variables/x", "/variables/x~1y/type"]
    assert result["response"][0]["pointer"] == "/response/schema/required"
    assert [entry["pointer"] for entry in result["examples"]] == ["/examples/set"]


def test_chat_against_text():
    result = diff(chat(("system", "Hello there")), {"kind": "text", "text": "Hello there"})

    assert [entry["old_role"] or entry["role"] for entry in result["messages"]] == ["system"]


TEXT = st.text("ab \n", max_size=60)


@given(TEXT, TEXT)
def test_the_lines_contain_both_texts(old: str, new: str):
    lines = diff_lines(old, new)

    assert "\n".join(line["text"] for line in lines if line["change"] != "added") == old
    assert "\n".join(line["text"] for line in lines if line["change"] != "removed") == new


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("\n".join(".," * 1_000 for _ in range(15)), "\n".join(",." * 1_000 for _ in range(15))),
        ("a\n" * 60_000, "b\n" * 60_000),
        ("\n".join(str(n % 150) for n in range(30_000)), "\n".join(str(n % 149) for n in range(30_000))),
        ("x " * 60_000, "y " * 60_000),
    ],
)
def test_a_comparison_costs_little_whatever_is_compared(old: str, new: str):
    """Against comparing a tenth of it, in processor time: about ten times as long, where unbounded matching takes a
    thousand times."""

    def seconds(first: str, second: str) -> float:
        started = time.process_time()
        diff_lines(first, second)
        return time.process_time() - started

    tenth = [text[: len(text) // 10] for text in (old, new)]

    assert seconds(old, new) < 100 * max(seconds(*tenth), 0.01)


def test_many_messages_are_compared_by_position():
    old, new = ([("user", f"{age} {'word ' * 500}{n}") for n in range(200)] for age in ("old", "new"))

    entries = diff(chat(*old), chat(*new))["messages"]

    assert [(entry["old"], entry["new"]) for entry in entries] == [(n, n) for n in range(200)]


MESSAGES = st.lists(
    st.tuples(st.sampled_from(["system", "user"]), st.sampled_from(["a b", "a c", "d e f", ""])),
    min_size=1,
    max_size=6,
)


@given(MESSAGES, MESSAGES)
def test_every_message_of_both_contents_occurs_once(old: list[tuple[str, str]], new: list[tuple[str, str]]):
    entries = diff(chat(*old), chat(*new))["messages"]

    assert sorted(entry["old"] for entry in entries if entry["old"] is not None) == list(range(len(old)))
    assert [entry["new"] for entry in entries if entry["new"] is not None] == list(range(len(new)))
