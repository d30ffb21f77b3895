"""Every protocol against a server that is as strict as its provider: what is sent is right, and what cannot be said is
never sent."""

import copy
import json
from typing import Any

import pytest

from evaluations.providers.chat import CallError, ChatRequest, Remedy
from evaluations.providers.presets import PRESETS
from evaluations.providers.presets import PROTOCOLS as TITLES
from evaluations.providers.protocols import get_protocol, protocol_names
from evaluations.providers.wires import get_wire, inexpressible
from registry.content.model_profiles.facts import ModelProfile, get_profile
from tests.evaluations.providers.strict_wires import strict_server
from tests.evaluations.providers.wire_requests import (
    CONVERSATION,
    PIXEL,
    PROTOCOLS,
    SCHEMA,
    TOOL,
    ask,
    request,
)


def test_every_protocol_is_tried_here():
    assert protocol_names() == PROTOCOLS == sorted(TITLES)
    assert {name: get_protocol(name).title for name in PROTOCOLS} == TITLES
    assert {preset.protocol for preset in PRESETS} == set(PROTOCOLS)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_everything_that_a_version_says_is_sent_in_the_protocols_words(protocol: str):
    """Instructions, an image, a call with its result, a tool, a schema, a limit and an effort."""
    form = {"type": "json_schema", "json_schema": {"name": "route", "schema": SCHEMA, "strict": True}}
    effort = "none" if protocol == "openai_chat" else "low"
    # Anthropic's models are not forced while they reason.
    choice = "auto" if protocol == "anthropic_messages" else "required"
    settings = {"max_output_tokens": 99, "reasoning": {"effort": effort}, "tool_choice": choice}
    handler = strict_server()

    ask(protocol, request(protocol, CONVERSATION, settings=settings, tools=[TOOL], response_format=form), handler)

    (_, _, body), *_ = handler.requests  # type: ignore[attr-defined]
    sent = json.dumps(body)
    for text in (
        "You sort tickets.",
        "Look",
        "iVBORw0KGgo=",
        "One moment.",
        "look_up",
        "It was sent.",
        "And now?",
        "99",
    ):
        assert text in sent, text
    assert "call_1" in sent
    assert body == EXPECTED[protocol](body)


def _responses(body: dict[str, Any]) -> dict[str, Any]:
    return body | {
        "store": False,
        "max_output_tokens": 99,
        "reasoning": {"effort": "low"},
        "text": {"format": {"type": "json_schema", "name": "route", "schema": SCHEMA, "strict": True}},
        "tools": [{"type": "function", "strict": False, **TOOL["function"]}],  # type: ignore[dict-item]
        "tool_choice": "required",
    }


def _messages(body: dict[str, Any]) -> dict[str, Any]:
    result = {"type": "tool_result", "tool_use_id": "call_1", "content": [{"type": "text", "text": "It was sent."}]}
    return body | {
        "max_tokens": 99,
        "system": [{"type": "text", "text": "You sort tickets."}],
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}},
        "tools": [{"name": "look_up", "description": "An order", "input_schema": SCHEMA}],
        "tool_choice": {"type": "auto"},
        "messages": [
            *body["messages"][:2],
            {"role": "user", "content": [result, {"type": "text", "text": "And now?"}]},
        ],
    }


def _gemini(body: dict[str, Any]) -> dict[str, Any]:
    return body | {
        "systemInstruction": {"parts": [{"text": "You sort tickets."}]},
        "generationConfig": {
            "maxOutputTokens": 99,
            "responseMimeType": "application/json",
            "responseJsonSchema": SCHEMA,
            "thinkingConfig": {"thinkingLevel": "LOW"},
        },
        "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
    }


def _chat(body: dict[str, Any]) -> dict[str, Any]:
    return body | {"max_completion_tokens": 99, "reasoning_effort": "none", "messages": CONVERSATION}


EXPECTED = {
    "openai_responses": _responses,
    "anthropic_messages": _messages,
    "gemini": _gemini,
    "openai_chat": _chat,
}


OTHERS = [protocol for protocol in PROTOCOLS if protocol != "openai_chat"]
CANNOT_SAY: list[tuple[str, dict[str, Any], str]] = [
    ("openai_responses", {"settings": {"seed": 7}}, "seed"),
    ("openai_responses", {"settings": {"stop": "END"}}, "stop"),
    ("anthropic_messages", {"settings": {"seed": 7}}, "seed"),
    ("anthropic_messages", {"settings": {"verbosity": "low"}}, "verbosity"),
    ("anthropic_messages", {"response_format": {"type": "json_object"}}, "response"),
    ("gemini", {"settings": {"verbosity": "low"}}, "verbosity"),
    ("gemini", {"settings": {"reasoning": {"effort": "max"}}}, "reasoning.effort"),
    ("openai_chat", {"settings": {"reasoning": {"summary": "auto"}}}, "reasoning.summary"),
    ("openai_chat", {"settings": {"reasoning": {"effort": "low"}}, "tools": [TOOL]}, "tools"),
    ("openai_chat", {"settings": {"prompt_cache": "5m"}}, "prompt_cache"),
    ("gemini", {"messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}]}]}, "images"),
    ("anthropic_messages", {"messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}}]}]}, "detail"),
    ("gemini", {"messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]}, "role"),
    ("gemini", {"messages": [{"role": "user", "content": ""}]}, "messages"),
    ("anthropic_messages", {"settings": {"reasoning_effort": ["low"]}}, "reasoning_effort"),
    ("gemini", {"settings": {"reasoning_effort": ["low"]}}, "reasoning_effort"),
    ("gemini", {"settings": {"stop": 5}}, "stop"),
    ("anthropic_messages", {"settings": {"stop": {"a": "b"}}}, "stop"),
    ("anthropic_messages", {"settings": {"parallel_tool_calls": "no"}, "tools": [TOOL]}, "parallel_tool_calls"),
    ("anthropic_messages", {"settings": {"reasoning": {"effort": "none", "summary": "auto"}}}, "reasoning.summary"),
    # Members of others, which would be left out.
    *((protocol, {"tools": [{**TOOL, "cache_control": {"type": "ephemeral"}}]}, "tools") for protocol in OTHERS),
    *((protocol, {"tools": [{**TOOL, "function": {"name": "f", "type": "web_search"}}]}, "tools")
      for protocol in OTHERS),
    *((protocol, {"messages": [{"role": "user", "content": [
        {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]}]}, "messages") for protocol in OTHERS),
    *((protocol, {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": [
        {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}]}]}, "tool_calls")
      for protocol in ("anthropic_messages", "gemini")
      for arguments in ('{"x": NaN}', '{"x": 1e999}', r'{"x": "\ud800"}', '{"x": 1, "x": 2}')),
    ("gemini", {"settings": {"tool_choice": {"type": "mcp", "server_label": "x", "name": "f"}}, "tools": [TOOL]},
     "tool_choice"),
    # Each would be read as another choice, or sent as none.
    ("gemini", {"settings": {"tool_choice": "any"}, "tools": [TOOL]}, "tool_choice"),
    ("gemini", {"settings": {"tool_choice": {"type": "allowed_tools"}}, "tools": [TOOL]}, "tool_choice"),
    ("anthropic_messages", {"settings": {"tool_choice": {"function": {"name": 7}}}, "tools": [TOOL]}, "tool_choice"),
    ("gemini", {"tools": [{**TOOL, "function": {**TOOL["function"], "strict": True}}]}, "tools"),
    ("anthropic_messages", {"messages": [
        {"role": "user", "content": [{"type": "text", "text": ""}]}]}, "messages"),
    ("anthropic_messages", {"settings": {"reasoning": {"effort": "low"}, "tool_choice": "required"}}, "tool_choice"),
    ("anthropic_messages", {"settings": {"reasoning": {"effort": "low"}, "temperature": 0}}, "temperature"),
    ("anthropic_messages", {"settings": {"temperature": 1.5}}, "temperature"),
    ("gemini", {"messages": [{"role": "system", "content": "a"}]}, "messages"),
]  # fmt: skip


@pytest.mark.parametrize(("protocol", "members", "setting"), CANNOT_SAY)
def test_what_a_protocol_has_no_words_for_is_refused_before_it_is_sent(
    protocol: str, members: dict[str, Any], setting: str
):
    chat_request = request(protocol, **copy.deepcopy(members))
    handler = strict_server()

    with pytest.raises(CallError) as failed:
        ask(protocol, chat_request, handler)

    assert (failed.value.code, failed.value.remedy) == ("call.inexpressible", Remedy.GIVE_UP)
    assert [refusal.setting for refusal in inexpressible(get_wire(protocol), chat_request)] == [setting]
    assert handler.requests == []  # type: ignore[attr-defined]


def test_older_models_think_by_a_number_of_tokens_and_cached_beginnings_are_marked():
    wire = get_wire("anthropic_messages")
    old = ModelProfile(vendor="anthropic", has_adaptive_thinking=False, max_output_tokens=64_000)
    chat_request = ChatRequest(
        "claude-haiku-4-5", CONVERSATION, {"reasoning": {"effort": "low"}, "prompt_cache": "5m"}, profile=old
    )

    body = wire.write_body(chat_request)

    assert body["thinking"] == {"type": "enabled", "budget_tokens": 1_024}
    assert body["max_tokens"] == 32_768
    assert body["system"][-1]["cache_control"] == {"type": "ephemeral", "ttl": "5m"}
    few = ChatRequest(
        chat_request.model, CONVERSATION, {**chat_request.parameters, "max_output_tokens": 500}, profile=old
    )
    assert [refusal.setting for refusal in wire.unfit_settings(few)] == ["max_output_tokens"]


def test_older_models_refuse_what_no_number_of_tokens_stands_for():
    wire = get_wire("anthropic_messages")
    old = ModelProfile(vendor="anthropic", has_adaptive_thinking=False, max_output_tokens=64_000)
    for reasoning in ({"effort": "max"}, {"summary": "auto"}):
        (refusal,) = wire.unfit_settings(ChatRequest("claude-haiku-4-5", (), {"reasoning": reasoning}, profile=old))
        assert refusal.setting == f"reasoning.{next(iter(reasoning))}"


def test_a_tool_may_say_nothing_and_so_may_a_user_where_the_protocol_has_it():
    silent = [*CONVERSATION[:3], {**CONVERSATION[3], "content": ""}]
    for protocol in PROTOCOLS:
        assert not inexpressible(get_wire(protocol), request(protocol, silent)), protocol
    quiet = [{"role": "system", "content": "Say it."}, {"role": "user", "content": ""}]
    body = get_wire("openai_responses").write_body(request("openai_responses", quiet))
    assert body["input"] == quiet


def test_a_function_is_never_a_tool_of_the_providers_own():
    odd = {"type": "function", "function": {"name": "f", "type": "web_search"}}
    body = get_wire("openai_responses").write_body(request("openai_responses", tools=[odd]))
    assert [tool["type"] for tool in body["tools"]] == ["function"]


def test_instructions_may_come_later_where_the_model_takes_them():
    later = [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}, {"role": "user", "content": "c"}]
    wire, chat_request = get_wire("anthropic_messages"), request("anthropic_messages", later)

    assert inexpressible(wire, chat_request) == []
    assert [turn["role"] for turn in wire.write_body(chat_request)["messages"]] == ["user", "system", "user"]


@pytest.mark.parametrize(
    ("settings", "model", "sent"),
    [
        # Versions of before are sent as they were, but to models that refuse it.
        ({"max_tokens": 9}, "gpt-4o-mini", {"max_tokens": 9}),
        ({"max_tokens": 9}, "gpt-6-luna", {"max_completion_tokens": 9}),
        ({"max_output_tokens": 9}, "gpt-4o-mini", {"max_completion_tokens": 9}),
        ({"max_output_tokens": 9}, "qwen3-32b-awq", {"max_tokens": 9}),
        ({"max_completion_tokens": 9}, "qwen3-32b-awq", {"max_completion_tokens": 9}),
        ({"reasoning_effort": "low"}, "gpt-6-luna", {"reasoning_effort": "low"}),
        ({"reasoning": {"effort": "low"}}, "gpt-6-luna", {"reasoning_effort": "low"}),
        ({"reasoning": {"max_tokens": 9}}, "vendor/model", {"reasoning": {"max_tokens": 9}}),
        (
            {"reasoning": {"effort": "low", "summary": "auto"}},
            "vendor/model",
            {"reasoning": {"effort": "low", "summary": "auto"}},
        ),
        ({"chat_template_kwargs": {"x": 1}}, "qwen3-32b-awq", {"chat_template_kwargs": {"x": 1}}),
    ],
)
def test_old_words_mean_what_they_meant(settings: dict[str, Any], model: str, sent: dict[str, Any]):
    body = get_wire("openai_chat").write_body(
        ChatRequest(model, [{"role": "user", "content": "x"}], settings, profile=get_profile(model))
    )
    assert body == {"model": model, "messages": [{"role": "user", "content": "x"}], **sent}
