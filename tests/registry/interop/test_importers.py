"""Prompts of other products: read as they are written there, and rendering to what they made there."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Problem
from core.references import is_prompt_name
from core.rendering import render
from core.template_language import analyse
from registry.content.normalize import normalise
from registry.interop.importers.convert import SourcePrompt, local_name, read_prompts
from registry.interop.importers.text import Variables, template
from tests.core.test_rendering import text_of

OPENAI = {
    "id": "pmpt_68ab",
    "version": "3",
    "model": "gpt-5-mini",
    "input": [
        {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "You sort tickets."}]},
        {"role": "user", "content": "{{customer-name}} of {{ company }} writes: {{ticket}}"},
    ],
    "text": {"format": {"type": "json_schema", "name": "route", "strict": True, "schema": {"type": "object"}}},
    "reasoning": {"effort": "low"},
    "max_output_tokens": 400,
    "tools": [{"type": "function", "name": "find", "parameters": {"type": "object"}}, {"type": "web_search"}],
}


def only(prompts: list[SourcePrompt]) -> SourcePrompt:
    (prompt,) = prompts
    assert prompt.refusal is None, prompt.refusal
    return prompt


def only_content(source: str, item: object) -> dict[str, Any]:
    (version,) = only(read_prompts(source, {"data": [item]})).versions
    return normalise(version.content)


def refusal(source: str, document: object) -> Problem:
    (prompt,) = read_prompts(source, document)
    assert prompt.refusal
    return prompt.refusal


def test_a_prompt_object_of_openai_keeps_all_that_decides_its_answers():
    prompt = only(read_prompts("openai", json.dumps(OPENAI)))

    (version,) = prompt.versions
    assert (prompt.source, prompt.name, version.source, version.message) == (
        "pmpt_68ab",
        "pmpt_68ab",
        "3",
        "Version 3 of the source",
    )
    assert normalise(version.content) == {
        "kind": "chat",
        "messages": [
            {"role": "system", "content": "You sort tickets."},
            {"role": "user", "content": "{{ customer_name }} of {{ company }} writes: {{ ticket }}"},
        ],
        "model": {"name": "gpt-5-mini", "reasoning_effort": "low", "max_completion_tokens": 400},
        "response": {"format": "json_schema", "name": "route", "strict": True, "schema": {"type": "object"}},
        "tools": [{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}],
    }
    assert version.notes == [
        "customer-name is named customer_name here.",
        "The tool web_search was left out: only functions are part of a prompt here.",
    ]


def test_an_answer_of_openai_says_that_its_variables_are_filled_in():
    answer = {
        "object": "response",
        "id": "resp_1",
        "model": "gpt-5",
        "prompt": {"id": "pmpt_7", "version": "2", "variables": {"name": "Ann"}},
        "instructions": [
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Hi Ann"}]}
        ],
    }

    prompt = only(read_prompts("openai", answer))

    assert (prompt.source, prompt.versions[0].source) == ("pmpt_7", "2")
    assert "filled in already (name)" in prompt.versions[0].notes[0]


def test_versions_of_langfuse_come_oldest_first_and_say_where_they_were_live():
    rows: list[dict[str, Any]] = [
        {"name": "Support/Triage", "version": 10, "type": "text", "prompt": "Two {{x}}", "labels": ["production"]},
        {"name": "Support/Triage", "version": 9, "type": "text", "prompt": "One {{x}}", "commitMessage": "First"},
    ]

    prompt = only(read_prompts("langfuse", "\n".join(map(json.dumps, rows))))

    assert prompt.name == "support.triage"
    assert [
        (version.source, version.message, list(version.labels), version.content["text"]) for version in prompt.versions
    ] == [
        ("9", "First", [], "One {{ x }}"),
        ("10", "Version 10 of the source", ["production"], "Two {{ x }}"),
    ]


def test_a_prompt_of_langfuse_comes_after_those_that_it_includes():
    tag = "@@@langfusePrompt:name=Tone|label=production@@@"
    rows = {
        "data": [
            {"name": "A", "version": 1, "prompt": [{"role": "system", "content": f"{tag} Go."}, PLACEHOLDER]},
            {"name": "Tone", "version": 1, "prompt": "Kind.", "config": {"temperature": 0.2, "team": "x"}},
        ]
    }

    tone, a = read_prompts("langfuse", rows, {"Tone": "shared.tone"})

    assert (tone.name, tone.versions[0].content["model"]) == ("shared.tone", {"temperature": 0.2})
    assert tone.versions[0].notes == ["The setting team was left out: Cuebook does not have it."]
    assert a.versions[0].content["messages"] == [
        {"role": "system", "content": '{% include "shared.tone@latest" %} Go.'},
        {"role": "placeholder", "name": "history"},
    ]


PLACEHOLDER = {"type": "placeholder", "name": "history"}


def test_prompts_of_promptfoo_are_what_the_user_says_or_a_conversation():
    prompts = read_prompts(
        "promptfoo",
        """
prompts:
  - "Sort: {{ticket}}"
  - label: Careful one
    raw: |
      [{"role": "system", "content": "You sort."}, {"role": "user", "content": "{{ticket}}"}]
  - "[note] {{ticket}}"
  - file://prompts/third.txt
tests: []
""",
    )

    assert [prompt.name for prompt in prompts] == ["prompt-1", "careful-one", "prompt-3", "prompt-4"]
    assert prompts[0].versions[0].content["messages"] == [{"role": "user", "content": "Sort: {{ticket}}"}]
    assert [message["role"] for message in prompts[1].versions[0].content["messages"]] == ["system", "user"]
    assert prompts[2].versions[0].content["messages"] == [{"role": "user", "content": "[note] {{ticket}}"}]
    assert prompts[3].refusal
    assert "file of its own" in prompts[3].refusal.detail


def test_versions_of_mlflow_come_out_of_their_tags():
    def tags(**values: str) -> list[dict[str, str]]:
        return [{"key": key.replace("__", "."), "value": value} for key, value in values.items()]

    prompts = read_prompts(
        "mlflow",
        {
            "model_versions": [
                {"name": "sum", "version": "2", "description": "Chat", "tags": tags(
                    mlflow__prompt__text='[{"role": "user", "content": "{{ text }}"}]', _mlflow_prompt_type="chat",
                    _mlflow_prompt_model_config='{"model_name": "gpt-5", "temperature": 0.1}',
                )},
                {"name": "sum", "version": "1", "tags": tags(mlflow__prompt__text="{{ text }} {% raw")},
            ]
        },
    )  # fmt: skip

    first, second = only(prompts).versions
    assert first.content == {"kind": "text", "text": '{{ text }} {{ "{" }}% raw'}
    assert second.content["messages"] == [{"role": "user", "content": "{{ text }}"}]
    assert (second.content["model"], second.message) == ({"name": "gpt-5", "temperature": 0.1}, "Chat")


@pytest.mark.parametrize(
    ("source", "document", "message"),
    [
        ("openai", {"id": "pmpt_1", "input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input_image"),
        ("openai", {"id": "pmpt_1", "input": [{"type": "function_call"}]}, "has no name"),
        ("openai", {"id": "pmpt_1"}, "no messages"),
        ("langfuse", {"name": "x", "versions": [1, 2]}, "ask for each one"),
        ("langfuse", {"name": "x", "prompt": "{{a-b}} {{a_b}}"}, "would both be named a_b"),
        ("mlflow", {"name": "x", "tags": []}, "no template"),
        ("mlflow", {"name": "x", "template": "x", "model_config": "{"}, "not JSON"),
        ("mlflow", {"name": "x", "template": "x", "model_config": '{"\\ud800": 1}'}, "character"),
    ],
)
def test_what_would_be_another_prompt_is_refused(source: str, document: object, message: str):
    assert message in refusal(source, document).detail


@pytest.mark.parametrize(
    ("source", "document"),
    [
        *[("openai", text) for text in ("", "[]", "{", "17", "[1]", "[" * 50_000, "a: &a [*a]")],
        ("openai", '{"id": "a\\u0000", "input": "x"}'),
        ("langfuse", '{"name": "x", "prompt": "x", "commitMessage": "\\ud800"}'),
        ("langfuse", "{name: x, prompt: x, commitMessage: 2024-01-01}"),
        ("promptfoo", "tests: []"),
        ("promptfoo", "{}"),
        ("langfuse", [{"name": "x", "prompt": "y"}] * 201),
        ("openai", "x" * (1024 * 1024 + 1)),
    ],
)
def test_what_is_no_document_is_refused_as_a_whole(source: str, document: object):
    with pytest.raises(Problem) as caught:
        read_prompts(source, document)

    assert caught.value.code == "exchange.unreadable"


def test_odd_variables_of_an_answer_are_passed_over():
    odd = {"object": "response", "input": "x", "prompt": {"id": "pmpt_1", "variables": 5}}
    assert read_prompts("openai", odd)


def test_two_prompts_do_not_get_one_name():
    twins = [{"name": "A b", "prompt": "x"}, {"name": "a-b", "prompt": "y"}]

    assert [prompt.refusal.code if prompt.refusal else "" for prompt in read_prompts("langfuse", twins)] == [
        "prompt.name_taken"
    ] * 2
    assert not any(prompt.refusal for prompt in read_prompts("langfuse", twins, {"A b": "c"}))


@given(st.text(max_size=60))
def test_any_name_becomes_one_that_a_prompt_can_have(name: str):
    assert is_prompt_name(local_name(name))


@given(st.lists(st.sampled_from(["{", "}", "%", "#", "{{", "}}", "{{ a }}", "{{b}}", "{%", "%}", "-", '"', " "])))
def test_a_text_renders_to_itself_with_its_variables_filled_in(parts: list[str]):
    text = "".join(parts)
    filled = text.replace("{{ a }}", "A").replace("{{b}}", "B")

    assert text_of(template(text, Variables()), a="A", b="B") == filled


@pytest.mark.parametrize(
    ("source", "written", "renamed"),
    [
        ('{{"label": "x", "n": 1}}', '{{ "{" }}{{ "{" }}"label": "x", "n": 1}}', {}),
        ("{{名前}} {{имя}} {{größe}}", "{{ 名前 }} {{ имя }} {{ größe }}", {}),
        ("{{user-name}} {{ a b }} {{1x}}", "{{ user_name }} {{ a_b }} {{ v_1x }}", None),
        ("{{#if x}}a{{/if}} {{> part}}", None, {}),
    ],
)
def test_only_names_are_variables_in_any_script(source: str, written: str | None, renamed: Any):
    variables = Variables()

    text = template(source, variables)

    if written is not None:
        assert text == written
    else:
        assert text_of(text) == source
    if renamed is not None:
        assert variables.renamed == renamed


def test_names_in_any_script_are_declared_and_rendered():
    content = normalise(
        {"kind": "text", "text": "{{ größe }} {{ 名前 }}", "variables": {"größe": {"type": "integer"}, "名前": {}}}
    )

    assert render(content, {"größe": 3, "名前": "花"}, {})["text"] == "3 花"


CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"q": "{{user-name}}"}'}}


@pytest.mark.parametrize(
    ("messages", "imported"),
    [
        (
            [
                {"role": "assistant", "content": "", "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "call_1", "content": "{{found}}"},
            ],
            None,
        ),
        # LangChain's
        (
            [
                {"role": "assistant", "tool_calls": [{"name": "look", "args": {"q": "{{user-name}}"}, "id": "call_1"}]},
                {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "{{ found }}"}]},
            ],
            None,
        ),
        # OpenAI Responses'
        (
            [
                {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": '{"q": "{{user-name}}"}'},
                {"type": "function_call_output", "call_id": "call_1", "output": "{{found}}"},
            ],
            None,
        ),
        (
            [
                {"type": "function_call", "call_id": "a", "name": "look", "arguments": "{}"},
                {"type": "function_call", "call_id": "b", "name": "look", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "b", "output": "x"},
                {"type": "function_call_output", "call_id": "a", "output": "y"},
            ],
            ["a", "b"],
        ),
    ],
)
def test_calls_of_tools_and_their_results_come_along(messages: Any, imported: Any):
    member = "input" if "type" in messages[0] else "prompt"
    product = "openai" if member == "input" else "langfuse"

    content = only_content(product, {"name": "x", member: messages})

    if imported is not None:
        assert [call["id"] for call in content["messages"][0]["tool_calls"]] == imported
        return
    written = {**CALL, "function": {"name": "look", "arguments": '{"q": "{{ user_name }}"}'}}
    assert content["messages"] == [
        {"role": "assistant", "tool_calls": [written]},
        {"role": "tool", "tool_call_id": "call_1", "content": "{{ found }}"},
    ]
    assert render(content, {"user_name": "Ann", "found": "yes"}, {})["messages"][0]["tool_calls"][0]["function"] == {
        "name": "look",
        "arguments": '{"q": "Ann"}',
    }


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "{{shot}}", "detail": "low"}},
        {"type": "image_url", "image_url": "{{shot}}", "detail": "low"},
        {"type": "input_image", "image_url": "{{shot}}", "detail": "low"},
    ],
)
def test_images_come_along(part: Any):
    message = {"role": "user", "content": [{"type": "text", "text": "Look: {{q}}"}, part]}

    content = only_content("langfuse", {"name": "x", "prompt": [message]})

    assert content["messages"][0]["content"] == [
        {"type": "text", "text": "Look: {{ q }}"},
        {"type": "image_url", "image_url": {"url": "{{ shot }}", "detail": "low"}},
    ]


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": "", "function_call": {"name": "x"}},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]},
        {"role": "assistant", "content": "", "tool_calls": {"id": "1"}},
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "x"}}]},
        {"type": "reasoning", "summary": []},
    ],
)
def test_what_of_a_message_cannot_be_read_is_refused_and_not_emptied(message: Any):
    assert refusal("langfuse", {"data": [{"name": "x", "prompt": [message]}]}).code == "exchange.unreadable"


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("{{user-name}}", "Name it user_name"),
        ("a\n{{ first-last-name }}", "line 2"),
        ('{{"label": "x", "n": 1}}', "To write {{ as text: {{ '{{' }}"),
        ("\\section{#1} of {#2}", "To write {# as text: {{ '{#' }}"),
    ],
)
def test_what_is_no_variable_by_hand_is_said_in_words(source: str, part: str):
    with pytest.raises(Problem) as refused:
        analyse(source)

    assert refused.value.code == "template.syntax"
    assert part in refused.value.detail


def test_a_subtraction_with_spaces_is_one():
    assert analyse("{{ user - name }} {{ n-1 }}").variables == {"user", "name", "n"}


def test_small_things_of_messages_are_read_as_they_are_meant():
    messages = [
        {"role": "user", "name": "bob", "content": "x", "type": None},
        {"role": "assistant", "content": "Hello."},
        {"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "f", "arguments": ""}}]},
        {"role": "tool", "tool_call_id": CALL["id"], "content": "y"},
    ]
    (version,) = only(read_prompts("langfuse", {"data": [{"name": "x", "prompt": messages}]})).versions

    content = normalise(version.content)["messages"]
    assert [message["role"] for message in content] == ["user", "assistant", "assistant", "tool"]
    assert content[2]["tool_calls"][0]["function"]["arguments"] == "{}"
    assert version.notes == ["The name bob of a message was left out: messages here have none."]


def test_texts_of_parts_do_not_become_a_variable_together():
    prompt = [{"role": "user", "content": [{"type": "text", "text": "{"}, {"type": "text", "text": "{ x }}"}]}]
    source = only(read_prompts("promptfoo", {"prompts": [json.dumps(prompt)]}))

    (message,) = normalise(source.versions[0].content)["messages"]
    assert len(message["content"]) == 2
