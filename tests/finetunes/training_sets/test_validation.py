"""What is wrong with training files: each fault by file, line and rule."""

import base64
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetunes.providers import curves, jsonl
from finetunes.providers.jsonl import Method, joined, preference, supervised
from finetunes.training_sets import advisories, estimates, validation
from finetunes.training_sets.estimates import Hyperparameters, automatic_epochs, estimated
from finetunes.training_sets.validation import Limits, validate

USER = {"role": "user", "content": "hello"}
SAID = {"role": "assistant", "content": "hi"}


def lines(count: int = 12) -> list[Any]:
    return [supervised([{"role": "user", "content": f"question {number}"}], f"{number}") for number in range(count)]


def raw(*rows: Any) -> bytes:
    return joined(lines()) + b"".join(
        (row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows
    )


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        (b"{not json", "unreadable"),
        (b"\xff\xfe", "unreadable"),
        ([1], "data_type"),
        ({"prompt": "x"}, "missing_messages_list"),
        ({"messages": []}, "missing_messages_list"),
        ({"messages": [{"content": "x"}, SAID]}, "message_missing_key"),
        ({"messages": [USER, {**SAID, "mood": "good"}]}, "message_unrecognized_key"),
        ({"messages": [{"role": "human", "content": "x"}, SAID]}, "unrecognized_role"),
        ({"messages": [USER, {"role": "assistant", "content": 5}]}, "missing_content"),
        ({"messages": [USER, {"role": "assistant", "content": ""}]}, "missing_content"),
        ({"messages": [{**USER, "weight": 1}, SAID]}, "bad_weight"),
        ({"messages": [USER, {**SAID, "weight": 0.5}]}, "bad_weight"),
        ({"messages": [USER]}, "example_missing_assistant_message"),
        ({"messages": [SAID, USER]}, "last_not_assistant"),
        ({"messages": [USER, {**SAID, "weight": 0}]}, "nothing_learned"),
        ({"messages": [{"role": "system", "content": "x"}, SAID]}, "missing_user"),
        ({"messages": [{"role": "user", "content": "question 3"}, SAID]}, "contradiction"),
        (lines()[3], "repeated"),
    ],
)
def test_each_rule_names_its_line(row: Any, rule: str):
    verdict = validate({"train": raw(row)}, Method.SUPERVISED)

    assert set(verdict.counts) == {rule}
    (found,) = verdict.findings
    assert (found.file, found.line, found.rule) == ("train", 13, rule)


def test_good_files_have_no_fault_and_too_few_examples_are_one():
    assert validate({"train": raw()}, Method.SUPERVISED).errors == 0
    few = validate({"train": joined(lines(9))}, Method.SUPERVISED)
    assert [(one.rule, one.line) for one in few.findings] == [("too_few", None)]


def test_what_is_on_both_sides_or_is_tested_blocks():
    files = {"train": raw(), "validation": joined(lines(2))}

    overlap = validate(files, Method.SUPERVISED)
    tested = validate(files | {"validation": b""}, Method.SUPERVISED, test_inputs=lambda asked: "5" in str(asked))

    assert [(one.file, one.line) for one in overlap.findings if one.rule == "overlap"] == [
        ("validation", 1),
        ("validation", 2),
    ]
    assert [one.line for one in tested.findings if one.rule == "test_leak"] == [6]
    assert overlap.errors == 2


def test_answers_are_held_against_the_schema_and_lines_against_the_models_length():
    schema = {"type": "object", "required": ["category"], "properties": {"category": {"enum": ["a", "b"]}}}
    rows = [supervised([{"role": "user", "content": f"{n}"}], '{"category":"a"}') for n in range(11)]
    bad = supervised([{"role": "user", "content": "x " * 300}], '{"category":"z"}')

    verdict = validate(
        {"train": joined([*rows, bad])},
        Method.SUPERVISED,
        schema=schema,
        limits=Limits(vocabulary_of="gpt-4o-mini", longest=100),
    )

    assert verdict.counts == {"schema": 1, "too_long": 1}
    assert verdict.is_exact
    assert {one.line for one in verdict.findings} == {12}


def test_pairs_need_two_different_answers():
    good = [preference([{"role": "user", "content": f"{n}"}], "yes", "no") for n in range(10)]
    bad = preference([USER], "same", "same")

    verdict = validate({"train": joined([*good, bad, {"input": {"messages": [USER]}}])}, Method.PREFERENCE)

    assert [(one.line, one.rule) for one in verdict.findings] == [(11, "bad_pair"), (12, "bad_pair")]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_get_a_verdict(data: bytes):
    for method in Method:
        assert validate({"train": data}, method).errors >= 1


@pytest.mark.parametrize(("examples", "epochs"), [(10, 10), (20, 5), (33, 3), (100, 3), (10_000, 2), (30_000, 1)])
def test_epochs_are_chosen_as_the_cookbook_does(examples: int, epochs: int):
    assert automatic_epochs(examples) == epochs


def test_money_is_of_what_is_read_and_nothing_is_made_up():
    found = estimated([50, 50, 200], Hyperparameters(), is_exact=True, longest=100, price=Decimal(3))

    assert (found.tokens, found.trained_tokens, found.steps) == (200, 600, 3)
    assert found.cost_usd == Decimal(3) * 600 / 1_000_000
    assert found.seconds is None
    assert estimated([1], Hyperparameters(), is_exact=False).cost_usd is None
    assert estimates.longest_example("ft:gpt-4o-mini-2024-07-18:acme::x") == 65_536
    assert estimates.longest_example("gemma") is None


def test_narrow_data_and_many_epochs_are_warned_of():
    def keys(examples: int, given: Hyperparameters, epochs: int) -> list[str]:
        return [one.key for one in advisories.warnings(examples, given, epochs, has_general=True)]

    assert keys(300, advisories.DEFAULTS, 3) == []
    assert keys(30, Hyperparameters(n_epochs=10), 10) == ["forgetting"]
    assert keys(300, Hyperparameters(learning_rate_multiplier=5.0), 3) == ["rate"]


def test_facts_that_questions_do_not_have_look_like_knowledge():
    facts = [
        (f"Who leads plant {n}?", f"The plant is led by Berta Quill{n}, reachable at extension {4000 + n}.")
        for n in range(20)
    ]
    style = [
        (f"Order {4000 + n} is late", f"We are sorry that your order {4000 + n} has not reached you yet.")
        for n in range(20)
    ]

    assert advisories.knowledge(facts) is not None
    assert advisories.knowledge(style) is None
    assert advisories.knowledge([("a", "billing")] * 100) is None


def test_results_are_read_by_their_header_and_out_of_base64():
    table = b"step,train_loss,full_valid_loss,train_mean_token_accuracy\r\n1,1.5,,0.5\r\n2,nan,0.9,\r\nx,1,1,1\r\n"

    for data in (table, base64.b64encode(table)):
        points = curves.read_csv(data)
        assert [(one.step, dict(one.values)) for one in points] == [
            (1, {"train_loss": 1.5, "train_accuracy": 0.5}),
            (2, {"valid_loss": 0.9}),
        ]
    with pytest.raises(ValueError, match="step"):
        curves.read_csv(b"<html>")
    many = [curves.Point(step, {"train_loss": 1.0}) for step in range(1_000)]
    assert len(curves.thinned(many, 100)) <= 100
    assert curves.thinned(many, 100)[-1].step == 999


def test_tools_count_as_well_and_lines_of_any_members_have_a_length():
    plain = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    tools = [{"type": "function", "function": {"name": "look", "description": "word " * 200}}]

    found = validation.line_tokens({**plain, "tools": tools}, "gpt-4o")

    assert found.tokens > validation.line_tokens(plain, "gpt-4o").tokens + 200
    assert not found.is_exact
    assert validation.line_tokens({**plain, "input": "x"}, "gpt-4o").is_exact
    assert jsonl.answer_text({"a": {"c": 1, "b": 2}}, {"properties": {"a": True}}) == '{"a":{"b":2,"c":1}}'
