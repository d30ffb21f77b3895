"""Examples from files and from pasted text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Problem
from core.examples import Shot
from registry.content.example_file import guard_formula, read_file, read_pasted, write_csv, write_jsonl

NASTY = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30).filter(str.strip)
SHOTS = st.builds(Shot, NASTY, NASTY, st.just(""), st.just(()))


def test_json_lines_and_a_json_list():
    lines = b'{"input": "a", "output": "b"}\n\n{"input": "c", "output": "d", "tags": ["x"]}\n'

    assert read_file(lines, "shots.jsonl") == [Shot("a", "b"), Shot("c", "d", "", ("x",))]
    assert read_file(b'[{"input": "a", "output": "b"}]', "shots.json") == [Shot("a", "b")]


def test_a_table_by_the_names_of_its_columns():
    table = b'\xef\xbb\xbfQuestion,label,Tags\r\n"a, b",billing,"x; y"\r\n,,\r\n'

    assert read_file(table, "shots.csv") == [Shot("a, b", "billing", "", ("x", "y"))]


def test_what_is_copied_from_a_spreadsheet_needs_no_header():
    assert read_pasted("a\tb\nc\td\n") == [Shot("a", "b"), Shot("c", "d")]
    assert read_pasted('{"input": "a", "output": "b"}') == [Shot("a", "b")]


@given(st.lists(SHOTS, max_size=4))
def test_files_are_read_back_as_they_were_written(shots: list[Shot]):
    shots = list(dict.fromkeys(shots))
    normal = read_file("".join(write_jsonl(shots)).encode(), "x.jsonl")

    assert read_file("".join(write_jsonl(normal)).encode(), "x.jsonl") == normal
    assert read_file("".join(write_csv(normal)).encode(), "x.csv") == normal


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@cmd", "'=1"])
def test_a_spreadsheet_never_sees_a_formula(cell: str):
    written = "".join(write_csv([Shot(cell, "b")]))

    assert guard_formula(cell).startswith("'")
    assert f"'{cell}" in written
    assert read_file(written.encode(), "x.csv") == [Shot(cell, "b")]


@pytest.mark.parametrize(
    ("data", "name", "code", "message"),
    [
        (b"\xff\xfe", "x.jsonl", "examples.unreadable", "not UTF-8"),
        (b"a,b\n1,2", "x.csv", "examples.unreadable", "input and output"),
        (b"x", "x.docx", "examples.unreadable", "end in"),
        (b"[1", "x.json", "examples.unreadable", "JSON"),
        (b'{"input": "a", "output": "b"}\n{"input": "a"', "x.jsonl", "examples.invalid", "Line 2"),
        (b"input,output\na,b\nc", "x.csv", "examples.invalid", "Line 3, output"),
        (b"input,output\na,b,c,d", "x.csv", "examples.invalid", "Line 2"),
        (b'input,output\na,"b\n', "x.csv", "examples.unreadable", "Line"),
    ],
)
def test_what_cannot_be_read_is_named_by_its_line(data: bytes, name: str, code: str, message: str):
    with pytest.raises(Problem) as refused:
        read_file(data, name)

    assert refused.value.code == code
    assert message in refused.value.detail
