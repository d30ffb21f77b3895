"""Datasets from files of all kinds, and to files."""

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Fault, Problem
from evaluations.datasets.cases import read_case
from evaluations.datasets.files import promptfoo
from evaluations.datasets.files.file_mapping import FileMapping
from evaluations.datasets.files.formats import format_of, read_rows, write_jsonl
from evaluations.datasets.files.row_mapping import Columns, as_case
from evaluations.datasets.files.tables import write_csv
from evaluations.datasets.row import Row
from evaluations.scorers import specs as scoring
from evaluations.scorers.base import Sample
from tests.evaluations.judging import judge

CELL = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)


def rows_of(tmp_path: Path, data: bytes | str, name: str = "x.jsonl", columns: Columns | None = None) -> list[Row]:
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return list(read_rows(path, format_of(name), columns))


def test_lines_of_many_shapes_become_cases(tmp_path: Path):
    lines = [
        {"variables": {"a": "x"}, "expected": "y", "tags": ["t"]},
        {"input": "x", "output": "y"},
        {"text": "x", "label": "spam", "group": "g", "weight": 2},
        {"input": {"a": "x"}, "expected_output": {"b": 1}, "metadata": {"ignored": True}},
        {
            "messages": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": "x"},
                {"role": "assistant", "content": '{"a": 1}'},
            ]
        },
        {"vars": {"a": "x"}},
    ]

    documents = [row.document for row in rows_of(tmp_path, "\n".join(json.dumps(line) for line in lines))]

    assert documents == [
        {"variables": {"a": "x"}, "expected": "y", "tags": ["t"]},
        {"variables": {"input": "x"}, "expected": "y"},
        {"variables": {"text": "x"}, "expected": "spam", "group": "g", "weight": 2},
        {"variables": {"a": "x"}, "expected": {"b": 1}},
        {"variables": {"input": "x"}, "expected": {"a": 1}},
        {"variables": {"a": "x"}},
    ]


def test_a_file_may_call_things_otherwise():
    columns = Columns(expected="team", group="customer", renamed=(("body", "ticket"),))

    assert as_case({"body": "x", "team": "a", "customer": 7}, columns, FileMapping()) == {
        "variables": {"ticket": "x"},
        "expected": "a",
        "group": "7",
    }


def test_a_table_has_its_variables_as_columns(tmp_path: Path):
    table = (
        'ticket,lang,expected,tags,weight,split\n"a, ""b""\nc",de,"{""category"": ""x""}",u;v,2,test\nplain,,text,,,\n'
    )

    rows = rows_of(tmp_path, table, "x.csv")

    assert rows[0].document == {
        "variables": {"ticket": 'a, "b"\nc', "lang": "de"},
        "expected": {"category": "x"},
        "tags": ["u", "v"],
        "weight": 2.0,
        "split": "test",
    }
    assert rows[1].document == {"variables": {"ticket": "plain"}, "expected": "text"}
    assert [row.line for row in rows] == [2, 4]
    assert rows_of(tmp_path, "a\tlabel\nx\ty\n", "x.tsv")[0].document == {"variables": {"a": "x"}, "expected": "y"}


def test_parquet_of_any_types(tmp_path: Path):
    table = pyarrow.table(
        {
            "ticket": ["a", "b"],
            "expected": [{"category": "x"}, None],
            "seen": pyarrow.array([1, 2], pyarrow.date32()),
            "raw": [b"\xff", b"ok"],
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "x.parquet")

    rows = list(read_rows(tmp_path / "x.parquet", "parquet"))

    assert rows[0].document["expected"] == {"category": "x"}
    assert rows[0].document["variables"]["seen"] == "1970-01-02"
    assert rows[1].document == {"variables": {"ticket": "b", "seen": "1970-01-03", "raw": "ok"}}
    with pytest.raises(Problem, match="Parquet"):
        rows_of(tmp_path, b"PAR1 but not really", "y.parquet")


PROMPTFOO = """
defaultTest: {vars: {lang: en}}
tests:
  - description: one
    vars: {question: Hi}
    assert: [{type: contains, value: x}, {type: equals, value: Hello}]
    metadata: {tags: [greeting]}
  - vars: {question: [a, b], lang: [de, fr]}
  - just text
"""


def test_promptfoo_tests():
    rows = list(promptfoo.rows(PROMPTFOO))

    assert rows[0].document == {
        "variables": {"lang": "en", "question": "Hi"},
        "expected": "Hello",
        "tags": ["greeting"],
        "group": "",
    }
    assert [row.document["variables"] for row in rows[1:5]] == [
        {"lang": lang, "question": question} for lang in ("de", "fr") for question in "ab"
    ]
    assert rows[5].fault


@pytest.mark.parametrize("text", ["tests: file.csv", "- [", "{}", "a: &a [*a, *a]"])
def test_a_promptfoo_file_without_tests_is_refused(text: str):
    with pytest.raises(Problem) as refused:
        list(promptfoo.rows(text))
    assert refused.value.code == "dataset.unreadable"


def test_a_promptfoo_file_cannot_stand_for_a_million_tests():
    many = list(range(100))
    rows = list(promptfoo.rows(json.dumps({"tests": [{"vars": {"a": many, "b": many, "c": many}}]})))

    assert len(rows) == 1_001
    assert rows[-1].fault


@pytest.mark.parametrize(
    ("data", "name", "line", "message"),
    [
        (b'{"a": "x"}\n{"a": ', "x.jsonl", 2, "column"),
        (b"[1]\n", "x.jsonl", 0, "one JSON list"),
        (b'{"a": "x"}\n7\n', "x.jsonl", 2, "not a JSON object"),
        (b'{"a": "x"}\n{"a": "\xff"}\n', "x.jsonl", 2, "UTF-8 (column 8)"),
        (b'{"a": NaN}\n', "x.jsonl", 1, "JSON"),
        (b"a,b\n1,2,3\n", "x.csv", 2, "3 columns"),
        (b"a,a\n1,2\n", "x.csv", 0, "same name"),
        (b"\n", "x.csv", 0, "empty"),
        (b"a,weight\nx,heavy\n", "x.csv", 2, "not a number"),
        (b"a\n\xe9\n", "x.csv", 2, "UTF-8"),
    ],
)
def test_a_bad_row_is_named_by_line_and_column(tmp_path: Path, data: bytes, name: str, line: int, message: str):
    if not line:
        with pytest.raises(Problem, match=message):
            rows_of(tmp_path, data, name)
        return
    faulty = next(row for row in rows_of(tmp_path, data, name) if row.fault)

    assert faulty.line == line
    assert faulty.fault
    assert message in f"{faulty.fault.message} {faulty.fault.pointer}"


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path):
    rows = rows_of(tmp_path, b'{"a": "' + b"x" * 9_000_000 + b'"}\n{"a": "y"}\n')

    assert rows[0].fault
    assert rows[0].fault.code == "too_large"
    assert (rows[1].line, rows[1].document) == (2, {"variables": {"a": "y"}})


def test_a_quote_that_is_never_closed_is_a_bad_row(tmp_path: Path):
    assert any(row.fault for row in rows_of(tmp_path, 'a,b\n"x,y\nz,w\n', "x.csv"))


def test_an_unknown_kind_of_file_is_refused():
    with pytest.raises(Problem, match="parquet"):
        format_of("tickets.xlsx")


@given(st.lists(st.tuples(CELL.filter(str.strip), CELL), max_size=4))
def test_json_lines_are_read_back_as_they_were(tmp_path_factory: Any, rows: list[tuple[str, str]]):
    path = tmp_path_factory.mktemp("rows") / "x.jsonl"
    documents = [{"variables": {"a": first, "b": other}, "expected": other, "split": "test"} for first, other in rows]

    path.write_text("".join(write_jsonl(documents)), encoding="utf-8")

    assert [row.document for row in read_rows(path, "jsonl")] == documents


@pytest.mark.parametrize("cell", ["=1+1", "'=1", "-", "plain", 'a "quote"\nand a line'])
def test_a_table_is_read_back_and_no_formula_is_in_it(tmp_path: Path, cell: str):
    document = {
        "variables": {"a": cell},
        "expected": {"x": 1},
        "label": "l",
        "tags": ["u", "v"],
        "weight": 2.0,
        "split": "test",
    }

    written = "".join(write_csv([document], ["a"]))
    rows = rows_of(tmp_path, written, "x.csv")

    assert not any(line.startswith(("=", "-")) for line in written.splitlines())
    assert rows[0].document == document


def test_what_is_exported_has_the_digest_of_what_was_imported(tmp_path: Path):
    faults: list[Fault] = []
    document = {"variables": {"a": "x"}, "expected": "y", "tags": ["t"], "group": "g", "weight": 2, "split": "test"}
    before = read_case(document, faults)
    assert before

    (row,) = rows_of(tmp_path, "".join(write_jsonl([document])))
    after = read_case(row.document, faults)

    assert after
    assert after.digest == before.digest


# --- Assertions of promptfoo -----------------------------------------------------------------------------------------

ASSERTED = """
defaultTest:
  assert: [{type: latency, threshold: 900}, {type: llm-rubric, value: is polite}]
tests:
  - vars: {q: a}
    assert: [{type: icontains, value: refund, weight: 2}, {type: is-json}, {type: not-contains, value: sorry}]
  - vars: {q: b}
    assert:
      - {type: icontains, value: invoice}
      - {type: is-json}
      - {type: not-contains, value: sorry}
      - {type: python, value: x}
  - vars: {q: c}
    assert: [{type: assert-set, assert: [{type: is-json}, {type: not-contains, value: sorry}]}]
"""


def test_shared_assertions_are_scorers_and_one_kind_of_values_is_what_is_expected():
    plan = promptfoo.plan_assertions(promptfoo.read_document(ASSERTED))

    assert plan.own == "icontains"
    assert [row.document["expected"] for row in promptfoo.rows(ASSERTED)] == ["refund", "invoice", None]
    specs = {spec.name: spec for spec in scoring.read_specs(list(plan.scorers))}
    assert list(specs) == ["latency", "is-json", "not-contains", "icontains"]
    assert specs["latency"].threshold == 900
    assert (specs["not-contains"].negate, specs["not-contains"].parameters["texts"]) == (True, ["sorry"])
    assert specs["icontains"].weight == 2
    assert "texts" not in specs["icontains"].parameters
    assert plan.left_out == [
        'llm-rubric "is polite" asks a model by a rubric: register the rubric as a prompt, and use the scorer judge',
        "icontains has other weights or thresholds in some tests; those of the first count for all",
        'python "x" judges 1 of 3 tests; a scorer judges every case',
    ]


@pytest.mark.parametrize(
    ("assertion", "output", "expected", "passes"),
    [
        ({"type": "equals"}, "a", "a", True),
        ({"type": "not-equals"}, "a", "a", False),
        ({"type": "contains-any", "value": ["x", "y"]}, "has y", None, True),
        ({"type": "contains-all", "value": ["x", "y"]}, "has y", None, False),
        ({"type": "contains-all"}, "x and y", ["x", "y"], True),
        ({"type": "contains", "value": "Refund"}, "refund", None, False),
        ({"type": "icontains", "value": "Refund"}, "refund", None, True),
        ({"type": "starts-with", "value": "a.b"}, "a.b c", None, True),
        ({"type": "starts-with", "value": "a.b"}, "axb", None, False),
        ({"type": "regex", "value": "^\\d+$"}, "12", None, True),
        ({"type": "is-json", "value": {"type": "object", "required": ["a"]}}, '{"a": 1}', None, True),
        ({"type": "is-json"}, "no", None, False),
        ({"type": "not-is-refusal"}, "Here you are.", None, True),
        ({"type": "contains-any", "value": "x, y"}, "has y", None, True),
        ({"type": "is-json", "value": "{type: array}"}, "[1]", None, True),
    ],
)
def test_an_assertion_judges_under_its_own_name(assertion: Any, output: str, expected: Any, passes: bool):
    specs = scoring.read_specs([assertion])

    judged = judge(Sample(output=output, expected=expected), specs)

    assert judged.passed is passes


@pytest.mark.parametrize(
    "assertion",
    [
        {"type": "python", "value": "1"},
        {"type": "equals", "value": "a"},
        {"type": 7},
        {"type": "levenshtein", "threshold": 5},
        {"type": "not-similar", "threshold": 0.75},
        {"type": "contains", "value": "{{ name }}"},
        {"type": "is-json", "value": "file://schema.json"},
        {"type": "contains", "value": "x", "transform": "output.trim()"},
        {"type": "rouge-n"},
    ],
)
def test_what_cannot_be_mapped_is_refused_at_its_place(assertion: Any):
    with pytest.raises(Problem) as refused:
        scoring.read_specs(["exact", assertion])

    assert refused.value.faults[0].pointer == "/scorers/1/type"


def dictionary_of_one(size: int, rows: int) -> pyarrow.Table:
    """A column that has one text in every row, once in memory and in the file."""
    indices = pyarrow.array([0] * rows, pyarrow.int32())
    return pyarrow.table({"ticket": pyarrow.DictionaryArray.from_arrays(indices, ["x" * size])})


def test_a_small_parquet_file_cannot_take_the_hosts_memory(tmp_path: Path):
    """One KB that stands for gigabytes: one value of 24 MB, 640 times."""
    file = tmp_path / "bomb.parquet"
    pyarrow.parquet.write_table(dictionary_of_one(24 * 2**20, 640), file, compression="zstd")
    assert file.stat().st_size < 20_000

    with pytest.raises(Problem, match="memory") as refused:
        list(read_rows(file, "parquet"))

    assert refused.value.code == "dataset.unreadable"


def test_a_row_of_parquet_that_is_too_large_is_named(tmp_path: Path):
    pyarrow.parquet.write_table(dictionary_of_one(3 * 2**20, 3), tmp_path / "large.parquet")

    rows = list(read_rows(tmp_path / "large.parquet", "parquet"))

    assert [row.line for row in rows] == [1, 2, 3]
    assert {row.fault.code for row in rows if row.fault} == {"too_large"}
