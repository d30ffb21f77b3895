"""Faults of training files, each with its file, line and rule."""

import base64
import json
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetunes.providers import curves, jsonl
from finetunes.providers.jsonl import Method, encode_file, preference_line, supervised_line
from finetunes.training_sets import advisories, estimates, validation
from finetunes.training_sets.estimates import Hyperparameters, automatic_epochs, estimate_training
from finetunes.training_sets.validation import Limits, validate
from registry.prompts import versions

USER = {"role": "user", "content": "hello"}
ANSWER = {"role": "assistant", "content": "hi"}


def lines(count: int = 12) -> list[Any]:
    return [
        supervised_line([{"role": "user", "content": f"question {number}"}], f"{number}") for number in range(count)
    ]


def raw(*rows: Any) -> bytes:
    return encode_file(lines()) + b"".join(
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
        ({"messages": [{"content": "x"}, ANSWER]}, "message_missing_key"),
        ({"messages": [USER, {**ANSWER, "mood": "good"}]}, "message_unrecognized_key"),
        ({"messages": [{"role": "human", "content": "x"}, ANSWER]}, "unrecognized_role"),
        ({"messages": [USER, {"role": "assistant", "content": 5}]}, "missing_content"),
        ({"messages": [USER, {"role": "assistant", "content": ""}]}, "missing_content"),
        ({"messages": [{**USER, "weight": 1}, ANSWER]}, "bad_weight"),
        ({"messages": [USER, {**ANSWER, "weight": 0.5}]}, "bad_weight"),
        ({"messages": [USER]}, "example_missing_assistant_message"),
        ({"messages": [ANSWER, USER]}, "last_not_assistant"),
        ({"messages": [USER, {**ANSWER, "weight": 0}]}, "nothing_learned"),
        ({"messages": [{"role": "system", "content": "x"}, ANSWER]}, "missing_user"),
        ({"messages": [{"role": "user", "content": "question 3"}, ANSWER]}, "contradiction"),
        (lines()[3], "repeated"),
    ],
)
def test_each_rule_names_its_line(row: Any, rule: str):
    verdict = validate({"train": raw(row)}, Method.SUPERVISED)

    assert set(verdict.counts) == {rule}
    (finding,) = verdict.findings
    assert (finding.file, finding.line, finding.rule) == ("train", 13, rule)


def test_good_files_have_no_fault_and_too_few_examples_are_one():
    assert validate({"train": raw()}, Method.SUPERVISED).errors == 0
    few = validate({"train": encode_file(lines(9))}, Method.SUPERVISED)
    assert [(finding.rule, finding.line) for finding in few.findings] == [("too_few", None)]


def test_questions_in_both_files_or_in_the_test_split_block():
    files = {"train": raw(), "validation": encode_file(lines(2))}

    overlap = validate(files, Method.SUPERVISED)
    tested = validate(files | {"validation": b""}, Method.SUPERVISED, test_inputs=lambda question: "5" in str(question))

    assert [(finding.file, finding.line) for finding in overlap.findings if finding.rule == "overlap"] == [
        ("validation", 1),
        ("validation", 2),
    ]
    assert [finding.line for finding in tested.findings if finding.rule == "test_leak"] == [6]
    assert overlap.errors == 2


def test_answers_are_checked_against_the_schema_and_lines_against_the_models_length():
    schema = {"type": "object", "required": ["category"], "properties": {"category": {"enum": ["a", "b"]}}}
    rows = [supervised_line([{"role": "user", "content": f"{n}"}], '{"category":"a"}') for n in range(11)]
    bad = supervised_line([{"role": "user", "content": "x " * 300}], '{"category":"z"}')

    verdict = validate(
        {"train": encode_file([*rows, bad])},
        Method.SUPERVISED,
        violations=partial(versions.renderer_pool().violations, schema),
        limits=Limits(vocabulary_of="gpt-4o-mini", max_tokens=100),
    )

    assert verdict.counts == {"schema": 1, "too_long": 1}
    assert verdict.is_exact
    assert {finding.line for finding in verdict.findings} == {12}


def test_pairs_need_two_different_answers():
    good = [preference_line([{"role": "user", "content": f"{n}"}], "yes", "no") for n in range(10)]
    bad = preference_line([USER], "same", "same")

    verdict = validate({"train": encode_file([*good, bad, {"input": {"messages": [USER]}}])}, Method.PREFERENCE)

    assert [(finding.line, finding.rule) for finding in verdict.findings] == [(11, "bad_pair"), (12, "bad_pair")]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_get_a_verdict(data: bytes):
    for method in Method:
        assert validate({"train": data}, method).errors >= 1


@pytest.mark.parametrize(("examples", "epochs"), [(10, 10), (20, 5), (33, 3), (100, 3), (10_000, 2), (30_000, 1)])
def test_epochs_are_chosen_as_the_cookbook_does(examples: int, epochs: int):
    assert automatic_epochs(examples) == epochs


def test_costs_are_of_the_tokens_read_and_nothing_is_invented():
    estimate = estimate_training([50, 50, 200], Hyperparameters(), is_exact=True, max_tokens=100, price=Decimal(3))

    assert (estimate.tokens, estimate.trained_tokens, estimate.steps) == (200, 600, 3)
    assert estimate.cost_usd == Decimal(3) * 600 / 1_000_000
    assert estimate.seconds is None
    assert estimate_training([1], Hyperparameters(), is_exact=False).cost_usd is None
    assert estimates.max_example_tokens("ft:gpt-4o-mini-2024-07-18:acme::x") == 65_536
    assert estimates.max_example_tokens("gemma") is None


def test_narrow_data_and_many_epochs_have_advisories():
    def keys(examples: int, hyperparameters: Hyperparameters, epochs: int) -> list[str]:
        return [
            advisory.key
            for advisory in advisories.setting_advisories(examples, hyperparameters, epochs, has_general=True)
        ]

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

    assert advisories.knowledge_advisory(facts) is not None
    assert advisories.knowledge_advisory(style) is None
    assert advisories.knowledge_advisory([("a", "billing")] * 100) is None


def test_results_are_read_by_their_header_and_out_of_base64():
    table = b"step,train_loss,full_valid_loss,train_mean_token_accuracy\r\n1,1.5,,0.5\r\n2,nan,0.9,\r\nx,1,1,1\r\n"

    for data in (table, base64.b64encode(table)):
        points = curves.read_csv(data)
        assert [(point.step, dict(point.values)) for point in points] == [
            (1, {"train_loss": 1.5, "train_accuracy": 0.5}),
            (2, {"valid_loss": 0.9}),
        ]
    with pytest.raises(ValueError, match="step"):
        curves.read_csv(b"<html>")
    many = [curves.CurvePoint(step, {"train_loss": 1.0}) for step in range(1_000)]
    assert len(curves.thin_points(many, 100)) <= 100
    assert curves.thin_points(many, 100)[-1].step == 999


def test_tools_count_as_well_and_lines_of_any_members_have_a_length():
    plain = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    tools = [{"type": "function", "function": {"name": "look", "description": "word " * 200}}]

    count = validation.line_tokens({**plain, "tools": tools}, "gpt-4o")

    assert count.tokens > validation.line_tokens(plain, "gpt-4o").tokens + 200
    assert not count.is_exact
    assert validation.line_tokens({**plain, "input": "x"}, "gpt-4o").is_exact
    assert jsonl.answer_text({"a": {"c": 1, "b": 2}}, {"properties": {"a": True}}) == '{"a":{"b":2,"c":1}}'
