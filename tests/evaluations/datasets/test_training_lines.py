"""OpenAI's training lines as cases: nothing of a conversation is lost without saying so."""

from typing import Any

import pytest

from evaluations.datasets.files.training_lines import ANSWER, REST, UNREADABLE, read_case
from tests.core.test_messages import PIXEL, call, calls, image, result, text, user

ANSWERED = {"role": "assistant", "content": "ok"}


@pytest.mark.parametrize(
    ("messages", "case", "left_out"),
    [
        ([user("x"), ANSWERED], {"variables": {"input": "x"}, "expected": "ok"}, []),
        (
            [{"role": "system", "content": "s"}, user("x"), {"role": "assistant", "content": '{"a": 1}'}],
            {"variables": {"input": "x"}, "expected": {"a": 1}},
            [REST],
        ),
        (
            [user([text("look"), image(PIXEL)]), ANSWERED],
            {"variables": {"input": "look", "messages": [user([text("look"), image(PIXEL)])]}, "expected": "ok"},
            [],
        ),
        (
            [user("x"), calls(call(arguments='{"a": 1}')), result(), ANSWERED],
            {
                "variables": {"input": "x", "messages": [user("x"), calls(call(arguments='{"a": 1}')), result()]},
                "expected": "ok",
            },
            [],
        ),
        (
            [user("x"), {**calls(call(arguments='{"a": 1}'), call("b", "")), "content": "hm", "weight": 1}],
            {
                "variables": {"input": "x"},
                "expected": {
                    "content": "hm",
                    "tool_calls": [{"name": "lookup", "arguments": {"a": 1}}, {"name": "lookup", "arguments": {}}],
                },
            },
            [],
        ),
        (
            [user([text("hear"), {"type": "input_audio", "input_audio": {}}]), ANSWERED],
            {"variables": {"input": "hear"}, "expected": "ok"},
            [UNREADABLE],
        ),
        (
            [{"role": "user", "content": "x", "name": "bob"}, ANSWERED],
            {"variables": {"input": "x", "messages": [{**user("x"), "name": "bob"}]}, "expected": "ok"},
            [],
        ),
        (
            [user({"a": 1}), {"role": "assistant", "content": None, "function_call": {"name": "f"}}],
            {"variables": {"input": {"a": 1}}, "expected": None},
            [UNREADABLE, ANSWER.format("function_call")],
        ),
        (
            [user("x"), {"role": "assistant", "content": ["x"]}],
            {"variables": {"input": "x"}, "expected": ""},
            [ANSWER.format("parts that are no text")],
        ),
    ],
)
def test_a_line_is_a_case(messages: Any, case: Any, left_out: list[str]):
    assert read_case(messages) == (case, left_out)
