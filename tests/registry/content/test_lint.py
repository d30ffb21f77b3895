"""Hints for authors: each rule where it should speak, and where it should not."""

from typing import Any

import pytest

from registry.content.lint import Subject, lint, refused_examples
from registry.content.normalize import normalise


def lint_codes(
    document: dict[str, Any], *, used: set[str] = frozenset(), tokens: int = 10, inherited: set[str] = frozenset()
):  # type: ignore[assignment]
    content = normalise(document)
    subject = Subject(content, frozenset(used), tokens, frozenset(inherited), refused_examples(content))
    return {finding.code: finding for finding in lint(subject)}


def chat(*texts: str, **members: Any) -> dict[str, Any]:
    return {"messages": [{"role": "system", "content": text} for text in texts], **members}


def test_a_clean_prompt_has_no_finding():
    assert lint_codes(chat("Sort {{ ticket }}.", variables={"ticket": {}}), used={"ticket"}) == {}


def test_an_unused_and_an_undeclared_variable():
    findings = lint_codes(chat("{{ b }}", variables={"a": {}}), used={"b"})

    assert findings["variable.unused"].pointer == "/variables/a"
    assert "b is used" in findings["variable.undeclared"].message


def test_what_a_partial_declares_need_not_be_declared_again():
    assert lint_codes(chat("x"), used={"company"}, inherited={"company"}) == {}


def calling(arguments: str) -> dict[str, Any]:
    tool_call = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": arguments}}
    return {
        "messages": [
            {"role": "assistant", "tool_calls": [tool_call]},
            {"role": "tool", "tool_call_id": "c1", "content": "none"},
        ]
    }


@pytest.mark.parametrize(
    ("arguments", "is_told"),
    [
        ('{"query": "{{ ticket }}"}', True),
        ('{"query": "about {{ ticket }}"}', True),
        ('{"query": {{ ticket | tojson }}}', False),
        ('{"a": "b", "query": {{ ticket | tojson }}}', False),
        ('{"count": {{ count }}}', False),
        ('{"a": "x", "b": {"query": " \\" {{- ticket.text }}"}}', True),
    ],
)
def test_a_variable_between_quotation_marks_of_arguments(arguments: str, is_told: bool):
    assert ("tool.unescaped" in lint_codes(calling(arguments), used={"ticket"})) == is_told


SCHEMA = {"format": "json_schema", "schema": {"type": "object", "properties": {"a": {"type": "string"}}}}


@pytest.mark.parametrize(
    ("text", "response", "code", "line"),
    [
        ("Sort.\nAnswer in plain text.", SCHEMA, "format.contradiction", 2),
        ("Reply with a markdown table.", {"format": "json_object"}, "format.contradiction", 1),
        ("Answer with JSON.\nReturn YAML.", {}, "format.contradiction", 2),
        ("Output strictly valid JSON.", {}, "format.unenforced", 1),
        ("Answer.", {"format": "json_object"}, "format.json_unnamed", None),
    ],
)
def test_format_instructions_that_contradict(text: str, response: dict[str, Any], code: str, line: int | None):
    finding = lint_codes(chat(text, response=response))[code]

    assert finding.line == line


@pytest.mark.parametrize(
    ("text", "response"),
    [
        ("Answer with JSON only.", SCHEMA),
        ("The input may be markdown or XML.", SCHEMA),
        ("Write the reply.", {}),
        ("Answer with JSON.", {"format": "json_object"}),
    ],
)
def test_format_instructions_that_agree(text: str, response: dict[str, Any]):
    assert not [code for code in lint_codes(chat(text, response=response)) if code.startswith("format.")]


@pytest.mark.parametrize(("tokens", "speaks"), [(2_000, False), (2_001, True)])
def test_more_than_two_thousand_tokens_asks_for_fine_tuning(tokens: int, speaks: bool):
    assert ("size.tokens" in lint_codes(chat("x"), tokens=tokens)) is speaks


@pytest.mark.parametrize(("pairs", "speaks"), [(5, False), (6, True)])
def test_more_than_five_examples_asks_for_fine_tuning(pairs: int, speaks: bool):
    shots = [{"role": role, "content": f"{role} {n}"} for n in range(pairs) for role in ("user", "assistant")]
    document = {"messages": [*shots, {"role": "user", "content": "x"}]}

    assert ("size.examples" in lint_codes(document)) is speaks


def test_a_sentence_that_stands_twice():
    text = "If two categories fit, choose the one that blocks the customer."

    assert lint_codes(chat(f"{text}\nBe brief.\n{text}"))["text.repeated"].line == 3
    assert lint_codes(chat("Answer.\nAnswer.")) == {}


@pytest.mark.parametrize(
    ("answer", "why"),
    [('{"a": 1}', "is not of type"), ("incident", "no JSON"), ('{"a": "x"}', None), ("{{ shot }}", None)],
)
def test_an_example_that_the_schema_refuses(answer: str, why: str | None):
    shots = [("user", "q"), ("assistant", answer), ("user", "q2")]
    document = {"messages": [{"role": role, "content": text} for role, text in shots], "response": SCHEMA}

    finding = lint_codes(document).get("example.invalid")

    assert (finding is None) if why is None else (finding is not None and why in finding.message)


def test_an_answer_that_the_model_goes_on_with_is_no_example():
    shots = [("user", "q"), ("assistant", "{")]

    assert not lint_codes({"messages": [{"role": role, "content": text} for role, text in shots], "response": SCHEMA})


def test_a_strict_schema_leaves_nothing_open():
    strict = {**SCHEMA, "strict": True}
    assert lint_codes(chat("x", response=strict))["schema.not_strict"].pointer == "/response/schema"

    closed = {"type": "object", "additionalProperties": False, "properties": {"a": {}}, "required": ["a"]}
    assert lint_codes(chat("x", response={**strict, "schema": closed})) == {}


@pytest.mark.parametrize("pattern", ["(a+)+$", "(?=x)"])
def test_a_schema_cannot_make_linting_slow_or_fail(pattern: str):
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}}}
    shots = [("user", "q"), ("assistant", '{"a": "' + "a" * 5_000 + '!"}'), ("user", "q")]
    document = {
        "messages": [{"role": role, "content": text} for role, text in shots],
        "response": {"format": "json_schema", "schema": schema},
    }

    lint_codes(document)


def test_a_schema_is_never_fetched():
    schema = {"$ref": "http://127.0.0.1:9/schema.json"}
    shots = [("user", "q"), ("assistant", "{}"), ("user", "q")]
    document = {"kind": "chat", "messages": [{"role": role, "content": text} for role, text in shots]}

    assert refused_examples({**document, "response": {"format": "json_schema", "schema": schema}}) == []


@pytest.mark.parametrize(
    "schema",
    [
        {"const": {"properties": 5, "additionalProperties": False}},
        {"const": {"type": "object", "required": [[1]], "additionalProperties": False}},
        {
            "type": "object",
            "additionalProperties": False,
            "properties": {"properties": {"type": "string"}},
            "required": ["properties"],
        },
        {"enum": [{"type": "object"}]},
    ],
)
def test_what_only_looks_like_a_schema_is_none(schema: dict[str, Any]):
    assert lint_codes(chat("x", response={"format": "json_schema", "strict": True, "schema": schema})) == {}


def test_a_message_that_says_nothing():
    assert lint_codes(chat("x", " "))["text.empty"].pointer == "/messages/1/content"
