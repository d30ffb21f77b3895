"""Datasets and example sets over REST, as a service meets them."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from evaluations.data_quality import reports
from evaluations.datasets import imports
from evaluations.datasets import lifecycle as datasets
from evaluations.models import Case, Dataset, DatasetImport, Report
from registry.accounts.permissions import Actor
from registry.examples import example_sets
from tests.conftest import ApiFor, Stage
from tests.evaluations.conftest import case, cases
from tests.registry.examples.test_example_sets import picking, shots_of

D = "/api/v1/datasets"
E = "/api/v1/example-sets"


def test_a_dataset_from_nothing_to_its_report(stage: Stage, api: APIClient):
    created = api.post(D, {"name": "fresh", "split_ratios": {"train": 80, "test": 20}})
    assert (created.status_code, created.json()["latest"], created["Location"]) == (201, None, f"{D}/fresh")

    committed = api.post(f"{D}/fresh/versions", {"cases": cases(30), "message": "First"})
    assert (committed.status_code, committed.json()["added"]) == (201, 30)
    assert committed.json()["version"]["splits"] == {"train": 24, "validation": 0, "test": 6, "general": 0}
    again = api.post(f"{D}/fresh/versions", {"cases": cases(30)})
    assert (again.status_code, again.json()["known"]) == (200, 30)

    page = api.get(f"{D}/fresh/versions/latest/cases", {"split": "test", "limit": 4}).json()
    assert (len(page["results"]), page["next"] is not None) == (4, True)
    assert api.get(f"{D}/fresh/versions/1/cases", {"label": "billing"}).json()["results"][0]["label"] == "billing"

    for report in Report.objects.all():
        reports.make_report(report)
    leakage = api.get(f"{D}/fresh/versions/latest/leakage").json()
    assert leakage["blocks_fine_tuning"] is bool(leakage["leaked"])
    assert api.get(f"{D}/fresh/versions/latest/readiness").json()["result"]["size"] == 30
    assert api.post(f"{D}/fresh/versions/latest/leakage", {}).status_code == 202


def test_cases_are_changed_by_their_ids_and_a_lost_race_is_told(stage: Stage, api: APIClient, tickets: Dataset):
    head = tickets.head
    assert head
    first, second = Case.objects.of(head).order_by("id")[:2]

    changed = api.post(
        f"{D}/support.tickets/versions",
        {"change": {str(first.pk): case("other", "billing")}, "remove": [second.pk]},
        headers={"If-Match": f'"{head.content_hash}"'},
    )
    assert (changed.status_code, changed.json()["version"]["size"]) == (201, 59)
    stale = api.post(
        f"{D}/support.tickets/versions", {"cases": cases(99)}, headers={"If-Match": f'"{head.content_hash}"'}
    )
    assert (stale.status_code, stale.json()["code"]) == (412, "request.precondition")


def test_an_import_in_parts(stage: Stage, api: APIClient, tickets: Dataset):
    data = "".join(json.dumps(document) + "\n" for document in cases(70)).encode()
    begun = api.post(f"{D}/support.tickets/imports", {"filename": "x.jsonl", "skip_bad": True}).json()
    address = f"{D}/support.tickets/imports/{begun['id']}"
    for number, start in enumerate(range(0, len(data), 1_000), start=1):
        sent = api.put(
            f"{address}/parts/{number}", data[start : start + 1_000], content_type="application/octet-stream"
        )
        assert sent.status_code == 200
    assert api.post(f"{address}/start", {}).json()["state"] == "pending"

    imports.read_file(DatasetImport.objects.get(pk=begun["id"]))

    done = api.get(address).json()
    assert (done["state"], done["rows_added"], done["version"]) == ("done", 10, 2)
    assert api.get(f"{address}/rejected").status_code == 200
    assert api.get(f"{D}/support.tickets/imports").json()["results"][0]["id"] == begun["id"]
    assert api.post(f"{address}/again", {"skip_bad": True}).json()["code"] == "import.wrong_state"


def test_files_come_back_as_they_were(stage: Stage, api: APIClient, tickets: Dataset):
    answer = api.get(f"{D}/support.tickets/versions/1/file", {"split": "test"})
    rows = [json.loads(line) for line in b"".join(answer.streaming_content).splitlines()]  # type: ignore[attr-defined]

    assert len(rows) == 9
    assert rows[0]["split"] == "test"
    assert answer["Content-Disposition"] == 'attachment; filename="support.tickets.1.test.jsonl"'
    table = api.get(f"{D}/support.tickets/versions/1/file", {"as": "csv"})
    assert b"".join(table.streaming_content).startswith(b"ticket,expected,label")  # type: ignore[attr-defined]


def test_folds_rounds_and_proposals(stage: Stage, api: APIClient, api_for: ApiFor, tickets: Dataset):
    folds = api.get(f"{D}/support.tickets/versions/1/folds", {"k": 3}).json()
    assert ([len(fold) for fold in folds["folds"]], folds["recommended"]) == ([20, 20, 20], True)
    assert api.get(f"{D}/support.tickets/versions/1/folds", {"k": "x"}).status_code == 400

    created = api.post(f"{D}/support.tickets/proposals", {"cases": [case("new one")], "origin": "bot"})
    key = created.json()["results"][0]["id"]
    assert (
        api.post(f"{D}/support.tickets/proposals/accept", {"ids": [key]}).json()["code"] == "proposal.machine_decision"
    )
    person = api_for(stage.edith)
    assert person.post(f"{D}/support.tickets/proposals/accept", {"ids": [key]}).status_code == 201
    assert api.get(f"{D}/support.tickets/proposals", {"state": "accepted"}).json()["results"][0]["version"] == 2

    opened = api.post(f"{D}/support.tickets/rounds", {"title": "R", "annotators": 2, "most": 3}).json()
    assert (opened["cases"], opened["agreement"]["kappa"]) == (3, None)
    assert api.post(f"{D}/support.tickets/rounds/{opened['id']}/apply", {}).json()["code"] == "round.wrong_state"
    assert api.post(f"{D}/support.tickets/rounds/{opened['id']}/close", {}).json()["state"] == "closed"


def test_leaks_with_both_rows_and_the_override(stage: Stage, api: APIClient, api_for: ApiFor):
    text = "The export of the regional dashboard has been failing since the update of last night, with no error shown"
    dataset = datasets.create(stage.edith, name="leaky")
    datasets.change(stage.edith, dataset, added=[case(text, "a", split="train"), case(text, "a", split="test")])
    example_sets.commit(
        stage.edith, example_sets.create(stage.edith, name="shots"), examples=[{"input": text, "output": "a"}]
    )
    for report in Report.objects.all():
        reports.make_report(report)

    findings = api.get(f"{D}/leaky/versions/latest/leakage/findings").json()["results"]
    assert {finding["example"]["set"] if finding["example"] else finding["other"]["split"] for finding in findings} == {
        "shots",
        "train",
    }
    assert all(finding["held_out"]["split"] == "test" and finding["is_leak"] for finding in findings)
    override = f"{D}/leaky/versions/latest/leakage/override"
    assert api_for(stage.edith).post(override, {"reason": "x"}).status_code == 403
    allowed = api_for(stage.ada).post(override, {"reason": "Known"})
    assert (allowed.status_code, allowed.json()["blocks_fine_tuning"]) == (200, False)


def test_example_sets(stage: Stage, api: APIClient):
    assert api.post(E, {"name": "shots"}).status_code == 201
    committed = api.post(f"{E}/shots/versions", {"examples": shots_of()})
    digest = committed.json()["hash"]
    assert (committed.status_code, committed.json()["size"]) == (201, 5)
    assert api.post(f"{E}/shots/versions", {"examples": shots_of()}).status_code == 200

    by_hash = api.get(f"{E}/versions/{digest}")
    assert (by_hash.json()["examples"], by_hash["Cache-Control"]) == (
        shots_of(),
        "private, max-age=31536000, immutable",
    )
    assert api.get(f"{E}/versions/{digest}", headers={"If-None-Match": f'"{digest}"'}).status_code == 304
    assert api.get(f"{E}/shots/versions/1").json()["hash"] == digest
    assert api.get(E).json()["results"][0]["latest"]["size"] == 5

    answer = api.post(f"{E}/shots/search", {"query": "charged twice", "k": 2}).json()
    assert [result["label"] for result in answer["results"]] == ["billing", "billing"]
    spread = api.post(f"{E}/shots/search", {"query": "charged twice", "k": 3, "per_label": 1}).json()
    assert sorted(result["label"] for result in spread["results"]) == ["billing", "how-to", "incident"]
    lines = api.get(f"{E}/shots/versions/1/file")
    assert len(b"".join(lines.streaming_content).splitlines()) == 5  # type: ignore[attr-defined]


def test_a_prompt_that_picks_says_from_what(stage: Stage, api: APIClient):
    version = example_sets.commit(
        stage.edith, example_sets.create(stage.edith, name="shots"), examples=shots_of()
    ).version
    api.post("/api/v1/prompts", {"name": "route"})
    content = picking(version, select="similar", k=1)

    created = api.post("/api/v1/prompts/route/versions", {"content": content}).json()
    assert created["example_set"] == {"name": "shots", "number": 1, "hash": version.content_hash}
    rendered = api.post("/api/v1/prompts/route/versions/1/render", {"variables": {"ticket": "refund me"}}).json()
    assert rendered["examples"]["chosen"][0]["input"] == "Please refund the second payment"


@pytest.mark.parametrize(
    "address",
    [
        f"{D}/support.tickets/versions/latest/cases",
        f"{D}/support.tickets/versions",
        D,
        E,
        f"{D}/support.tickets/proposals",
    ],
)
def test_lists_ask_as_much_of_many_as_of_few(stage: Stage, api: APIClient, tickets: Dataset, address: str):
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert api.get(address, {"limit": 100}).status_code == 200
        return len(captured)

    queries()  # The first use of a key is noted.
    before = queries()
    datasets.change(stage.edith, tickets, added=cases(120))
    for number in range(5):
        dataset = datasets.create(stage.edith, name=f"more.{number}")
        datasets.change(stage.edith, dataset, added=cases(2))
        shots = example_sets.create(stage.edith, name=f"shots.{number}")
        example_sets.commit(stage.edith, shots, examples=shots_of())
    api.post(f"{D}/support.tickets/proposals", {"cases": [case(f"p {n}") for n in range(9)], "origin": "bot"})

    # Who is asking, the dataset, its version, and one page of rows.
    assert queries() == before <= 6


Call = Callable[[APIClient], Any]
CALLS: dict[str, tuple[Call, dict[str, int]]] = {
    "see": (lambda c: c.get(f"{D}/support.tickets"), {"vera": 200, "read": 200, "observe": 403}),
    "cases": (lambda c: c.get(f"{D}/support.tickets/versions/1/cases"), {"vera": 200, "read": 200, "observe": 403}),
    "file": (lambda c: c.get(f"{D}/support.tickets/versions/1/file"), {"vera": 200, "read": 200, "observe": 403}),
    "create": (lambda c: c.post(D, {"name": "x"}), {"vera": 403, "read": 403, "observe": 403, "write": 201}),
    "commit": (
        lambda c: c.post(f"{D}/support.tickets/versions", {"cases": cases(61)}),
        {"vera": 403, "read": 403, "observe": 403, "write": 201},
    ),
    "import": (
        lambda c: c.post(f"{D}/support.tickets/imports", {"filename": "x.csv"}),
        {"vera": 403, "read": 403, "observe": 403, "write": 201},
    ),
    "propose": (
        lambda c: c.post(f"{D}/support.tickets/proposals", {"cases": [case("x")], "origin": "y"}),
        {"vera": 403, "read": 403, "observe": 403, "write": 201},
    ),
    "resplit": (
        lambda c: c.post(f"{D}/support.tickets/resplit", {"seed": 3, "split_ratios": {"train": 50, "test": 50}}),
        {"vera": 403, "read": 403, "observe": 403, "write": 201},
    ),
    "archive": (lambda c: c.post(f"{D}/support.tickets/archive", {}), {"vera": 403, "read": 403, "write": 200}),
    "set": (lambda c: c.post(E, {"name": "x"}), {"vera": 403, "read": 403, "observe": 403, "write": 201}),
}


@pytest.mark.parametrize("call", CALLS)
def test_who_may_do_what(stage: Stage, api_for: ApiFor, tickets: Dataset, otis: Actor, call: str):
    act, expected = CALLS[call]

    for who, status in expected.items():
        scopes = [who] if who in ("read", "write", "observe") else None
        assert act(api_for(stage.edith if scopes else stage.vera, scopes=scopes)).status_code == status, who
    outside = act(api_for(otis))
    assert outside.status_code == 404 or call in ("create", "set")


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        (f"{D}/nothing/versions", {"cases": []}, "dataset.not_found"),
        (f"{D}/support.tickets/versions", {"cases": [7]}, "cases.invalid"),
        (f"{D}/support.tickets/versions", {"change": {"x": {}}}, "request.invalid"),
        (f"{D}/support.tickets/versions", {"remove": [2**62]}, "cases.not_found"),
        (f"{D}/support.tickets/imports", {"filename": "x.exe"}, "dataset.unreadable"),
        (f"{D}/support.tickets/resplit", {"seed": -1, "split_ratios": {"train": 100}}, "request.invalid"),
        (f"{D}/support.tickets/resplit", {"seed": 1, "split_ratios": {"train": "x"}}, "dataset.invalid_split_ratios"),
        (f"{D}/support.tickets/rounds", {"title": "x", "annotators": 9}, "round.invalid"),
        (f"{D}/support.tickets/proposals/accept", {"ids": [7]}, "proposal.machine_decision"),
        (D, {"name": "Upper"}, "dataset.invalid_name"),
        (E, {"name": "versions"}, "example_set.invalid_name"),
        (f"{E}/nothing/search", {"query": "x"}, "example_set.not_found"),
    ],
)
def test_refusals_have_their_codes(stage: Stage, api: APIClient, tickets: Dataset, path: str, body: Any, code: str):
    assert api.post(path, body).json()["code"] == code


def test_selectors_that_select_nothing(stage: Stage, api: APIClient, tickets: Dataset):
    for selector in ("7", "production", "sha256:" + "0" * 64):
        assert api.get(f"{D}/support.tickets/versions/{selector}").json()["code"] == "dataset.unknown_selector"
    assert api.get(f"{D}/support.tickets/versions/nonsense!").json()["code"] == "prompt.invalid_selector"
    assert api.get(f"{E}/versions/sha256:zz").json()["code"] == "example_set.unknown_selector"
