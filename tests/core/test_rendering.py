"""From content and variables to the provider's request, without limits of time or memory."""

from typing import Any

import pytest

from core.errors import Problem
from core.rendering import analyse_content, render
from registry.content.content_hash import content_hash
from registry.content.normalize import normalise


def chat(*messages: tuple[str, str], **members: Any) -> dict[str, Any]:
    return normalise({"messages": [{"role": role, "content": text} for role, text in messages], **members})


def text_of(source: str, **variables: Any) -> str:
    rendered: str = render(normalise({"kind": "text", "text": source}), variables, {})["text"]
    return rendered


def test_a_chat_becomes_a_request():
    content = chat(
        ("system", "Sort tickets."),
        ("user", "Input: {{ ticket }}"),
        model={"name": "gpt-4o-mini", "temperature": 0.1},
        response={"format": "json_schema", "schema": {"type": "object"}, "strict": True},
        tools=[{"type": "function", "function": {"name": "look_up"}}],
    )

    assert render(content, {"ticket": "It is <down> & out"}, {}) == {
        "messages": [
            {"role": "system", "content": "Sort tickets."},
            {"role": "user", "content": "Input: It is <down> & out"},
        ],
        "model": {"name": "gpt-4o-mini", "temperature": 0.1},
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "response", "strict": True, "schema": {"type": "object"}},
        },
        "tools": [{"type": "function", "function": {"name": "look_up"}}],
    }


@pytest.mark.parametrize(
    ("source", "variables", "text"),
    [
        ("{{ x }}", {"x": "a\n"}, "a\n"),
        ("{{ x }}", {"x": None}, "null"),
        ("{{ x }}", {"x": True}, "true"),
        ("{{ x }}", {"x": 1.5}, "1.5"),
        ("{{ x }}", {"x": {"a": ["é", None]}}, '{"a": ["é", null]}'),
        ("{{ x | tojson }}", {"x": "<a> & 'b'"}, "\"<a> & 'b'\""),
        ("a\n", {}, "a\n"),
        ("{% if x is defined %}{{ x }}{% else %}none{% endif %}", {}, "none"),
        ("{{ x | default('none') }}", {}, "none"),
        ("{% for n in range(2) %}{{ loop.index }}{{ n }} {% endfor %}", {}, "10 21 "),
    ],
)
def test_values_are_written_as_text_or_json(source: str, variables: dict[str, Any], text: str):
    assert text_of(source, **variables) == text


@pytest.mark.parametrize(
    ("source", "variables", "missing"),
    [
        ("{{ nope }}", {}, "nope"),
        ("{{ a.b }}", {"a": {}}, "b"),
        ("{% if nope %}{% endif %}", {}, "nope"),
        ("{% for x in nope %}{% endfor %}", {}, "nope"),
        ("{{ nope | upper }}", {}, "nope"),
        ("{{ nope.a.b }}", {}, "nope"),
        ("{{ 'a' ~ nope }}", {}, "nope"),
        ("{{ nope | tojson }}", {}, "nope"),
        ("{{ [nope] | join }}", {}, "nope"),
        ("{{ [nope] | string }}", {}, "nope"),
        ("{{ [nope] | tojson }}", {}, "nope"),
        ("{{ nope == 1 }}", {}, "nope"),
    ],
)
def test_an_undefined_variable_is_an_error_that_names_it(source: str, variables: dict[str, Any], missing: str):
    with pytest.raises(Problem) as refused:
        text_of(source, **variables)

    assert refused.value.code == "render.missing_variable"
    assert refused.value.members["variable"] == missing


def test_declared_variables_have_defaults_types_and_a_need():
    content = chat(
        ("user", "{{ a }} {{ b }} {{ c }}"),
        variables={"a": {}, "b": {"default": "two"}, "c": {"type": "integer", "required": False}},
    )

    assert render(content, {"a": "one"}, {})["messages"][0]["content"] == "one two null"
    with pytest.raises(Problem, match="a is required"):
        render(content, {}, {})
    with pytest.raises(Problem) as refused:
        render(content, {"a": 1, "b": "x", "c": "y"}, {})
    assert refused.value.code == "render.invalid_variable"
    assert [fault.pointer for fault in refused.value.faults] == ["/variables/a", "/variables/c"]


def test_a_placeholder_takes_the_callers_messages():
    content = normalise(
        {
            "messages": [
                {"role": "placeholder", "name": "history"},
                {"role": "placeholder", "name": "examples"},
                {"role": "user", "content": "And?"},
            ]
        }
    )
    history = [
        {"role": "user", "content": "Hi {{ not_a_template }}"},
        {"role": "assistant", "content": "Hello"},
    ]

    assert render(content, {"history": history}, {})["messages"] == [
        *history,
        {"role": "user", "content": "And?"},
    ]
    assert analyse_content(content).variables == {"history"}
    for wrong in ("text", [{"role": "robot", "content": ""}], [{"role": "user"}], [1]):
        with pytest.raises(Problem) as refused:
            render(content, {"history": wrong}, {})
        assert refused.value.code == "render.invalid_variable"
    with pytest.raises(Problem) as refused:
        render(content, {}, {})
    assert refused.value.code == "render.missing_variable"


def test_each_version_includes_what_it_pinned_itself():
    """`a` and `b` both include `tone`, in different versions."""
    old_tone, new_tone = (normalise({"kind": "text", "text": text}) for text in ("old {{ x }}", "new {{ x }}"))
    old, new = content_hash(old_tone), content_hash(new_tone)
    inner = normalise({"kind": "text", "text": "[{% include 'tone' %}]", "includes": {"tone": old}})
    outer = normalise(
        {
            "kind": "text",
            "text": "{% include 'inner' %} {% include 'tone' %}",
            "includes": {"inner": content_hash(inner), "tone": new},
        }
    )

    rendered = render(outer, {"x": 1}, {old: old_tone, new: new_tone, content_hash(inner): inner})

    assert rendered["text"] == "[old 1] new 1"


def test_a_partials_defaults_hold_where_the_prompt_says_nothing():
    tone = normalise({"kind": "text", "text": "{{ voice }}", "variables": {"voice": {"default": "plain"}}})
    prompt = normalise({"kind": "text", "text": "{% include 'tone' %}", "includes": {"tone": content_hash(tone)}})

    assert render(prompt, {}, {content_hash(tone): tone})["text"] == "plain"
    assert render(prompt, {"voice": "formal"}, {content_hash(tone): tone})["text"] == "formal"


@pytest.mark.parametrize(
    "source",
    ["{{ 'a' + 1 }}", "{{ x | round('a') }}", "{{ 1 | join }}", "{{ {}['a'] - 1 }}", "{{ 5 | dictsort }}"],
)
def test_a_failing_expression_is_the_templates_fault(source: str):
    with pytest.raises(Problem) as refused:
        text_of(source, x=1)

    assert refused.value.code in {"template.failed", "render.missing_variable"}


@pytest.mark.parametrize(
    "source",
    [
        "{{ range }}",
        "{{ '\\ud800' }}",
        "{{ '\\x00' }}",
        "{{ 'ab' | truncate(1, False, 'long') }}",
    ],
)
def test_what_is_no_text_is_not_written(source: str):
    with pytest.raises(Problem) as refused:
        text_of(source, x={})

    assert refused.value.code == "template.failed"
    assert "0x" not in refused.value.detail


def test_filters_that_give_lists_are_written_as_lists():
    assert text_of("{{ xs | map('upper') }} {{ range(3) }}", xs=["a"]) == '["A"] [0, 1, 2]'


def test_a_long_error_is_cut():
    with pytest.raises(Problem) as refused:
        text_of("{{ [1] | map(x) | list }}", x="n" * 100_000)

    assert len(refused.value.detail) < 400


def test_placeholders_count_as_output():
    content = normalise({"messages": [{"role": "placeholder", "name": "history"}] * 3})

    with pytest.raises(Problem) as refused:
        render(content, {"history": [{"role": "user", "content": "x" * 400_000}]}, {})

    assert refused.value.code == "template.too_expensive"


def test_the_output_is_bounded():
    with pytest.raises(Problem) as refused:
        text_of("{% for a in xs %}{{ big }}{% endfor %}", xs=list(range(100)), big="x" * 20_000)

    assert refused.value.code == "template.too_expensive"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ xs | map('upper') | string }}", "['A', 'B']"),
        ("{{ xs | map('upper') ~ '' }}", "['A', 'B']"),
        ("{{ xs | reverse | join }}", "ba"),
        ("{{ order.items }}", "3"),
        ("{{ order['items'] }}", "3"),
    ],
)
def test_no_address_in_memory_is_written(source: str, text: str):
    assert render({"kind": "text", "text": source}, {"xs": ["a", "b"], "order": {"items": 3}}, {})["text"] == text


@pytest.mark.parametrize("source", ["{{ x.upper | string }}", "{{ x['upper'] ~ '' }}", "{{ [x.upper] | join }}"])
def test_a_method_is_no_member(source: str):
    with pytest.raises(Problem) as refused:
        render({"kind": "text", "text": source}, {"x": "a"}, {})

    assert refused.value.code == "render.missing_variable"
