"""Files on their way into a dataset: parts, workers, and what goes wrong on the way."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from core.errors import Problem
from evaluations.datasets import imports, ingest
from evaluations.datasets import lifecycle as datasets
from evaluations.datasets.row import Row
from evaluations.datasets.staging import STAGED
from evaluations.models import Case, Dataset, DatasetImport, ImportPart, ImportState
from infra import work
from registry.accounts import api_keys, permissions
from registry.accounts.permissions import Actor
from registry.models import User
from tests.conftest import Stage
from tests.evaluations.conftest import cases
from tests.evaluations.runs.test_pages import client_of

ROOT = Path(__file__).resolve().parents[3]


def upload(stage: Stage, dataset: Dataset, data: bytes, name: str = "x.jsonl", **options: Any) -> DatasetImport:
    begun = imports.begin(stage.edith, dataset, filename=name, **options)
    size = 700
    for start in range(0, len(data), size):
        imports.put_part(stage.edith, begun, start // size + 1, data[start : start + size])
    return imports.start(stage.edith, begun)


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def performed(begun: DatasetImport) -> DatasetImport:
    imports.read_file(begun)
    begun.refresh_from_db()
    return begun


def test_a_file_in_parts_becomes_a_version(stage: Stage, tickets: Dataset):
    done = performed(upload(stage, tickets, lines(cases(80))))

    assert (done.state, done.rows_read, done.rows_added, done.rows_known) == ("done", 80, 20, 60)
    assert done.version
    assert (done.version.size, done.version.author_name, done.version.message) == (80, "edith", "From x.jsonl")
    assert not ImportPart.objects.exists()


def test_a_file_of_which_bytes_are_missing_does_not_start(stage: Stage, tickets: Dataset):
    data = lines(cases(3, start=500))
    begun = imports.begin(stage.edith, tickets, filename="x.jsonl", size=len(data))
    imports.put_part(stage.edith, begun, 1, data[:40])

    with pytest.raises(Problem) as refused:
        imports.start(stage.edith, begun)
    assert (refused.value.code, "40 of" in refused.value.detail) == ("import.incomplete", True)

    imports.put_part(stage.edith, begun, 2, data[40:])
    assert performed(imports.start(stage.edith, begun)).rows_read == 3


def test_only_a_file_on_its_way_has_a_preview(stage: Stage, tickets: Dataset):
    begun = imports.begin(stage.edith, tickets, filename="x.jsonl")
    imports.put_part(stage.edith, begun, 2, b"{}")
    with pytest.raises(Problem) as refused:
        imports.preview(stage.edith, begun)
    assert refused.value.code == "import.incomplete"

    started = upload(stage, tickets, lines(cases(3, start=500)))
    with pytest.raises(Problem) as refused:
        imports.preview(stage.edith, started)
    assert refused.value.code == "import.wrong_state"


def test_a_bad_row_refuses_the_file_and_says_where(stage: Stage, tickets: Dataset):
    data = lines([*cases(3, start=500), {"variables": {}}, {"oops": 1}]) + b"{\n"

    done = performed(upload(stage, tickets, data))

    assert (done.state, done.version) == ("failed", None)
    assert [fault["line"] for fault in done.faults] == [4, 6]
    assert done.faults[0] == {
        "line": 4,
        "pointer": "/variables",
        "code": "required",
        "message": "A case needs at least one variable.",
    }
    assert done.error.startswith("Line 4, variables:")
    assert Case.objects.count() == 60


def test_bad_rows_can_be_left_out_and_are_kept_with_the_reasons(stage: Stage, tickets: Dataset):
    data = lines(cases(2, start=500)) + b"{oops\n" + lines([{"variables": {"a": 1}, "split": "dev"}])

    done = performed(upload(stage, tickets, data, skip_bad=True))

    assert (done.state, done.rows_added, done.rows_bad) == ("done", 2, 2)
    rejected = [json.loads(line) for line in b"".join(imports.rejected_rows(done)).splitlines()]
    assert [line["line"] for line in rejected] == [3, 4]
    assert rejected[0]["row"] == "{oops"
    assert rejected[1]["faults"][0]["pointer"] == "/split"


def test_names_of_the_files_own(stage: Stage, tickets: Dataset):
    columns = {"expected": "team", "group": "thread", "renamed": {"body": "ticket"}}
    done = performed(upload(stage, tickets, b"body,team,thread\nx,billing,7\n", "x.csv", columns=columns))

    case = Case.objects.get(group_key="7")
    assert (done.state, case.variables, case.expected) == ("done", {"ticket": "x"}, "billing")


def test_what_is_not_complete_is_not_started(stage: Stage, tickets: Dataset):
    begun = imports.begin(stage.edith, tickets, filename="x.jsonl")
    with pytest.raises(Problem) as refused:
        imports.start(stage.edith, begun)
    assert refused.value.code == "import.incomplete"

    imports.put_part(stage.edith, begun, 2, b"x")
    with pytest.raises(Problem, match="1 are missing"):
        imports.start(stage.edith, begun)
    imports.put_part(stage.edith, begun, 1, b"y")
    imports.put_part(stage.edith, begun, 1, b"z")
    imports.start(stage.edith, begun)
    for act in (lambda: imports.start(stage.edith, begun), lambda: imports.put_part(stage.edith, begun, 3, b"x")):
        with pytest.raises(Problem) as refused:
            act()
        assert refused.value.code == "import.wrong_state"


@pytest.mark.parametrize(
    ("number", "data", "code"),
    [
        (0, b"x", "request.invalid"),
        (10**6, b"x", "import.too_large"),
        (1, b"", "import.too_large"),
        (1, b"x" * (imports.MAX_PART_BYTES + 1), "import.too_large"),
    ],
)
def test_parts_have_limits(stage: Stage, tickets: Dataset, number: int, data: bytes, code: str):
    begun = imports.begin(stage.edith, tickets, filename="x.jsonl")
    with pytest.raises(Problem) as refused:
        imports.put_part(stage.edith, begun, number, data)
    assert refused.value.code == code


def test_who_lost_the_right_meanwhile_imports_nothing(stage: Stage, tickets: Dataset):
    begun = upload(stage, tickets, lines(cases(70)))
    User.objects.filter(username="edith").update(is_active=False)

    assert performed(begun).state == "failed"
    assert Case.objects.count() == 60


def test_an_import_is_read_by_one_worker_and_a_dead_ones_again(stage: Stage, tickets: Dataset):
    begun = upload(stage, tickets, lines(cases(70)))
    DatasetImport.objects.update(state="running", heartbeat_at=timezone.now())
    assert performed(begun).state == "running"

    DatasetImport.objects.update(heartbeat_at=timezone.now() - 2 * DatasetImport.LEASE_TIMEOUT)
    assert list(imports.claimable_imports()) == [begun]
    assert performed(begun).state == "done"


def test_old_files_go(stage: Stage, tickets: Dataset):
    begun = imports.begin(stage.edith, tickets, filename="x.jsonl")
    imports.put_part(stage.edith, begun, 1, b"x")
    assert imports.clear_old() == 0

    DatasetImport.objects.update(created_at=timezone.now() - 2 * imports.RETENTION)
    assert imports.clear_old() == 1


def test_an_outsiders_import_is_not_found(stage: Stage, tickets: Dataset, otis: Actor):
    begun = upload(stage, tickets, lines(cases(1)))
    theirs = datasets.create(otis, name="theirs")

    with pytest.raises(Problem) as refused:
        imports.get_import(theirs, begun.pk)
    assert refused.value.code == "import.not_found"


KILLED = """
import os, sys
import django
django.setup()
from django.db import connection
connection.settings_dict["NAME"] = sys.argv[1]
from evaluations.datasets import imports, ingest
from evaluations.models import DatasetImport
ingest.apply = lambda *arguments, **options: os.kill(os.getpid(), 9)
imports.read_file(DatasetImport.objects.select_related("dataset__project", "by").get(pk=int(sys.argv[2])))
"""


@pytest.mark.slow
def test_a_worker_that_is_killed_leaves_nothing_behind_and_another_finishes(live_stage: Stage):
    dataset = datasets.create(live_stage.edith, name="killed")
    begun = upload(live_stage, dataset, lines(cases(300)))
    database = connection.settings_dict["NAME"]

    died = subprocess.run(
        [sys.executable, "-c", KILLED, database, str(begun.pk)],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings"},
        timeout=60,
    )

    begun.refresh_from_db()
    assert (died.returncode, begun.state, Case.objects.count()) == (-9, "running", 0)
    DatasetImport.objects.update(heartbeat_at=timezone.now() - 2 * DatasetImport.LEASE_TIMEOUT)
    assert performed(begun).state == ImportState.DONE
    assert Case.objects.count() == 300


ODD = {
    "windows.csv": "Größe,expected\r\nfünf,a\r\n".encode("cp1252"),
    "utf16.csv": "ticket,expected\nx,a\n".encode("utf-16"),
    "nul.jsonl": b'{"variables": {"a\\u0000b": {"c\\u0000": "x\\u0000"}}}\n',
    "tag.yaml": b'tests: !!timestamp "x"',
    "date.yaml": b"tests: [{vars: {2024-01-01: x, a: b}}]",
    "circle.yaml": b"tests: [{vars: &a {x: *a}}]",
    "laughs.yaml": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(b"%c: &%c [%s]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 9)) for n in range(8))
    + b"tests: [{vars: {q: *i}}]",
    "digits.yaml": b"tests: [{vars: {a: 0x" + b"f" * 5_000 + b"}}]",
    "deep.jsonl": b'{"variables": {"a": ' + b"[" * 1_000 + b"]" * 1_000 + b"}}\n",
    "commas.csv": b"," * 2_000_000 + b"\n",
    "empty.jsonl": b"\n",
    "not.parquet": b"PAR1PAR1",
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("skip_bad", [False, True])
def test_an_odd_file_ends_and_says_why(stage: Stage, tickets: Dataset, name: str, skip_bad: bool):
    begun = imports.begin(stage.edith, tickets, filename=name, skip_bad=skip_bad)
    data = ODD[name]
    for start in range(0, len(data), imports.MAX_PART_BYTES):
        imports.put_part(
            stage.edith, begun, start // imports.MAX_PART_BYTES + 1, data[start : start + imports.MAX_PART_BYTES]
        )
    done = performed(imports.start(stage.edith, begun))

    assert done.state in ("failed", "done")
    assert "our side" not in done.error
    assert done.state == "done" or done.error
    assert b"".join(imports.rejected_rows(done)).decode()[:1] in ("", "{")


def test_everything_rejected_is_told_too(stage: Stage):
    dataset = datasets.create(stage.edith, name="empty")

    done = performed(upload(stage, dataset, b"x\ny\n", skip_bad=True))

    assert (done.state, [fault["line"] for fault in done.faults]) == ("failed", [1, 2])
    assert len(b"".join(imports.rejected_rows(done)).splitlines()) == 2


def test_a_file_that_kills_its_workers_is_given_up(stage: Stage, tickets: Dataset):
    begun = upload(stage, tickets, lines(cases(1)))
    DatasetImport.objects.update(state="running", attempts=work.WorkItem.MAX_ATTEMPTS, heartbeat_at="2020-01-01T00:00Z")

    assert performed(begun).state == "failed"
    assert "workers ended" in begun.error


def test_a_worker_that_lost_its_import_writes_nothing(stage: Stage, tickets: Dataset, monkeypatch: Any):
    begun = upload(stage, tickets, lines(cases(70)))
    plain = imports._write

    def slow(*arguments: Any) -> None:
        plain(*arguments)
        DatasetImport.objects.update(lease_token=9)

    monkeypatch.setattr(imports, "_write", slow)
    done = performed(begun)

    assert (done.state, Case.objects.count()) == ("running", 60)


def test_a_revoked_keys_import_is_refused(stage: Stage, tickets: Dataset):
    key, _ = api_keys.issue(permissions.actor_for_command_line(stage.project), name="bot", scopes=["write"])
    begun = imports.begin(permissions.actor_for_key(key), tickets, filename="x.jsonl")
    imports.put_part(permissions.actor_for_key(key), begun, 1, lines(cases(70)))
    started = imports.start(permissions.actor_for_key(key), begun)
    api_keys.revoke(stage.ada, key)

    done = performed(DatasetImport.objects.select_related("by_key__project", "dataset__project").get(pk=started.pk))

    assert (done.state, "revoked" in done.error) == ("failed", True)


# --- Commands --------------------------------------------------------------------------------------------------------


def test_the_command_makes_the_dataset_and_reads_the_file(stage: Stage, tmp_path: Path, capsys: Any):
    path = tmp_path / "tickets.csv"
    path.write_text("body,label\nThe export hangs,incident\nRefund please,billing\n")

    call_command("import_cases", "fresh", str(path), project="paper", rename=["body=ticket"])

    assert "fresh@1: 2 rows read, 2 added, 0 unchanged; 2 cases, sha256:" in capsys.readouterr().out
    call_command("export_cases", "fresh@1", project="paper")
    exported = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert exported[0]["variables"] == {"ticket": "The export hangs"}
    call_command("export_cases", "fresh", project="paper", form="csv")
    assert capsys.readouterr().out.startswith("ticket,expected,label")


def test_the_command_refuses_and_leaves_out(stage: Stage, tmp_path: Path, capsys: Any):
    path = tmp_path / "x.jsonl"
    path.write_text('{"variables": {"a": "b"}}\n{"variables": {}}\n')

    with pytest.raises(CommandError, match="Line 2, variables"):
        call_command("import_cases", "fresh", str(path), project="paper")
    call_command("import_cases", "fresh", str(path), project="paper", skip_bad="")

    assert "1 rows left out" in capsys.readouterr().out
    assert json.loads((tmp_path / "x.jsonl.rejected.jsonl").read_text())["line"] == 2
    with pytest.raises(CommandError, match="no file"):
        call_command("import_cases", "fresh", "/nowhere.jsonl", project="paper")


@pytest.mark.slow
def test_a_large_file_does_not_grow_the_memory(live_stage: Stage, tmp_path: Path):
    """Twenty times the rows: the process that reads them peaks at nearly the same size."""
    peaks = []
    for count in (5_000, 100_000):
        path = tmp_path / f"{count}.jsonl"
        with path.open("w") as handle:
            for number in range(count):
                handle.write(f'{{"variables": {{"ticket": "Ticket number {number} of very many"}}, "expected": "x"}}\n')
        script = MEASURED.format(path=str(path), name=f"big.{count}")
        process = subprocess.run(
            [sys.executable, "-c", script, connection.settings_dict["NAME"]],
            cwd=ROOT,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings"},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        peaks.append(int(process.stdout))

    assert Case.objects.count() == 105_000
    assert peaks[1] < peaks[0] * 1.25, peaks


MEASURED = """
import sys
import django
django.setup()
from django.db import connection
connection.settings_dict["NAME"] = sys.argv[1]
from pathlib import Path
from evaluations.datasets import ingest
from evaluations.datasets import lifecycle as datasets
from evaluations.datasets.files.formats import read_rows
from registry.accounts.permissions import actor_for_command_line
from registry.models import Project
actor = actor_for_command_line(Project.objects.get(slug="paper"))
dataset = datasets.create(actor, name="{name}")
ingest.load(actor, dataset, read_rows(Path("{path}"), "jsonl"))
print(next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM:")))
"""


def test_the_session_table_is_gone_afterwards(stage: Stage, tickets: Dataset):
    with pytest.raises(Problem):
        datasets.change(stage.edith, tickets, added=[{}])

    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_class WHERE relname = %s", [STAGED])
        assert cursor.fetchone() == (0,)


def test_progress_is_told_while_it_goes_on(stage: Stage, tickets: Dataset, tmp_path: Path):
    heard: list[tuple[int, int]] = []
    rows = (Row(number, row) for number, row in enumerate(cases(50_000, start=1_000)))

    ingest.load(stage.edith, tickets, rows, report_progress=lambda read, bad: heard.append((read, bad)))

    assert heard == [(20_000, 0), (40_000, 0), (50_000, 0)]


PROMPTFOO = b"""
tests:
  - {vars: {ticket: I want my money back}, assert: [{type: icontains, value: refund}, {type: is-json}]}
  - {vars: {ticket: The site is down}, assert: [{type: icontains, value: incident}, {type: is-json}]}
  - {vars: {ticket: Hello}, assert: [{type: is-json}, {type: javascript, value: output.length}]}
"""


def test_a_promptfoo_file_comes_with_its_assertions(stage: Stage, tickets: Dataset, tmp_path: Path):
    done = performed(upload(stage, tickets, PROMPTFOO, "promptfooconfig.yaml"))

    assert done.state == "done"
    assert [scorer["name"] for scorer in done.scorers] == ["is-json", "icontains"]
    assert done.left_out == ['javascript "output.length" judges 1 of 3 tests; a scorer judges every case']
    expected = tickets.cases.filter(variables__ticket="I want my money back").values_list("expected", flat=True)
    assert list(expected) == ["refund"]
    page = client_of(stage.edith).get(f"/p/paper/datasets/{tickets.name}/imports/{done.pk}/").content.decode()
    assert "Evaluate with them" in page
    assert "judges 1 of 3 tests" in page
    path = tmp_path / "config.yaml"
    path.write_bytes(PROMPTFOO)
    output = io.StringIO()
    call_command("import_cases", "another", str(path), "--project", "paper", stdout=output)
    assert '"scorer": "json_valid"' in output.getvalue()
    assert "left out: javascript" in output.getvalue()
