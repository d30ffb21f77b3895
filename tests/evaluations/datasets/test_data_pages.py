"""Pages of datasets and example sets: who sees them, what they say, what they change."""

import json
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from evaluations.curation import annotation, proposals
from evaluations.data_quality import reports
from evaluations.datasets import imports
from evaluations.datasets import lifecycle as datasets
from evaluations.models import Case, Dataset, DatasetImport, Report
from registry.examples import example_sets
from registry.models import Embedding, ExampleSet
from tests.conftest import Stage
from tests.evaluations.conftest import case, cases
from tests.registry.examples.test_example_sets import embed, make_set
from tests.registry.views.pages import signed_in, text

P = "/p/paper"
D = f"{P}/datasets/support.tickets"
E = f"{P}/examples/support.tickets"


@pytest.fixture
def full(stage: Stage, tickets: Dataset) -> Dataset:
    """With a report of each kind, a leak, a proposal, a round and an example set."""
    leak = "The monthly statement of our northern branch is missing its second page since the update of last week"
    datasets.change(stage.edith, tickets, added=[case(leak, "a", split="train"), case(leak, "a", split="test")])
    dataset = datasets.get_dataset(stage.project, "support.tickets")
    for report in Report.objects.filter(version=dataset.head):
        reports.make_report(report)
    proposals.propose(stage.edith, dataset, cases=[case("new")], origin="bot")
    annotation.open_round(
        stage.edith, dataset, title="Hard ones", annotators=2, labels=["a", "b"], label_member="category", most=3
    )
    embed(make_set(stage))
    return dataset


@pytest.mark.parametrize(
    "page",
    [
        *(f"{D}/{part}" for part in ("", "cases/", "readiness/", "leakage/", "proposals/", "rounds/", "history/")),
        *(f"{E}/{part}" for part in ("", "?near=refund", "?near=refund&by=tf-idf@1", "history/")),
        f"{P}/datasets/",
        f"{P}/examples/",
    ],
)
def test_who_may_see_sees_and_is_offered_no_change(stage: Stage, full: Dataset, page: str):
    answer = signed_in(stage.vera).get(page)

    assert answer.status_code == 200
    for offer in ("New dataset", "New set", ">Import<", "Check again", "Accept selected", "New round", ">Edit<"):
        assert offer not in text(answer), offer


@pytest.mark.parametrize(
    "page", [f"{D}/import/", f"{D}/about/", f"{D}/rounds/new/", f"{P}/new-dataset/", f"{E}/edit/", f"{E}/add/"]
)
def test_who_may_not_change_is_told(stage: Stage, full: Dataset, page: str):
    assert signed_in(stage.vera).get(page).status_code == 403
    assert signed_in(stage.edith).get(page).status_code == 200


def test_pages_of_many_cases_ask_as_much_as_those_of_few(stage: Stage, full: Dataset):
    browser = signed_in(stage.edith)

    def queries(page: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            assert browser.get(page).status_code == 200
        return len(captured)

    pages = [f"{D}/", f"{D}/cases/", f"{D}/leakage/", f"{P}/datasets/", f"{P}/examples/", f"{D}/history/"]
    before = [queries(page) for page in pages]
    datasets.change(stage.edith, full, added=cases(300, start=900))
    for number in range(4):
        datasets.change(stage.edith, datasets.create(stage.edith, name=f"more.{number}"), added=cases(3))
        make_set(stage, name=f"more.{number}")
    for report in Report.objects.filter(state="pending"):
        reports.make_report(report)

    after = [queries(page) for page in pages]
    # The newest report counts; a page without one asks less.
    assert all(many <= few for many, few in zip(after, before, strict=True)), (before, after)
    assert max(before) <= 25


def test_an_import_without_scripts(stage: Stage, tickets: Dataset):
    browser = signed_in(stage.edith)
    table = "body,label\n" + "".join(f"Row {n},billing\n" for n in range(5)) + "x,y,z\n"
    fields = {"mode": "add", "message": "Five"}

    sent = browser.post(f"{D}/import/", {"file": SimpleUploadedFile("x.csv", table.encode()), **fields})
    preview = text(browser.get(sent["Location"]))
    assert "Has 3 columns" in preview
    assert "as named: variable" in preview
    assert "as named: expected output" in preview
    assert not Case.objects.filter(variables__has_key="body").exists()
    uses = {"use:0": "", "name:0": "ticket", "use:1": ""}
    again = text(browser.post(sent["Location"], {**uses, "do": "preview"}))
    assert "&quot;ticket&quot;: &quot;Row 0&quot;" in again
    browser.post(sent["Location"], {**uses, "do": "import"})
    upload = DatasetImport.objects.get()
    imports.read_file(upload)
    page = text(browser.get(sent["Location"]))
    assert "Refused" in page
    assert "Has 3 columns" in page

    browser.post(f"{sent['Location']}again/")
    imports.read_file(DatasetImport.objects.select_related("dataset__project", "by").get())
    page = text(browser.get(sent["Location"]))
    assert "5 added" in page
    assert "1 invalid" in page
    assert Case.objects.filter(variables={"ticket": "Row 0"}).exists()
    rejected = b"".join(browser.get(f"{sent['Location']}rejected/").streaming_content)  # type: ignore[attr-defined]
    assert json.loads(rejected)["line"] == 7
    running = browser.get(sent["Location"], headers={"HX-Request": "true"})
    assert running["HX-Refresh"] == "true"


@pytest.mark.parametrize(
    ("file", "message"),
    [(None, "Choose a file"), (("x.exe", b"x"), "Datasets are read from"), (("x.csv", b""), "is empty")],
)
def test_what_cannot_be_imported_is_said_at_the_field(stage: Stage, tickets: Dataset, file: Any, message: str):
    fields = {"file": SimpleUploadedFile(*file)} if file else {}

    answer = signed_in(stage.edith).post(f"{D}/import/", {**fields, "message": "kept"})

    assert answer.status_code == 400
    assert message in text(answer)
    assert "kept" in text(answer)
    assert not DatasetImport.objects.exists()


def test_a_case_is_changed_added_and_removed(stage: Stage, tickets: Dataset):
    browser = signed_in(stage.edith)
    first = Case.objects.order_by("id").first()
    assert first

    bad = browser.post(f"{D}/cases/{first.pk}/", {"variables": "{oops", "expected": "kept"})
    assert (bad.status_code, "This is not JSON" in text(bad), "kept" in text(bad)) == (400, True, True)
    changed = browser.post(
        f"{D}/cases/{first.pk}/", {"variables": '{"ticket": "x"}', "expected": '{"category": "y"}'}, follow=True
    )
    assert f"in split {first.split}" in text(changed)
    old = text(browser.get(f"{D}/cases/{first.pk}/"))
    assert "This case was removed or replaced in version 2" in old
    assert "Save as a new version" not in old
    new = Case.objects.get(label="y")
    gone = browser.post(f"{D}/cases/{new.pk}/", {"variables": "{}", "do": "remove"}, follow=True)
    assert "removed in version 3" in text(gone)
    added = browser.post(
        f"{D}/cases/new/", {"variables": '{"ticket": "z"}', "tags": "a, b", "split": "general"}, follow=True
    )
    assert "in split general" in text(added)


def test_a_case_that_is_opened_and_saved_stays_as_it_is(stage: Stage, tickets: Dataset):
    odd = case("odd", tags=["a,b", "c"], weight=3, label="mine", expected=5)
    texts = [case("text", expected='{"x": 1}'), case("bracket", expected="[redacted] ok")]
    datasets.change(stage.edith, tickets, added=[odd, *texts])
    browser = signed_in(stage.edith)

    for stored_case in Case.objects.filter(added_in=2):
        form = browser.get(f"{D}/cases/{stored_case.pk}/").context["values"]
        assert "Nothing changed" in text(browser.post(f"{D}/cases/{stored_case.pk}/", form, follow=True))
        browser.post(f"{D}/cases/{stored_case.pk}/", {**form, "group": "g"})
        (new,) = Case.objects.filter(group_key="g", variables=stored_case.variables)
        members = ("expected", "label", "tags", "weight", "split")
        assert [getattr(new, name) for name in members] == [getattr(stored_case, name) for name in members]


def test_proposals_are_taken_in_edited_and_turned_away(stage: Stage, tickets: Dataset):
    created = proposals.propose(stage.edith, tickets, cases=[case("one"), case("two")], origin="bot")
    browser = signed_in(stage.rhea)

    nothing = browser.post(f"{D}/proposals/", {"do": "accept"})
    assert (nothing.status_code, "Select at least one" in text(nothing)) == (400, True)
    bad = browser.post(f"{D}/proposals/", {"do": "accept", "chosen": created[0].pk, f"case:{created[0].pk}": "{oops"})
    assert "is not JSON" in text(bad)
    assert "{oops" in text(bad)
    edited = json.dumps(case("one, edited"))
    taken = browser.post(
        f"{D}/proposals/", {"do": "accept", "chosen": created[0].pk, f"case:{created[0].pk}": edited}, follow=True
    )
    assert "1 accepted in version 2" in text(taken)
    browser.post(f"{D}/proposals/", {"do": "reject", "chosen": created[1].pk, "reason": "No"})
    decided = text(browser.get(f"{D}/proposals/?show=decided"))
    assert "one, edited" in decided
    assert "Rejected" in decided


def test_a_round_by_two_people_in_two_browsers(stage: Stage, full: Dataset):
    edith, rhea = signed_in(stage.edith), signed_in(stage.rhea)
    round_ = full.rounds.get()
    address = f"{D}/rounds/{round_.pk}/annotate/"
    for browser, label in ((edith, "a"), (rhea, "b")):
        for _ in range(3):
            page = browser.get(address)
            browser.post(address, {"item": page.context["item"].pk, "label": label})
    assert "No case needs an answer from you" in text(edith.get(address))
    assert "Undo" in text(edith.get(address))

    overview = text(edith.get(f"{D}/rounds/{round_.pk}/"))
    assert "Use this answer" in overview
    for disputed in round_.items.all():
        edith.post(f"{D}/rounds/{round_.pk}/decide/", {"item": disputed.pk, "expected": '{"category": "b"}'})
    done = edith.post(f"{D}/rounds/{round_.pk}/end/", {"do": "apply"}, follow=True)
    assert "Answers saved as version" in text(done)
    over = edith.get(address, follow=True)
    assert "This round is closed" in text(over)
    assert "decided by edith" in text(over)


def test_skipping_undoing_and_typing(stage: Stage, tickets: Dataset):
    round_ = annotation.open_round(stage.edith, tickets, title="Typed", most=2)
    browser = signed_in(stage.edith)
    address = f"{D}/rounds/{round_.pk}/annotate/"
    first = browser.get(address).context["item"].pk

    browser.post(address, {"item": first, "do": "skip"})
    second = browser.get(address).context["item"].pk
    assert second != first
    empty = browser.post(address, {"item": second, "do": "typed", "expected": " "})
    assert (empty.status_code, "Give an answer" in text(empty)) == (400, True)
    browser.post(address, {"item": second, "do": "typed", "expected": "hello"})
    assert "Only skipped cases are left" in text(browser.get(address))
    browser.post(address, {"item": second, "do": "undo"})
    assert annotation.progress(round_).done == 0
    browser.post(f"{D}/rounds/{round_.pk}/unskip/")
    assert browser.get(address).context["item"]


def test_leaks_are_shown_with_both_rows_and_allowed_by_an_admin(stage: Stage, full: Dataset):
    page = text(signed_in(stage.edith).get(f"{D}/leakage/"))
    assert page.count("northern branch") == 2
    assert "blocks fine-tuning" in page
    assert "Allow this version" not in page

    admin = signed_in(stage.ada)
    assert "Give a reason" in text(admin.post(f"{D}/leakage/override/", {"reason": " "}, follow=True))
    allowed = text(admin.post(f"{D}/leakage/override/", {"reason": "On purpose"}, follow=True))
    assert "On purpose" in allowed
    assert "allowed by ada" in allowed
    assert "leaked, allowed" in text(admin.get(f"{P}/datasets/"))


def test_sets_are_pasted_edited_and_searched(stage: Stage):
    browser = signed_in(stage.edith)
    browser.post(f"{P}/new-example-set/", {"name": "support.tickets"})
    bad = browser.post(f"{E}/add/", {"pasted": "a\tb\nc\td\te\tf\tg\n"})
    assert (bad.status_code, "Line 2" in text(bad), "c\td" in text(bad)) == (400, True, True)
    browser.post(f"{E}/add/", {"pasted": "refund please\tbilling\tnote\tx; y\nit hangs\tincident\n"})

    example_set = ExampleSet.objects.get()
    assert example_set.head
    keys = list(example_set.head.places.order_by("position").values_list("example_id", flat=True))
    rows = {
        **{
            f"input:{keys[0]}": "refund now",
            f"output:{keys[0]}": "billing",
            f"tags:{keys[0]}": "x, y",
            f"note:{keys[0]}": "note",
        },
        **{
            f"input:{keys[1]}": "it hangs",
            f"output:{keys[1]}": "incident",
            f"tags:{keys[1]}": "",
            f"note:{keys[1]}": "",
        },
        f"remove:{keys[1]}": "on",
        **{"input:new1": "new one", "output:new1": "other", "tags:new1": "", "note:new1": ""},
        **{"input:new2": "", "output:new2": "", "tags:new2": "", "note:new2": ""},
    }
    faulty = browser.post(f"{E}/edit/", {**rows, "output:new1": ""})
    assert (faulty.status_code, "An example needs its output" in text(faulty)) == (400, True)
    browser.post(f"{E}/edit/", {**rows, "message": "Better"})
    example_set.refresh_from_db()
    assert [(shot.input, shot.tags) for shot in example_sets.version_shots(example_set.head)] == [
        ("refund now", ("x", "y")),
        ("new one", ()),
    ]
    assert "similarity" not in text(browser.get(f"{E}/?near=money"))
    assert "Nearest first" in text(browser.get(f"{E}/?near=money"))
    keys = [place.example_id for place in example_set.head.places.all()]
    none = {f"{name}:{key}": "x" for key in keys for name in ("input", "output", "remove")}
    assert "at least one example" in text(browser.post(f"{E}/edit/", none))


def test_failed_embedding_is_told_and_tried_again(stage: Stage):
    version = make_set(stage)
    Embedding.objects.update(state="failed", error="The server was away.")
    browser = signed_in(stage.edith)

    assert "The server was away." in text(browser.get(f"{E}/"))
    browser.post(f"{E}/embed/")

    assert Embedding.objects.get(version=version).state == "pending"


def test_a_used_set_says_who_uses_it_instead_of_being_archived(stage: Stage):
    version = make_set(stage)
    prompt = stage.prompt()
    stage.commit(prompt, "x", examples={"set": version.content_hash, "select": "first", "k": 1})
    browser = signed_in(stage.edith)

    assert "support.triage" in text(browser.get(f"{E}/"))
    assert "is used by support.triage" in text(browser.post(f"{E}/archive/", follow=True))
    page = text(browser.get(f"{P}/prompts/support.triage/versions/1/"))
    assert "the first 1 of" in page
    assert f"{E}/?version=1" in page


def test_the_editor_offers_sets_and_previews_what_is_picked(stage: Stage):
    version = make_set(stage)
    embed(version)
    prompt = stage.prompt()
    browser = signed_in(stage.edith)
    assert "support.tickets v1 (5)" in text(browser.get(f"{P}/prompts/support.triage/edit/"))

    document = {
        "kind": "chat",
        "messages": [{"role": "user", "content": "{{ ticket }}"}],
        "examples": {"set": version.content_hash, "select": "similar", "k": 1, "query": "{{ ticket }}"},
    }
    body = {
        "document": document,
        "samples": {"ticket": "refund"},
        "revision": 0,
        "window": "w",
        "serial": 1,
        "sampled": {},
    }
    response = browser.post(
        f"{P}/prompts/{prompt.name}/edit/draft/", json.dumps(body), content_type="application/json"
    ).json()
    assert "Please refund the second payment" in response["preview"]
    assert "Compared with: refund" in response["preview"]
    document["examples"]["set"] = "sha256:" + "0" * 64  # type: ignore[index]
    response = browser.post(
        f"{P}/prompts/{prompt.name}/edit/draft/", json.dumps(body), content_type="application/json"
    ).json()
    assert response["marks"][0]["pointer"] == "/examples"
    assert response["is_rendered"]


def test_dealing_is_set_before_the_first_cases_and_anew_after_them(stage: Stage, tickets: Dataset):
    browser = signed_in(stage.edith)
    datasets.create(stage.edith, name="empty")
    split_ratios = {"train": "50", "validation": "0", "test": "50", "general": "0", "seed": "3", "do": "resplit"}

    assert "Splits saved" in text(browser.post(f"{P}/datasets/empty/about/", split_ratios, follow=True))
    assert datasets.get_dataset(stage.project, "empty").seed == 3
    assert "Cases re-split in version 2" in text(browser.post(f"{D}/about/", split_ratios, follow=True))
    bad = browser.post(f"{D}/about/", {**split_ratios, "test": "60"})
    assert "add up to 110 %" in text(bad)


def test_a_stranger_signs_in(stage: Stage, full: Dataset):
    assert Client().get(f"{D}/")["Location"].startswith("/login/")
