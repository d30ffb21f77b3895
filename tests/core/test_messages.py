"""Messages with parts, calls of tools and their results, from a content to what a provider gets."""

import json
from typing import Any

import pytest

from core.errors import Problem
from core.messages import as_text, is_message, unmatched_calls
from core.rendering import analyse_content, render
from registry.content import tokens
from registry.content.normalize import normalise

PIXEL = "data:image/png;base64,iVBORw0KGgo="
LOOKUP = {"type": "function", "function": {"name": "lookup"}}


def image(url: str, **members: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **members}}


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


def call(call_id: str = "call_1", arguments: str = "{}", name: str = "lookup") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def calls(*called: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": list(called), **members}


def result(call_id: str = "call_1", content: Any = "fine") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def rendered(messages: list[Any], **variables: Any) -> list[dict[str, Any]]:
    content = normalise({"messages": messages, "tools": [LOOKUP]})
    request: list[dict[str, Any]] = render(content, variables, {})["messages"]
    return request


def test_parts_calls_and_results_are_rendered_in_their_places():
    messages = [
        user([text("Order {{ order }}:"), image("{{ screenshot }}", detail="low")]),
        calls(call(arguments='{"order": {{ order|tojson }}}'), content="I look it up."),
        result(content="{{ state }}"),
        user("And now?"),
    ]

    assert rendered(messages, order='7 "b"', screenshot=PIXEL, state="sent") == [
        user([text('Order 7 "b":'), image(PIXEL, detail="low")]),
        calls(call(arguments='{"order": "7 \\"b\\""}'), content="I look it up."),
        result(content="sent"),
        user("And now?"),
    ]
    content = normalise({"messages": messages})
    assert analyse_content(content).variables == {"order", "screenshot", "state"}


def test_a_part_that_is_empty_once_rendered_is_left_out():
    parts = [text("{% if note %}Note: {{ note }}{% endif %}"), image("{{ picture or '' }}"), text("What is it?")]

    assert rendered([user(parts)], note="", picture=None) == [user([text("What is it?")])]
    assert rendered([user(parts[:2])], note="", picture="") == [user("")]


@pytest.mark.parametrize(
    ("message", "variables", "sentence"),
    [
        (user([text("a"), image("{{ picture }}")]), {"picture": "file:///etc/passwd"}, "An image is https"),
        (user([text("a"), image("{{ picture }}")]), {"picture": "data:text/html;base64,eA=="}, "An image is https"),
        (calls(call(arguments="{{ order }}")), {"order": "7"}, "The arguments of lookup are no JSON object"),
        (calls(call(arguments='{"a": "{{ order }}"}')), {"order": 'b" c'}, "The arguments of lookup"),
    ],
)
def test_what_no_provider_takes_is_refused_when_it_is_rendered(message: Any, variables: Any, sentence: str):
    follow = [result()] if "tool_calls" in message else []

    with pytest.raises(Problem) as refused:
        rendered([message, *follow], **variables)

    assert refused.value.code == "render.invalid_message"
    assert refused.value.detail.startswith(sentence)
    assert refused.value.members["pointer"].startswith("/messages/0/")


def test_what_means_the_same_has_one_normal_form():
    plain = normalise({"messages": [user("a"), calls(call()), result(), user([text("b"), image(PIXEL)])]})
    spelled_out = normalise(
        {
            "messages": [
                user([text("a")]),
                calls({k: v for k, v in call().items() if k != "type"}, content=[text("")]),
                result(content=[text("fine")]),
                user([text("b"), image(f" {PIXEL}\n", detail="auto")]),
            ]
        }
    )

    assert spelled_out == plain
    assert normalise(spelled_out) == plain


@pytest.mark.parametrize(
    ("messages", "pointer", "code"),
    [
        ([{"role": "system", "content": [image(PIXEL), text("a")]}], "/messages/0/content/0", "role"),
        ([user([image("ftp://x/y.png"), text("a")])], "/messages/0/content/0/image_url/url", "address"),
        ([user([image("{% if a %}\n{{ a }}{% endif %}")])], "/messages/0/content/0/image_url/url", "address"),
        ([user([image(PIXEL, detail="huge")])], "/messages/0/content/0/image_url/detail", "choice"),
        ([user([{"type": "input_audio", "input_audio": {}}])], "/messages/0/content/0/type", "choice"),
        ([user([])], "/messages/0/content", "count"),
        ([user([{"type": "text"}, text("a")])], "/messages/0/content/0/text", "type"),
        ([user("a"), result()], "/messages/1/tool_call_id", "orphan"),
        ([calls(call()), user("a")], "/messages/0/tool_calls", "unanswered"),
        ([calls(call()), result(), result()], "/messages/2/tool_call_id", "orphan"),
        ([user("a"), calls(call())], "/messages/1/tool_calls", "unanswered"),
        ([calls(call("a"), call("b")), result("a")], "/messages/0/tool_calls", "unanswered"),
        ([calls(call(), call()), result()], "/messages/0/tool_calls/1/id", "repeated"),
        ([calls(call(arguments="[1]")), result()], "/messages/0/tool_calls/0/function/arguments", "json"),
        ([calls(call(name="look up")), result()], "/messages/0/tool_calls/0/function/name", "name"),
        ([calls(call("a b")), result("a b")], "/messages/0/tool_calls/0/id", "id"),
        ([{**user("a"), "tool_calls": [call()]}], "/messages/0/tool_calls", "unknown"),
        ([{"role": "tool", "content": "a"}], "/messages/0/tool_call_id", "id"),
        ([{"role": "assistant", "tool_calls": "x"}], "/messages/0/tool_calls", "type"),
    ],
)
def test_messages_that_providers_refuse_are_refused_when_they_are_committed(messages: Any, pointer: str, code: str):
    with pytest.raises(Problem) as refused:
        normalise({"messages": messages})

    assert (pointer, code) in [(fault.pointer, fault.code) for fault in refused.value.faults]


def test_a_placeholder_may_hold_what_is_missing_on_either_side():
    history = {"role": "placeholder", "name": "history"}

    normalise({"messages": [calls(call()), history, user("a")]})
    normalise({"messages": [history, result("from_the_history"), user("a")]})
    assert list(unmatched_calls([history, user("a"), result()])) == [(2, "orphan", "call_1")]


@pytest.mark.parametrize(
    "passed",
    [
        [user([text("a"), image(PIXEL)])],
        [calls(call(arguments="not even JSON"))],
        [{"role": "assistant", "content": None, "tool_calls": [call()], "refusal": None}, result()],
        [{"role": "user", "content": "a", "name": "Edith"}],
        [{"role": "assistant", "content": None, "refusal": "No."}],
        # As OpenAI's library writes an answer.
        [
            {
                "role": "assistant",
                "content": "x",
                "tool_calls": [],
                "annotations": [],
                "audio": None,
                "function_call": None,
            }
        ],
    ],
)
def test_a_conversation_of_the_caller_has_parts_and_calls(passed: Any):
    content = normalise({"messages": [{"role": "placeholder", "name": "history"}]})

    messages = render(content, {"history": passed}, {})["messages"]

    assert messages == [{k: v for k, v in message.items() if v not in (None, [])} for message in passed]
    messages[0]["role"] = "changed"
    assert passed[0]["role"] != "changed"


@pytest.mark.parametrize(
    "passed",
    [
        {"role": "user"},
        {"role": "user", "content": None},
        {"role": "assistant", "content": None, "refusal": ""},
        {"role": "assistant", "content": "x", "annotations": [{"type": "url_citation"}]},
        {"role": "user", "content": []},
        {"role": "user", "content": [image("javascript:alert(1)")]},
        {"role": "user", "content": "a", "tool_calls": [call()]},
        {"role": "assistant", "tool_calls": [{"id": "1"}]},
        {"role": "assistant", "tool_calls": []},
        {"role": "assistant", "content": "x", "audio": {"id": "1"}},
        {"role": "tool", "content": "a"},
        {"role": "user", "content": "a", "tool_call_id": "call_1"},
        {"role": "user", "content": "a", "more": 1},
        {"role": "robot", "content": "a"},
        {"role": ["user"], "content": "a"},
        "a",
    ],
)
def test_a_message_that_no_provider_takes_is_none(passed: Any):
    assert not is_message(passed)


def test_a_message_reads_as_one_text():
    long = f"data:image/png;base64,{'A' * 4000}"

    assert as_text(user("a\nb")) == "a\nb"
    assert as_text(user([text("Look:"), image("{{ shot }}", detail="low")])) == (
        "=== text ===\nLook:\n=== image low ===\n{{ shot }}"
    )
    assert as_text(calls(call(arguments='{"a": 1}'), content="Hm.")) == 'Hm.\n=== call lookup call_1 ===\n{"a": 1}'
    assert as_text(result()) == "=== tool call_1 ===\nfine"
    assert "3,000 bytes" in as_text(user([image(long)]))
    # Other data reads differently, though nobody reads data.
    assert as_text(user([image(long)])) != as_text(user([image(f"{long[:-1]}B")]))


def test_a_callers_image_has_a_detail_that_there_is():
    assert is_message(user([image(PIXEL, detail="low")]))
    for detail in (["high"], "huge", 7):
        assert not is_message(user([image(PIXEL, detail=detail)]))


def test_tokens_of_images_and_calls_are_estimates():
    plain = tokens.count_messages([user("Look:")], "gpt-4o")
    low = tokens.count_messages([user([text("Look:"), image(PIXEL, detail="low")])], "gpt-4o")
    called = tokens.count_messages([user("Look:"), calls(call(arguments=json.dumps({"a": 1})))], "gpt-4o")

    assert plain.is_exact
    assert not low.is_exact
    assert not called.is_exact
    assert low.tokens == plain.tokens + 85
    assert called.tokens > plain.tokens + 10


def test_a_text_that_looks_like_parts_reads_otherwise_than_parts():
    parts = user([text("a"), image("https://x")])

    assert as_text(user(as_text(parts))) != as_text(parts)
