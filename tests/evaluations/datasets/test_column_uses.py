"""What columns of a file are, as a user says it, and the preview of what that makes of the file."""

from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from rest_framework.test import APIClient

from core.errors import Problem
from evaluations.datasets import imports
from evaluations.datasets.column_uses import read_uses
from evaluations.datasets.file_preview import preview_file
from evaluations.datasets.formats import Columns
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
        ({"a": "other"}, "Must be one of"),
        ({"a": 1}, "Must be one of"),
        ({"a": "variable:"}, "Must be one of"),
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

    assert [(column.name, column.use) for column in preview.columns] == [
        ("id", "variable"),
        ("text", "variable"),
        ("answer", "variable"),
        ("team", "variable"),
        ("expected", "expected"),
    ]
    assert list(preview.columns[1].samples) == ["hello", "bye"]
    assert preview.cases[0]["expected"] == "old"
    assert [(line, fault.code) for line, fault in preview.faults] == [(4, "columns")]


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
