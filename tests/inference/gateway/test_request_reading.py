"""What a client asks, read from OpenAI's wires."""

from typing import Any

import pytest

from core.errors import Problem
from inference.gateway.request_reading import Target, parse_target, read_chat, read_responses

CALL: dict[str, Any] = {"type": "function_call", "name": "find", "arguments": "{}"}


def test_the_calls_of_one_turn_are_one_message():
    items = [
        {"role": "user", "content": "Where is it?"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
        {**CALL, "call_id": "c1"},
        {**CALL, "call_id": "c2"},
        {"type": "function_call_output", "call_id": "c1", "output": "here"},
        {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "there"}]},
        {"role": "user", "content": "Thanks"},
    ]

    messages = read_responses({"model": "prompt:p", "input": items}).messages

    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool", "user"]
    assert [call["id"] for call in messages[1]["tool_calls"]] == ["c1", "c2"]
    assert messages[1]["content"] == [{"type": "text", "text": "I look."}]
    assert messages[3]["content"] == [{"type": "text", "text": "there"}]


def test_a_refusal_given_back_is_what_was_said():
    item = {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "I cannot"}]}

    (message,) = read_responses({"model": "prompt:p", "input": [item]}).messages

    assert message["content"] == [{"type": "text", "text": "I cannot"}]


@pytest.mark.parametrize(
    ("model", "target"),
    [
        ("task:triage", Target("task:", "triage", "")),
        ("task:triage@staging", Target("task:", "triage", "staging")),
        ("prompt:a.b@3", Target("prompt:", "a.b", "3")),
    ],
)
def test_what_a_model_names(model: str, target: Target):
    assert parse_target(model) == target


@pytest.mark.parametrize(
    "model",
    ["task:triage@latest", "task:triage@1", f"task:triage@sha256:{'a' * 64}", "task:", "gpt", f"prompt:p@{'0' * 300}1"],
)
def test_drafts_and_what_is_none_are_refused(model: str):
    with pytest.raises(Problem) as refused:
        parse_target(model)
    assert refused.value.code == "gateway.unknown_model"


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"n": True}, "One answer"),
        ({"n": 2}, "One answer"),
        ({"temperature": 0}, "decides this"),
        ({"previous_response_id": "r", "temperature": 0}, "previous_response_id: Nothing is kept between calls"),
        ({"stream_options": []}, "Must be an object"),
        ({"cuebook": {"subject": 0}}, "Must be text"),
        ({"metadata": {"k" * 65: "v"}}, "under names of 64"),
        ({"metadata": []}, "Must be at most 16 texts"),
    ],
)
def test_what_is_not_taken_is_refused_in_words(members: dict[str, Any], words: str):
    with pytest.raises(Problem) as refused:
        read_chat({"model": "prompt:p", "messages": [], **members})
    assert words in refused.value.detail
