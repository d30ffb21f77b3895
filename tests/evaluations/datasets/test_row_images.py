"""Images in cases: data is stored once and named by its address, which goes to the model as data again."""

import io
import json
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pgtrigger
import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from core.errors import Problem
from evaluations.curation import proposals
from evaluations.data_quality import reports
from evaluations.datasets import imports
from evaluations.datasets import lifecycle as datasets
from evaluations.datasets.row import Row
from evaluations.datasets.row_images import RowImages
from evaluations.models import Case, CaseImage, CaseProposal, Dataset, Provider, ProviderModel, Report, Result
from evaluations.playground import lifecycle as playground
from evaluations.playground.lifecycle import Input, PlaygroundSettings
from evaluations.providers import configuration as providers
from evaluations.runs import lifecycle as runs
from registry.images import uploads
from registry.models import PromptVersion, UploadedImage
from registry.prompts import versions
from tests.conftest import Stage
from tests.evaluations.conftest import make_run
from tests.evaluations.datasets.test_imports import lines, performed
from tests.evaluations.playground.test_playground import work
from tests.evaluations.providers.strict_wires import strict_server
from tests.evaluations.runs.test_pages import finish
from tests.http_server import serve
from tests.image_files import as_data, png


@pytest.fixture
def shots(stage: Stage) -> Dataset:
    return datasets.create(stage.edith, name="support.shots")


@pytest.fixture
def looking(stage: Stage) -> PromptVersion:
    """A prompt that looks at a screenshot."""
    image = {"type": "image_url", "image_url": {"url": "{{ shot }}"}}
    content = {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "What is wrong?"}, image]}],
        "model": {"name": "gpt-6-luna", "max_output_tokens": 500},
    }
    return versions.commit(stage.edith, stage.prompt("support.look"), content=content, message="first").version


@pytest.fixture
def wire() -> Any:
    """A server that checks what it gets against the published shapes."""
    return strict_server()


@pytest.fixture
def luna(stage: Stage, wire: Any, settings: Any) -> Any:
    settings.PROVIDER_PRIVATE_HOSTS = ["127.0.0.1"]
    with serve(wire) as port:
        provider: Provider = providers.create(
            stage.ada, name="strict", base_url=f"http://127.0.0.1:{port}/v1", key="right", preset="openai"
        )
        yield providers.add_model(stage.ada, provider, "gpt-6-luna")


def upload(stage: Stage, dataset: Dataset, data: bytes, **options: Any) -> Any:
    begun = imports.begin(stage.edith, dataset, filename="x.jsonl", **options)
    for number, start in enumerate(range(0, len(data), imports.MAX_PART_BYTES), start=1):
        imports.put_part(stage.edith, begun, number, data[start : start + imports.MAX_PART_BYTES])
    return begun


def values_of(dataset: Dataset) -> list[Any]:
    return list(Case.objects.filter(dataset=dataset).order_by("id").values_list("variables", flat=True))


def test_an_image_that_is_data_is_stored_once_and_named(stage: Stage, shots: Dataset):
    data = as_data(png(40, 30))
    talk = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": data}}]}]

    datasets.change(
        stage.edith,
        shots,
        added=[
            {"variables": {"shot": data, "ticket": "It is grey."}},
            {"variables": {"messages": talk}},
            {"variables": {"shot": "data:image/png is how an image begins"}},
            {"variables": {"shot": "https://example.com/a.png"}},
        ],
    )

    address = UploadedImage.objects.get().address
    first, second, no_image, elsewhere = values_of(shots)
    assert first == {"shot": address, "ticket": "It is grey."}
    assert second["messages"][0]["content"][0]["image_url"]["url"] == address
    assert no_image == {"shot": "data:image/png is how an image begins"}
    assert elsewhere == {"shot": "https://example.com/a.png"}
    assert CaseImage.objects.count() == 2


def test_an_export_has_the_data_where_it_is_for_another_installation(stage: Stage, shots: Dataset, api: APIClient):
    row = {"variables": {"shot": as_data(png(40, 30)), "ticket": 'It is "grey".'}, "split": "test"}
    datasets.change(stage.edith, shots, added=[row, {"variables": {"ticket": "none"}, "split": "test"}])
    address, file = UploadedImage.objects.get().address, "/api/v1/datasets/support.shots/versions/1/file"

    def read(query: str) -> list[Any]:
        return [json.loads(line) for line in b"".join(api.get(file + query)).splitlines()]

    assert read("")[0]["variables"]["shot"] == address
    assert api.get(f"{file}?images=dta").json()["errors"][0]["pointer"] == "?images"
    assert read("?images=data") == [row, {"variables": {"ticket": "none"}, "split": "test"}]
    output = io.StringIO()
    call_command("export_cases", "support.shots", project="paper", with_images=True, stdout=output)
    assert json.loads(output.getvalue().splitlines()[0]) == row


@pytest.mark.parametrize("kind", ["png", "svg+xml"])
def test_data_that_is_no_image_is_refused(stage: Stage, shots: Dataset, kind: str):
    row = {"variables": {"shot": f"data:image/{kind};base64,QUJD"}}
    begun = upload(stage, shots, lines([row]))

    preview = imports.preview(stage.edith, begun)
    with pytest.raises(Problem, match=r"is no PNG, JPEG, WebP or GIF of at most 5 MB"):
        datasets.change(stage.edith, shots, added=[row])

    assert [fault.code for _, fault in preview.faults] == ["image"]


def test_an_image_of_a_case_stays(stage: Stage, shots: Dataset):
    image, _ = uploads.upload(stage.edith, png())
    datasets.change(stage.edith, shots, added=[{"variables": {"shot": image.address}}])
    datasets.change(stage.edith, shots, added=[{"variables": {"shot": "x"}}], removed=[Case.objects.get().pk])

    with pytest.raises(Problem, match="Cases of a dataset have it"):
        uploads.delete(stage.edith, image)

    assert UploadedImage.objects.get().pk == image.pk


def test_a_new_split_of_all_cases_keeps_their_images(stage: Stage, shots: Dataset):
    image, _ = uploads.upload(stage.edith, png())
    added = [{"variables": {"shot": image.address, "ticket": str(number)}} for number in range(8)]
    datasets.change(stage.edith, shots, added=added)

    datasets.resplit(stage.edith, shots, seed=9, split_ratios={"train": 50, "validation": 0, "test": 50})

    linked = CaseImage.objects.filter(case__added_in=2)
    assert linked.count() == Case.objects.filter(dataset=shots, added_in=2).count() == 8


@pytest.mark.parametrize("wrong", ["image:3x2:" + "0" * 64, "image:9x9:"])
def test_a_case_names_only_images_of_the_project(stage: Stage, shots: Dataset, wrong: str):
    image, _ = uploads.upload(stage.edith, png())
    wrong = wrong + image.sha256 if wrong.endswith(":") else wrong

    with pytest.raises(Problem) as refusal:
        datasets.change(
            stage.edith, shots, added=[{"variables": {"shot": image.address}}, {"variables": {"shot": wrong}}]
        )

    assert refusal.value.code == "cases.invalid"
    assert [fault.pointer for fault in refusal.value.faults] == ["/1/variables"]
    assert f"no image {wrong}" in refusal.value.detail
    assert not Case.objects.exists()


def test_bad_rows_with_unknown_images_can_be_left_out(stage: Stage, shots: Dataset):
    image, _ = uploads.upload(stage.edith, png())
    unknown = {"variables": {"shot": f"image:3x2:{'0' * 64}"}}
    data = lines([{"variables": {"shot": image.address}}, unknown, {"variables": {"shot": "none"}}])

    done = performed(imports.start(stage.edith, upload(stage, shots, data, skip_bad=True)))

    assert (done.state, done.rows_read, done.rows_added, done.rows_bad) == ("done", 3, 2, 1)
    assert [fault["line"] for fault in done.faults] == [2]
    rejected = json.loads(b"".join(imports.rejected_rows(done)))
    assert rejected["line"] == 2
    assert "Upload it first" in rejected["faults"][0]["message"]


def test_a_file_may_have_images_that_are_larger_than_a_case(stage: Stage, shots: Dataset):
    """More of them than are kept in memory at once; each far larger than a case may be."""
    images = [png(20, 20, shade) + bytes([shade]) * 3_000_000 for shade in range(14)]
    rows = [{"variables": {"shot": as_data(image)}} for image in [*images, images[0]]]
    begun = upload(stage, shots, lines(rows))

    preview = imports.preview(stage.edith, begun)
    done = performed(imports.start(stage.edith, begun))

    assert not preview.faults
    assert str(preview.cases[0]["variables"]["shot"]).startswith("image:20x20:")
    assert (done.error, done.state, done.rows_read) == ("", "done", 15)
    assert UploadedImage.objects.count() == 14
    assert values_of(shots)[0] == {"shot": UploadedImage.objects.order_by("id").first().address}


def test_one_image_in_many_rows_needs_no_memory_for_each(stage: Stage):
    """What waits to be checked has the address, and not the data."""
    images, data = RowImages(stage.edith), as_data(png() + bytes(300_000))
    for number in range(200):
        row = Row(number, {"variables": {"shot": data, "number": number}}, raw=data * 2)
        document = images.read(row.document, [])
        images.accept(number, row, document, json.dumps(document["variables"]))

    assert sum(len(json.dumps(row.document)) for _, row, _ in images._noted) < 40_000
    assert not any(row.raw for _, row, _ in images._noted)
    assert not images.is_full


def test_a_row_that_is_refused_uploads_nothing(stage: Stage, shots: Dataset):
    added = [{"variables": {"shot": as_data(png())}, "weight": -1}, {"variables": {"shot": as_data(png(9, 9))}}]

    with pytest.raises(Problem, match="above 0"):
        datasets.change(stage.edith, shots, added=added[:1])

    assert not UploadedImage.objects.exists()


@pytest.mark.parametrize(
    ("count", "bound", "sentence"), [(101, 10**9, "at most 100 images"), (3, 2 * len(png()), "more than 0 MB together")]
)
def test_the_images_of_a_case_have_a_bound(
    stage: Stage, shots: Dataset, monkeypatch: pytest.MonkeyPatch, count: int, bound: int, sentence: str
):
    monkeypatch.setattr("registry.images.lookup.MAX_SENT_BYTES", bound)

    with pytest.raises(Problem, match=sentence):
        datasets.change(stage.edith, shots, added=[{"variables": {"shots": [as_data(png())] * count}}])


def test_an_address_within_a_text_or_as_a_name_is_text(stage: Stage, shots: Dataset, api: APIClient):
    image, _ = uploads.upload(stage.edith, png())
    unknown = f"image:3x2:{'0' * 64}"
    variables = {
        **{"a": f"see {image.address}, please", "b": f' "{image.address}" ', unknown: "a name"},
        **{"c": f"{unknown}{unknown}", "d": image.address, "e": f'say "{unknown}', "f": [{"g": image.address}]},
    }

    datasets.change(stage.edith, shots, added=[{"variables": variables, "split": "test"}])

    assert list(CaseImage.objects.values_list("image", flat=True)) == [image.pk]
    file = "/api/v1/datasets/support.shots/versions/1/file?images=data"
    (row,) = [json.loads(line) for line in b"".join(api.get(file)).splitlines()]
    assert row["variables"] == {**variables, "d": as_data(png()), "f": [{"g": as_data(png())}]}
    again = datasets.create(stage.edith, name="support.copy")
    datasets.change(stage.edith, again, added=[row])
    hashes = [datasets.get_version(stage.project, name, "1").content_hash for name in ("support.shots", "support.copy")]
    assert hashes[0] == hashes[1]


def test_a_change_to_the_same_image_is_no_change(stage: Stage, shots: Dataset):
    row = {"variables": {"shot": as_data(png())}}
    datasets.change(stage.edith, shots, added=[row])

    changed = datasets.change(stage.edith, shots, changed={Case.objects.get().pk: row})

    assert (changed.created, changed.version.number) == (False, 1)


def test_who_adds_a_case_and_who_deletes_its_image_do_not_both_succeed(live_stage: Stage):
    shots = datasets.create(live_stage.edith, name="support.shots")
    start = threading.Barrier(2)
    for turn in range(12):
        image, _ = uploads.upload(live_stage.edith, png(5, 5, turn))
        outcomes: dict[str, str] = {}

        def attempt(name: str, act: Callable[[], object], outcomes: dict[str, str] = outcomes) -> None:
            start.wait()
            try:
                act()
                outcomes[name] = "done"
            except Problem as problem:
                outcomes[name] = problem.code
            finally:
                connection.close()

        row = {"variables": {"shot": image.address, "turn": turn}}
        acts: dict[str, Callable[[], object]] = {
            "add": partial(datasets.change, live_stage.edith, shots, added=[row]),
            "delete": partial(uploads.delete, live_stage.edith, image),
        }
        threads = [threading.Thread(target=attempt, args=each) for each in acts.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        added = Case.objects.filter(variables__turn=turn).exists()
        assert UploadedImage.objects.filter(pk=image.pk).exists() == added
        assert outcomes in (
            {"add": "done", "delete": "image.in_use"},
            {"add": "cases.invalid", "delete": "done"},
            {"add": "image.unknown", "delete": "done"},
        )


def test_different_images_are_different_questions(stage: Stage, shots: Dataset, settings: Any):
    settings.EMBEDDINGS_LOCAL = False
    question = "What is shown in this picture of our product, and what should a customer do about it, in one word?"
    others = [
        {
            "variables": {"shot": as_data(png(30, 30, shade)), "q": question},
            "split": "test" if shade % 4 == 0 else "train",
        }
        for shade in range(40)
    ]
    alike = [
        {"variables": {"shot": as_data(png(9, 9)), "q": question}, "split": "train"},
        {"variables": {"shot": as_data(png(9, 9)), "q": f"{question} Please."}, "split": "test"},
    ]
    datasets.change(stage.edith, shots, added=[*others, *alike])
    version = datasets.get_version(stage.project, "support.shots", "1")
    report = Report.objects.get(version=version, kind="leakage")

    reports.make_report(report)

    report.refresh_from_db()
    (finding,) = report.findings.all()
    assert report.result["leaked"] == 1
    assert (finding.kind, finding.held_out.variables["q"]) == ("near", f"{question} Please.")


def test_a_proposals_images_are_uploaded_and_stay_while_it_waits(stage: Stage, shots: Dataset):
    datasets.change(stage.edith, shots, added=[{"variables": {"shot": as_data(png(4, 4)), "q": "What is it?"}}])
    large = as_data(png() + bytes(400_000))
    with pytest.raises(Problem, match="no image image:3x2"):
        proposals.propose(stage.edith, shots, cases=[{"variables": {"shot": f"image:3x2:{'0' * 64}"}}], origin="a test")

    new = [
        {"variables": {"shot": large, "q": "What is it?"}},
        {"variables": {"shot": as_data(png(4, 4)), "q": "What is it"}},
    ]
    proposed = proposals.propose(stage.edith, shots, cases=new, origin="a test")
    proposals.check(shots)

    image = UploadedImage.objects.get(size__gt=400_000)
    with pytest.raises(Problem, match=r"proposed for support\.shots"):
        uploads.delete(stage.edith, image)
    other, same = CaseProposal.objects.filter(pk__in=[each.pk for each in proposed]).order_by("pk")
    assert other.findings == []
    assert [finding["kind"] for finding in same.findings] == ["exact"]
    proposals.accept(stage.edith, shots, keys=[other.pk])
    assert Case.objects.order_by("id").last().variables == {"shot": image.address, "q": "What is it?"}  # type: ignore[union-attr]


def test_where_there_is_no_room_nothing_is_imported(stage: Stage, shots: Dataset, settings: Any):
    settings.IMAGE_BYTES = 10

    with pytest.raises(Problem) as refusal:
        datasets.change(stage.edith, shots, added=[{"variables": {"shot": as_data(png())}}])

    assert refusal.value.code == "image.no_room"
    assert not Case.objects.exists()


def test_cases_without_images_cost_no_query_more(stage: Stage, shots: Dataset):
    with CaptureQueriesContext(connection) as captured:
        datasets.change(stage.edith, shots, added=[{"variables": {"ticket": "What is an image: a picture"}}])

    statements = [str(query["sql"]) for query in captured]
    assert len(statements) > 5
    assert [statement for statement in statements if "image" in statement and "COPY" not in statement] == []


def test_a_run_sends_the_data(stage: Stage, shots: Dataset, looking: PromptVersion, luna: ProviderModel, wire: Any):
    datasets.change(stage.edith, shots, added=[{"variables": {"shot": as_data(png())}, "expected": "grey"}])
    shots.refresh_from_db()

    run = make_run(stage, looking, shots, luna, scorers=["exact"])
    finish(run.pk)

    assert runs.get_run(stage.project, run.pk).error == ""
    (sent,) = wire.requests
    assert json.dumps(sent).count(as_data(png())) == 1
    assert "image:" not in json.dumps(sent).replace("data:image", "")


def test_a_case_whose_image_is_gone_fails_alone(
    stage: Stage, shots: Dataset, looking: PromptVersion, luna: ProviderModel, wire: Any
):
    gone = f"image:3x2:{'0' * 64}"
    added = [{"variables": {"shot": as_data(png())}, "expected": "a"}, {"variables": {"shot": "x"}, "expected": "b"}]
    datasets.change(stage.edith, shots, added=added)
    shots.refresh_from_db()
    run = make_run(stage, looking, shots, luna, scorers=["exact"])
    # As if a backup had come back without it.
    with pgtrigger.ignore("evaluations.Case:refuse_change"):
        Case.objects.filter(expected="b").update(variables={"shot": gone})

    finish(run.pk)

    errors = Result.objects.filter(run=run).order_by("case").values_list("error", flat=True)
    assert list(errors) == ["", "image.unknown"]
    assert len(wire.requests) == 1


@pytest.mark.django_db(transaction=True)
def test_the_playground_keeps_the_address_and_sends_the_data(
    stage: Stage, looking: PromptVersion, luna: ProviderModel, wire: Any
):
    image, _ = uploads.upload(stage.edith, png())
    settings = PlaygroundSettings(looking, [Input({"shot": image.address})], [luna])

    started = playground.start(stage.edith, looking.prompt, settings)
    work(started.pk)

    answer = started.answers.get()
    assert answer.error_detail == ""
    assert image.address in json.dumps(answer.request)
    with pytest.raises(Problem, match="playground run"):
        uploads.delete(stage.edith, image)
    assert as_data(png()) in json.dumps(wire.requests)
