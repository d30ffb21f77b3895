"""What columns of a file are, as a user says it, and the preview of what that makes of the file."""

from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from django.core.management import call_command
from rest_framework.test import APIClient

from core.errors import Problem
from evaluations.datasets import imports
from evaluations.datasets.files.column_uses import read_uses
from evaluations.datasets.files.file_preview import preview_file
from evaluations.datasets.files.formats import format_of, read_rows
from evaluations.datasets.files.row_mapping import Columns
from evaluations.models import Case, Dataset, DatasetImport
from tests.conftest import Stage
from tests.evaluations.datasets.test_other_products import mapped

TABLE = "id,text,answer,team,expected\n1,hello,billing,red;blue,old\n2,bye,login,,older\n"


@pytest.mark.parametrize(
    ("uses", "first", "left_out"),
    [
        (
            {"id": "leave_out", "text": "input", "answer": "expected", "team": "tag"},
            {"variables": {"input": "hello"}, "expected": "billing", "tags": ["red;blue"]},
            {"id": 2, "expected": 2},
        ),
        (
            {"text": "variable:ticket", "answer": "variable", "team": "group"},
            {"variables": {"id": "1", "ticket": "hello", "answer": "billing"}, "expected": "old", "group": "red;blue"},
            None,
        ),
    ],
)
def test_columns_are_what_a_user_says(tmp_path: Path, uses: Any, first: Any, left_out: Any):
    cases, mapping = mapped(tmp_path, TABLE, "x.csv", Columns(uses=read_uses(uses)))

    assert cases[0] == first
    assert mapping.get("left_out") == left_out


def test_a_column_whose_name_another_one_takes_is_left_out_by_name(tmp_path: Path):
    cases, mapping = mapped(tmp_path, "input,text\nold,new\n", "x.csv", Columns(uses=read_uses({"text": "input"})))

    assert cases == [{"variables": {"input": "new"}}]
    assert mapping == {"variables": {"input": 1}, "left_out": {"input": 1}}


def test_json_lines_are_mapped_too(tmp_path: Path):
    line = '{"question": "x", "team": "red", "meta": {"a": 1}, "expected": {"category": "b"}}\n'
    uses = read_uses({"question": "input", "team": "tag", "meta": "leave_out"})

    cases, mapping = mapped(tmp_path, line, "x.jsonl", Columns(uses=uses))

    assert cases == [{"variables": {"input": "x"}, "expected": {"category": "b"}, "tags": ["red"]}]
    assert mapping == {
        "variables": {"input": 1},
        "expected": {"expected": 1},
        "tags": {"team": 1},
        "left_out": {"meta": 1},
    }


@pytest.mark.parametrize(
    ("uses", "message"),
    [
        ({"a": "other"}, "must be one of"),
        ({"a": 1}, "must be one of"),
        ({"a": "variable:"}, "must be one of"),
        ({"a": "expected", "b": "expected"}, "Only one column can be expected"),
        ({"a": "input", "b": "variable:input"}, "Two columns would be the variable input"),
        ({f"c{n}": "tag" for n in range(201)}, "At most 200 columns"),
    ],
)
def test_what_contradicts_itself_is_refused(uses: Any, message: str):
    with pytest.raises(Problem) as refused:
        read_uses(uses)

    assert (refused.value.code, message in refused.value.detail) == ("request.invalid", True)


def test_a_preview_shows_columns_cases_and_rows_that_cannot_be_read(tmp_path: Path):
    path = tmp_path / "x.csv"
    path.write_text(f"{TABLE}3,a,b,c,d,too many\n")

    preview = preview_file(path, "csv", Columns())

    assert [(column.name, column.use, column.read_as) for column in preview.columns] == [
        ("id", "", "variables"),
        ("text", "", "variables"),
        ("answer", "", "variables"),
        ("team", "", "variables"),
        ("expected", "", "expected"),
    ]
    assert list(preview.columns[1].samples) == ["hello", "bye"]
    assert preview.cases[0]["expected"] == "old"
    assert [(line, fault.code) for line, fault in preview.faults] == [(4, "columns")]


TRAINING_LINE = (
    '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}], "tags": ["a"]}\n'
)
PROMPTFOO = "tests:\n- vars: {ticket: Hi}\n  assert: [{type: equals, value: Ho}]\n"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (TABLE, "x.csv"),
        (TRAINING_LINE, "x.jsonl"),
        ('{"text": "a", "tags": ["x;y", "z"], "group": null, "label": "b"}\n', "x.jsonl"),
        ("ticket,__expected\nHi,equals: Ho\n", "x.csv"),
        (PROMPTFOO, "x.yaml"),
    ],
)
def test_the_cases_of_a_preview_are_those_of_the_import(tmp_path: Path, data: str, name: str):
    imported, mapping = mapped(tmp_path, data, name)

    preview = preview_file(tmp_path / name, format_of(name), Columns(uses={}))

    assert (list(preview.cases), preview.mapping.as_dict()) == (imported, mapping)
    assert not preview.faults


def test_a_preview_refuses_the_rows_that_the_import_refuses(tmp_path: Path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"variables": {}, "oops": 1}\n{"text": NaN}\n{"text": "a", "split": "mars"}\n{"text": "a"}\n')

    preview = preview_file(path, "jsonl", Columns())

    assert {line for line, _ in preview.faults} == {1, 2, 3}
    assert list(preview.cases) == [{"variables": {"text": "a"}}]


@pytest.mark.parametrize(
    "value",
    ["9" * 5000, "[" * 150 + "]" * 150, '{"a": [1, 2]}', '"\\ud800"', '"a\\u0000b"'],
    ids=lambda value: value[:8],
)
def test_values_of_any_kind_have_a_sample_or_a_fault(tmp_path: Path, value: str):
    path = tmp_path / "x.jsonl"
    path.write_text(f'{{"text": {value}}}\n')

    preview = preview_file(path, "jsonl", Columns())

    samples = [sample for column in preview.columns for sample in column.samples]
    assert samples or preview.faults
    assert all(len(sample) <= 80 and sample.isprintable() for sample in samples)


def test_a_column_without_values_is_shown(tmp_path: Path):
    path = tmp_path / "x.csv"
    path.write_text("text,empty\na,\n")

    assert [column.name for column in preview_file(path, "csv", Columns()).columns] == ["text", "empty"]


def test_of_a_part_of_a_file_the_last_row_is_not_judged(tmp_path: Path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"text": "a"}\n{"text": "b')

    assert not preview_file(path, "jsonl", Columns(), is_cut=True).faults
    assert preview_file(path, "jsonl", Columns()).faults


def test_the_first_rows_of_parquet_are_decoded_and_no_more(tmp_path: Path):
    path = tmp_path / "x.parquet"
    # The second group of rows cannot be decoded as it was written.
    pyarrow.parquet.write_table(pyarrow.table({"text": [f"row {n}" for n in range(400)]}), path, row_group_size=200)
    with pyarrow.parquet.ParquetFile(path) as file:
        start = file.metadata.row_group(1).column(0).dictionary_page_offset
    damaged = bytearray(path.read_bytes())
    damaged[start : start + 40] = b"\xff" * 40
    path.write_bytes(damaged)

    assert preview_file(path, "parquet", Columns()).cases[0] == {"variables": {"text": "row 0"}}
    with pytest.raises(Problem):
        list(read_rows(path, "parquet"))


@pytest.mark.parametrize(
    ("line", "uses", "case"),
    [
        # Each item of a list is a tag, beside those that the row has.
        ('{"text": "a", "teams": ["x;y", "z", ""], "tags": ["own"]}', {"teams": "tag"}, {"tags": ["own", "x;y", "z"]}),
        ('{"text": "a", "team": null}', {"team": "group"}, {}),
        ('{"text": "a", "team": 7}', {"team": "group"}, {"group": "7"}),
        # What is said comes before what a name says.
        (
            '{"text": "a", "output": "b", "answer": "c"}',
            {"answer": "expected", "output": "leave_out"},
            {"expected": "c"},
        ),
        ('{"text": "a", "expected": "b", "answer": null}', {"answer": "expected"}, {"expected": None}),
    ],
)
def test_values_that_are_no_text_are_mapped(tmp_path: Path, line: str, uses: Any, case: Any):
    (read,), _ = mapped(tmp_path, f"{line}\n", "x.jsonl", Columns(uses=read_uses(uses)))

    assert read == {"variables": {"text": "a"}, **case}


@pytest.mark.parametrize(("text", "name"), [(TABLE, "x.csv"), ('{"text": "a", "team": "b"}\n', "x.jsonl")])
def test_a_column_that_the_file_does_not_have_is_named_by_the_preview_and_refused_by_the_import(
    tmp_path: Path, text: str, name: str
):
    columns = Columns(uses=read_uses({"txet": "input", "team": "tag"}))
    (tmp_path / name).write_text(text)

    preview = preview_file(tmp_path / name, format_of(name), columns)
    with pytest.raises(Problem, match="no column txet") as refused:
        mapped(tmp_path, text, name, columns)

    assert preview.mapping.as_dict()["not_found"] == {"txet": 0}
    assert refused.value.code == "dataset.unreadable"


def test_a_column_can_be_the_label(tmp_path: Path):
    """Whatever else would be taken for it: the answer is a sentence, and not its class."""
    columns = Columns(uses=read_uses({"team": "label", "answer": "expected"}))
    table = "ticket,team,answer,label\nhello,billing,We refunded it.,x\nbye,,Gone.,y\n"

    cases, mapping = mapped(tmp_path, table, "x.csv", columns)

    assert cases == [
        {"variables": {"ticket": "hello"}, "expected": "We refunded it.", "label": "billing"},
        {"variables": {"ticket": "bye"}, "expected": "Gone."},
    ]
    assert mapping == {
        **{"variables": {"ticket": 2}, "expected": {"answer": 2}, "label": {"team": 1}},
        "left_out": {"label": 2},
    }


def test_promptfoos_tests_have_no_columns(stage: Stage, tickets: Dataset):
    with pytest.raises(Problem) as refused:
        imports.begin(stage.edith, tickets, filename="x.yaml", columns={"uses": {"ticket": "input"}})

    assert refused.value.faults[0].pointer == "/map"


def test_over_rest_a_file_is_previewed_and_mapped_before_anything_is_written(
    stage: Stage, tickets: Dataset, api: APIClient
):
    base = "/api/v1/datasets/support.tickets/imports"
    created = api.post(base, {"filename": "x.csv", "map": {"text": "variable:ticket"}})
    assert created.status_code == 201, created.json()
    address = f"{base}/{created.json()['id']}"
    assert api.post(f"{address}/preview", {}).json()["code"] == "import.incomplete"
    api.put(f"{address}/parts/1", TABLE.encode(), content_type="application/octet-stream")

    plain = api.post(f"{address}/preview", {}).json()
    other = api.post(f"{address}/preview", {"map": {"text": "input", "id": "leave_out"}}).json()
    bad = api.post(f"{address}/preview", {"map": {"text": "nothing"}})
    assert plain["cases"][0]["variables"]["ticket"] == "hello"
    assert other["mapping"]["left_out"] == {"id": 2}
    assert (bad.status_code, bad.json()["errors"][0]["pointer"]) == (400, "/map/text")
    assert not Case.objects.filter(variables__has_key="answer").exists()

    started = api.post(
        f"{address}/start", {"map": {"text": "variable:ticket", "answer": "expected", "id": "leave_out"}}
    )
    assert started.status_code == 200, started.json()
    imports.read_file(DatasetImport.objects.select_related("dataset__project").get())
    assert Case.objects.filter(variables={"ticket": "hello", "team": "red;blue"}, expected="billing").exists()
    done = api.get(address).json()
    assert done["mapping"]["left_out"] == {"id": 2, "expected": 2}


def test_the_command_previews_and_maps(stage: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "x.csv"
    path.write_text(TABLE)
    options = ("--map", "text=input", "--map", "id=leave_out", "--map", "team=tag", "--project", "paper")

    call_command("import_cases", "new.tickets", str(path), *options, "--preview")
    assert "left out: id (2 rows)" in capsys.readouterr().out
    assert not Dataset.objects.filter(name="new.tickets").exists()

    call_command("import_cases", "new.tickets", str(path), *options)
    assert Case.objects.filter(variables={"input": "hello", "answer": "billing"}, tags=["red;blue"]).exists()
