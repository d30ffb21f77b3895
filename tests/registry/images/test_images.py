"""Uploaded images: stored once by their hash, bounded, shown to who may see them, and kept while something has them."""

import hashlib
import io
import threading
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.db import IntegrityError, ProgrammingError, connection, transaction
from django.test import Client
from rest_framework.test import APIClient

from core.errors import Problem
from registry.accounts.permissions import Actor
from registry.images import lookup, uploads
from registry.models import AuditEntry, UploadedImage
from registry.prompts import drafts, versions
from tests.conftest import ApiFor, Stage
from tests.image_files import as_data, png

IMAGES = "/api/v1/images"


def post(api: APIClient, data: bytes, content_type: str = "image/png") -> Any:
    return api.post(IMAGES, data=data, content_type=content_type)


def test_the_same_bytes_are_one_image(stage: Stage, api: APIClient):
    data = png(30, 20)

    first, again = post(api, data), post(api, data, "application/octet-stream")

    sha256 = hashlib.sha256(data).hexdigest()
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert first["Location"] == f"{IMAGES}/{sha256}"
    members = {name: first.json()[name] for name in ("address", "media_type", "width", "height", "size")}
    assert members == {
        "address": f"image:30x20:{sha256}",
        "media_type": "image/png",
        "width": 30,
        "height": 20,
        "size": len(data),
    }
    assert [row["sha256"] for row in api.get(IMAGES).json()["results"]] == [sha256]
    assert AuditEntry.objects.filter(action="image.uploaded").count() == 1


def test_an_image_comes_back_as_it_was_and_runs_nothing(stage: Stage, api: APIClient, otis: Actor, api_for: ApiFor):
    data = png()
    address = post(api, data)["Location"]

    answer = api.get(address)

    assert answer.content == data
    assert answer["Content-Type"] == "image/png"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer["Content-Security-Policy"]
    assert "private" in answer["Cache-Control"]
    assert api.get(address, headers={"If-None-Match": answer["ETag"]}).status_code == 304
    page = f"/p/{stage.project.slug}/images/{address.rpartition('/')[2]}/"
    vera, stranger = Client(), Client()
    vera.force_login(stage.vera.user)
    stranger.force_login(otis.user)
    assert vera.get(page).content == data
    assert "sandbox" in vera.get(page)["Content-Security-Policy"]
    assert stranger.get(page).status_code == 404
    assert Client().get(page)["Location"].startswith("/login/")
    assert api_for(otis).get(address).json()["code"] == "image.not_found"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "image.invalid"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "image.invalid"),
        (b"\x89PNG\r\n\x1a\nhello", "image.invalid"),
        (png() + bytes(5 * 1024 * 1024), "image.too_large"),
        (png() + bytes(11 * 1024 * 1024), "request.too_large"),
    ],
)
def test_what_is_no_image_or_too_large_is_refused(api: APIClient, data: bytes, code: str):
    answer = post(api, data)

    assert answer.json()["code"] == code
    assert not UploadedImage.objects.exists()


def test_a_large_body_is_for_images_only(api: APIClient):
    answer = api.post("/api/v1/prompts", data=b" " * 3_000_000, content_type="application/json")

    assert answer.json()["code"] == "request.too_large"


def test_who_may_only_see_uploads_nothing(stage: Stage, api_for: ApiFor):
    assert post(api_for(stage.vera), png()).json()["code"] == "access.denied"
    assert post(api_for(stage.edith, scopes=["read"]), png()).json()["code"] == "access.denied"
    assert post(APIClient(), png()).json()["code"] == "auth.required"


def test_a_projects_images_have_so_much_room(stage: Stage, settings: Any):
    settings.IMAGE_BYTES = len(png(1)) + len(png(2))
    uploads.upload(stage.edith, png(1))
    uploads.upload(stage.edith, png(2))

    with pytest.raises(Problem, match="Delete some") as refusal:
        uploads.upload(stage.edith, png(3))

    assert refusal.value.code == "image.no_room"
    # One that is there already needs none.
    assert uploads.upload(stage.edith, png(2))[1] is False


def test_two_who_upload_the_same_at_once_have_one(live_stage: Stage):
    images: list[tuple[UploadedImage, bool]] = []
    start = threading.Barrier(4)

    def upload() -> None:
        start.wait()
        try:
            images.append(uploads.upload(live_stage.edith, png()))
        finally:
            connection.close()

    threads = [threading.Thread(target=upload) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({image.pk for image, _ in images}) == 1
    assert sorted(is_new for _, is_new in images) == [False, False, False, True]


@pytest.mark.parametrize(
    "change", [{"sha256": "0" * 64}, {"data": png(9, 9)}, {"media_type": "image/gif"}, {"width": 7}, {"size": 1}]
)
def test_the_database_lets_nobody_change_an_image(stage: Stage, change: dict[str, Any]):
    image, _ = uploads.upload(stage.edith, png())

    with pytest.raises(ProgrammingError, match="never change"), transaction.atomic():
        UploadedImage.objects.filter(pk=image.pk).update(**change)


@pytest.mark.parametrize("wrong", [{"sha256": "0" * 64}, {"size": 1}, {"media_type": "image/svg"}, {"width": 0}])
def test_the_database_checks_the_hash_and_the_size(stage: Stage, wrong: dict[str, Any]):
    data = png()
    right = {
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": len(data),
        "media_type": "image/png",
        "width": 3,
        "height": 2,
    }

    with pytest.raises(IntegrityError), transaction.atomic():
        UploadedImage.objects.create(project=stage.project, data=data, by_name="x", **{**right, **wrong})


def test_an_image_that_nothing_has_can_be_deleted(stage: Stage, api: APIClient):
    address = post(api, png())["Location"]

    assert api.delete(address).status_code == 204
    assert api.get(address).json()["code"] == "image.not_found"
    assert AuditEntry.objects.get(action="image.deleted").before["address"].startswith("image:3x2:")


def test_the_images_of_one_request_have_a_bound(stage: Stage, api: APIClient, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lookup, "MAX_SENT_BYTES", 5 * len(png()))
    image, _ = uploads.upload(stage.edith, png())
    part = {"type": "image_url", "image_url": {"url": image.address}}

    assert len(lookup.with_data(stage.project.pk, [{"role": "user", "content": [part] * 5}])[0]["content"]) == 5
    with pytest.raises(Problem) as refusal:
        lookup.with_data(stage.project.pk, [{"role": "user", "content": [part] * 6}])
    assert refusal.value.code == "image.too_large"


def test_twenty_files_come_at_once_and_a_bad_one_spoils_no_other(stage: Stage):
    edith = Client()
    edith.force_login(stage.edith.user)
    page = f"/p/{stage.project.slug}/images/"

    def send(files: list[bytes]) -> str:
        named = [SimpleUploadedFile(f"{place}.png", data, "image/png") for place, data in enumerate(files)]
        return edith.post(page, {"files": named}, follow=True).content.decode()

    assert "Choose 1 to 20 files at once; these are 21. Nothing was uploaded." in send([png(shade=1)] * 21)
    assert "Choose 1 to 20 files at once; these are 0." in send([])
    answer = send([png(3, 3), b"hello", png(4, 4), png(3, 3)])
    assert "2 images uploaded; 1 was there already. 1.png: This is no PNG" in answer
    assert UploadedImage.objects.count() == 2


def test_a_sample_value_keeps_its_image(stage: Stage):
    image, _ = uploads.upload(stage.edith, png())
    drafts.save_samples(stage.edith, stage.prompt("support.look"), {"shot": image.address})

    with pytest.raises(Problem, match=r"sample value of support\.look"):
        uploads.delete(stage.edith, image)


def test_messages_get_the_data_of_the_images_that_they_name(stage: Stage):
    image, _ = uploads.upload(stage.edith, png())
    part = {"type": "image_url", "image_url": {"url": image.address, "detail": "low"}}
    other = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    messages = [
        {"role": "system", "content": f"No image: {image.address}"},
        {"role": "user", "content": [{"type": "text", "text": "Look"}, part, other]},
    ]

    system, user = lookup.with_data(stage.project.pk, messages)

    assert system == messages[0]
    data = {"type": "image_url", "image_url": {"url": as_data(png()), "detail": "low"}}
    assert user == {"role": "user", "content": [{"type": "text", "text": "Look"}, data, other]}


def test_an_image_that_is_not_here_is_named(stage: Stage, otis: Actor):
    elsewhere, _ = uploads.upload(otis, png())
    image, _ = uploads.upload(stage.edith, png(4, 4))
    for address in (
        f"image:3x2:{'0' * 64}",
        # The size is a part of the address: a wrong one would count wrong tokens.
        image.address.replace("4x4", "40x40"),
        elsewhere.address,
    ):
        message = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": address}}]}

        with pytest.raises(Problem, match="Upload it first") as refusal:
            lookup.with_data(stage.project.pk, [message])

        assert refusal.value.code == "image.unknown"


def test_a_service_that_renders_gets_the_data(stage: Stage, api: APIClient):
    image, _ = uploads.upload(stage.edith, png())
    content = {
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "{{ shot }}"}}]}],
        "model": {"name": "gpt-4o"},
    }
    versions.commit(stage.edith, stage.prompt("support.look"), content=content, message="")

    rendered = api.post("/api/v1/prompts/support.look/versions/latest/render", {"variables": {"shot": image.address}})

    assert rendered.json()["messages"][0]["content"][0]["image_url"]["url"] == as_data(png())


def test_a_prompts_own_image_is_not_an_uploaded_one(stage: Stage):
    image, _ = uploads.upload(stage.edith, png())
    message = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": image.address}}]}

    with pytest.raises(Problem, match="a variable's value"):
        versions.commit(
            stage.edith, stage.prompt("support.look"), content={"messages": [message], "model": {"name": "gpt-4o"}}
        )


def test_the_command_uploads_lists_and_deletes(stage: Stage, tmp_path: Path):
    wide, other = tmp_path / "wide.png", tmp_path / "other.txt"
    wide.write_bytes(png(40, 4))
    other.write_bytes(b"hello")
    sample, _ = uploads.upload(stage.edith, png())
    drafts.save_samples(stage.edith, stage.prompt("support.look"), {"shot": sample.address})

    uploaded = run("upload", str(wide))

    assert uploaded == f"image:40x4:{hashlib.sha256(png(40, 4)).hexdigest()}\t{wide}\n"
    assert uploaded.partition("\t")[0] in run("list")
    with pytest.raises(CommandError, match=r"no PNG.*\[image\.invalid\]"):
        run("upload", str(other))
    with pytest.raises(CommandError, match="There is no file"):
        run("upload", str(tmp_path / "none.png"))
    for wrong in (["list", str(wide)], ["upload"]):
        with pytest.raises(CommandError, match="Name files"):
            run(*wrong)
    assert run("delete-unused") == "1 deleted\n"
    assert [image.pk for image in UploadedImage.objects.all()] == [sample.pk]


def run(action: str, *files: str) -> str:
    output = io.StringIO()
    call_command("images", action, *files, project="paper", stdout=output)
    return output.getvalue()
