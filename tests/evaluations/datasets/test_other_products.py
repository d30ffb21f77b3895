"""Dataset files of other products: nothing is dropped, or read as something else, without a word."""

import json
from pathlib import Path
from typing import Any

import pytest

from evaluations.datasets.files import promptfoo
from evaluations.datasets.files.file_mapping import MAX_NAMES, OTHER_NAMES, FileMapping
from evaluations.datasets.files.formats import format_of, read_rows
from evaluations.datasets.files.row_mapping import Columns


def mapped(tmp_path: Path, data: str, name: str, columns: Columns | None = None) -> tuple[list[Any], dict[str, Any]]:
    (tmp_path / name).write_text(data, encoding="utf-8")
    mapping = FileMapping()
    rows = list(read_rows(tmp_path / name, format_of(name), columns, mapping=mapping))
    assert not [row.fault for row in rows if row.fault]
    return [row.document for row in rows], mapping.as_dict()


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_a_tables_separator_is_found(tmp_path: Path, separator: str):
    data = f'ticket{separator}expected\n"My, invoice; is|wrong"{separator}billing\n'

    cases, mapping = mapped(tmp_path, data, "x.csv")

    assert cases == [{"variables": {"ticket": "My, invoice; is|wrong"}, "expected": "billing"}]
    assert mapping == {"variables": {"ticket": 1}, "expected": {"expected": 1}}


def test_a_table_of_one_column_is_one(tmp_path: Path):
    assert mapped(tmp_path, "ticket\nhello\n", "x.csv")[0] == [{"variables": {"ticket": "hello"}}]


def test_promptfoos_tables_keep_the_answer_and_name_the_rest(tmp_path: Path):
    data = (
        "ticket,__expected,__expected2,__description,__threshold,__metadata:lang\n"
        "Refund,equals: billing,contains: bill,first,0.5,en\n"
        "Bug,technical,,,,\n"
        "Note: hi,is-json,,,,\n"
    )

    cases, mapping = mapped(tmp_path, data, "x.csv")

    assert [case.get("expected") for case in cases] == ["billing", "technical", None]
    assert [case["variables"] for case in cases] == [{"ticket": "Refund"}, {"ticket": "Bug"}, {"ticket": "Note: hi"}]
    assert mapping["left_out"] == {
        "__expected2 (contains)": 1,
        "__description": 1,
        "__threshold": 1,
        "__metadata:lang": 1,
        "__expected (is-json)": 1,
    }


@pytest.mark.parametrize(
    ("row", "case", "left_out"),
    [
        # Langfuse
        (
            {"id": "a", "input": {"ticket": "x"}, "expectedOutput": {"label": "b"}, "metadata": {"k": 1}},
            {"variables": {"ticket": "x"}, "expected": {"label": "b"}},
            {"id": 1, "metadata": 1},
        ),
        ({"ticket": "x", "expectedOutput": "b"}, {"variables": {"ticket": "x"}, "expected": "b"}, None),
        # MLflow
        (
            {"inputs": {"ticket": "x"}, "expectations": {"expected_response": "b"}, "tags": ["t"]},
            {"variables": {"ticket": "x"}, "expected": "b", "tags": ["t"]},
            None,
        ),
        (
            {"inputs": {"ticket": "x"}, "expectations": {"expected_facts": ["b"], "guidelines": "c"}},
            {"variables": {"ticket": "x"}, "expected": {"expected_facts": ["b"], "guidelines": "c"}},
            None,
        ),
        # LangSmith
        (
            {"inputs": {"q": "x"}, "reference_outputs": {"a": "b"}, "outputs": {"a": "c"}},
            {"variables": {"q": "x"}, "expected": {"a": "b"}},
            {"outputs": 1},
        ),
        # promptfoo
        (
            {"vars": {"ticket": "x"}, "assert": [{"type": "contains", "value": "c"}, {"type": "equals", "value": "b"}]},
            {"variables": {"ticket": "x"}, "expected": "b"},
            {"assert (contains)": 1},
        ),
        (
            {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "x"}], "metadata": {}},
            {"variables": {"input": "x"}},
            {"metadata": 1, "messages (instructions, and what follows the last answer)": 1},
        ),
    ],
)
def test_rows_of_other_products(tmp_path: Path, row: Any, case: Any, left_out: Any):
    cases, mapping = mapped(tmp_path, json.dumps(row) + "\n", "x.jsonl")

    assert cases == [case]
    assert mapping.get("left_out") == left_out


def test_columns_that_are_not_wanted_are_left_out_and_named(tmp_path: Path):
    cases, mapping = mapped(tmp_path, "text,team\nhello,billing\n", "x.csv", Columns(left_out=("team",)))

    assert cases == [{"variables": {"text": "hello"}}]
    assert mapping == {"variables": {"text": 1}, "left_out": {"team": 1}}


OTHER_TESTS = """
defaultTest:
  options:
    disableVarExpansion: true
    transform: output.trim()
tests:
  - vars: {answer: no, day: 2026-01-31, at: 12:30, code: 010, list: [a, b]}
    assert:
      - {type: icontains-any, value: "billing, payments", weight: 2}
  - vars: {answer: yes, ticket: file://ticket.txt}
    threshold: 0.5
    options: {prefix: "x"}
    assert:
      - {type: icontains-any, value: "bug"}
"""


def test_promptfoos_files_mean_what_yaml_1_2_says(tmp_path: Path):
    cases, _ = mapped(tmp_path, OTHER_TESTS, "x.yaml")

    assert cases[0]["variables"] == {"answer": "no", "day": "2026-01-31", "at": "12:30", "code": 10, "list": ["a", "b"]}
    assert cases[1]["variables"]["answer"] == "yes"
    assert [case["expected"] for case in cases] == [["billing", "payments"], ["bug"]]


def test_what_promptfoo_would_have_done_besides_is_named():
    plan = promptfoo.plan_assertions(promptfoo.read_document(OTHER_TESTS))

    assert set(plan.left_out) == {
        "icontains-any has other weights or thresholds in some tests; those of the first count for all",
        "threshold of 1 of 2 tests",
        "options.prefix of 1 of 2 tests",
        "the file of the variable ticket of 1 of 2 tests",
        "options.transform of defaultTest",
    }
    elsewhere = promptfoo.plan_assertions(
        promptfoo.read_document("defaultTest: file://x.yaml\ntests: [{vars: {a: b}}]")
    )
    assert list(elsewhere.left_out) == ["defaultTest file://x.yaml: other files are not read"]


def test_a_file_of_tabs_has_tabs_whatever_else_its_names_have(tmp_path: Path):
    cases, _ = mapped(tmp_path, "a,b,c\texpected\nhello\tyes\n", "x.tsv")

    assert cases == [{"variables": {"a,b,c": "hello"}, "expected": "yes"}]


def test_names_without_end_count_under_one():
    mapping = FileMapping()
    for number in range(MAX_NAMES + 5):
        mapping.add(left_out=[f"name{number}"])

    counts = mapping.as_dict()["left_out"]
    assert counts[OTHER_NAMES] == 5
    assert sum(counts.values()) == MAX_NAMES + 5
