"""Training files of today: parts, pictures and tool calls as the guides to fine-tuning have them."""

import json
from typing import Any

import pytest

from finetunes.providers.jsonl import Method, encode_file
from finetunes.training_sets.validation import Verdict, validate

USER = {"role": "user", "content": "What is the weather in Bern?"}
ANSWER = {"role": "assistant", "content": "Rain."}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"place": "Bern"}'}}
CALLS = {"role": "assistant", "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "rain"}
PICTURE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
TEXT = {"type": "text", "text": "What is this?"}


def picture(address: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": address}}


def rules_of(*messages: Any, tools: Any = None) -> set[str]:
    line: dict[str, Any] = {"messages": list(messages), **({} if tools is None else {"tools": tools})}
    return set(verdict_of(encode_file([line])).counts) - {"too_few"}


def verdict_of(data: bytes) -> Verdict:
    return validate({"train": data}, Method.SUPERVISED)


@pytest.mark.parametrize(
    ("messages", "tools"),
    [
        ([USER, CALLS, RESULT, ANSWER], TOOLS),
        ([USER, {**CALLS, "content": None}, RESULT, ANSWER], TOOLS),
        ([USER, CALLS], TOOLS),
        ([{"role": "user", "content": [TEXT, PICTURE]}, ANSWER], None),
        ([{"role": "user", "content": [TEXT]}, {"role": "assistant", "content": [TEXT]}], None),
        ([{"role": "user", "content": [{**PICTURE, "image_url": {"url": "data:image/webp;base64,AA"}}]}, ANSWER], None),
    ],
)
def test_what_providers_take_is_taken(messages: list[Any], tools: Any):
    assert rules_of(*messages, tools=tools) == set()


@pytest.mark.parametrize(
    ("messages", "tools", "rule"),
    [
        ([USER, RESULT, ANSWER], TOOLS, "orphan_tool_message"),
        ([USER, CALLS, {**RESULT, "tool_call_id": "c2"}, ANSWER], TOOLS, "orphan_tool_message"),
        ([USER, CALLS, RESULT, RESULT, ANSWER], TOOLS, "orphan_tool_message"),
        ([USER, CALLS, ANSWER], TOOLS, "unanswered_call"),
        ([USER, CALLS, USER, ANSWER], TOOLS, "unanswered_call"),
        ([USER, CALLS, RESULT, ANSWER], None, "undeclared_tool"),
        ([USER, CALLS, RESULT, ANSWER], [{"type": "function", "function": {"name": "other"}}], "undeclared_tool"),
        ([USER, CALLS, RESULT, ANSWER], [{"name": "weather"}], "bad_tools"),
        ([USER, {**CALLS, "tool_calls": [{**CALL, "id": None}]}], TOOLS, "bad_tool_call"),
        ([USER, {**CALLS, "tool_calls": [7]}], TOOLS, "bad_tool_call"),
        ([{**USER, "tool_calls": [CALL]}, ANSWER], TOOLS, "bad_tool_call"),
        ([USER, {**CALLS, "tool_calls": [CALL, CALL]}], TOOLS, "bad_tool_call"),
        ([{"role": "user", "content": [{"type": "audio"}]}, ANSWER], None, "bad_part"),
        ([{"role": "user", "content": [{"type": "text", "text": ""}]}, ANSWER], None, "bad_part"),
        ([USER, {"role": "assistant", "content": [PICTURE]}], None, "bad_part"),
        ([{"role": "user", "content": [PICTURE] * 11}, ANSWER], None, "bad_part"),
        ([{"role": "user", "content": [{**PICTURE, "image_url": {"url": "file:///a.png"}}]}, ANSWER], None, "bad_part"),
        (
            [{"role": "user", "content": [{**PICTURE, "image_url": {"url": "data:image/tiff,AA"}}]}, ANSWER],
            None,
            "bad_part",
        ),
        ([{"role": "user", "content": []}, ANSWER], None, "missing_content"),
    ],
)
def test_what_providers_refuse_is_named(messages: list[Any], tools: Any, rule: str):
    assert rule in rules_of(*messages, tools=tools)


@pytest.mark.parametrize("arguments", ["{", '"text"', {"place": "Bern"}, None])
def test_arguments_are_an_object_as_text(arguments: Any):
    call = {**CALL, "function": {"name": "weather", "arguments": arguments}}

    assert "bad_tool_call" in rules_of(USER, {"role": "assistant", "tool_calls": [call]}, tools=TOOLS)


def test_one_sentence_for_a_file_of_another_form():
    lines = [{"messages": [USER, ANSWER]} for _ in range(200)]

    listed = verdict_of(json.dumps(lines, indent=1).encode())
    marked = verdict_of(b"\xef\xbb\xbf" + encode_file(lines))

    assert [(finding.rule, finding.line) for finding in listed.findings] == [("one_list", None)]
    assert "one JSON object a line" in listed.findings[0].message
    assert marked.counts["byte_order_mark"] == 1
    assert "unreadable" not in marked.counts


def test_lengths_with_parts_and_calls_are_estimates():
    verdict = verdict_of(encode_file([{"messages": [USER, CALLS, RESULT, ANSWER], "tools": TOOLS}]))

    assert not verdict.is_exact
    assert verdict.lengths["train"][0] > 30
