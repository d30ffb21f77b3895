"""Pages, REST and the command of collections."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client

from registry.models import AuditEntry, Collection, DocumentRevision
from tests.conftest import ApiFor, Stage
from tests.registry.retrieval.conftest import REFUNDS, embed

URL = "/api/v1/collections"


@pytest.fixture
def edith(stage: Stage, client: Client) -> Client:
    client.force_login(stage.edith.user)
    return client


def test_a_collection_is_made_filled_searched_and_archived_on_pages(stage: Stage, edith: Client):
    home = f"/p/{stage.project.slug}/collections/"
    assert "No collections yet" in edith.get(home).content.decode()
    refused = edith.post(home, {"name": "Not so", "language": "english", "chunk_tokens": "7", "overlap_tokens": "x"})
    assert refused.status_code == 400
    assert 'value="Not so"' in refused.content.decode()
    members = {"name": "handbook", "language": "english", "chunk_tokens": "200", "overlap_tokens": "20"}
    created = edith.post(home, members)
    assert created["Location"] == f"{home}handbook/"
    files = [SimpleUploadedFile("refunds.md", REFUNDS), SimpleUploadedFile("notes.xyz", b"?")]
    answer = edith.post(f"{home}handbook/", {"files": files, "folder": "billing"})
    # One that cannot be read takes no other along, and is named.
    assert answer.status_code == 400
    assert "billing/notes.xyz" in answer.content.decode()
    embed(Collection.objects.get())

    page = edith.get(f"{home}handbook/", {"query": "money back"}).content.decode()
    assert "billing/refunds.md" in page
    assert "Refunds › Abroad" in page
    document = edith.get(f"{home}handbook/documents/billing/refunds.md", {"chunk": 2}).content.decode()
    assert "Other rules hold in Norway." in document
    assert "found" in document
    edith.post(f"{home}handbook/remove/billing/refunds.md")
    assert DocumentRevision.objects.order_by("-number")[0].is_removed
    assert (
        "was removed with this revision" in edith.get(f"{home}handbook/documents/billing/refunds.md").content.decode()
    )
    edith.post(f"{home}handbook/archive/")
    assert "handbook" in edith.get(f"{home}?archived=1").content.decode()
    edith.post(f"{home}handbook/restore/")
    assert AuditEntry.objects.filter(action__startswith="collection.").count() == 3


def test_who_may_only_see_sees(stage: Stage, client: Client, handbook: Collection):
    client.force_login(stage.vera.user)
    home = f"/p/{stage.project.slug}/collections/"

    assert "New collection" not in client.get(home).content.decode()
    assert "Add documents" not in client.get(f"{home}handbook/").content.decode()
    files = [SimpleUploadedFile("refunds.md", REFUNDS)]
    assert client.post(f"{home}handbook/", {"files": files}).status_code == 403
    assert client.post(f"{home}handbook/archive/").status_code == 403


def put(api: Any, path: str, data: bytes, **query: str) -> Any:
    options = "&".join(f"{name}={value}" for name, value in query.items())
    address = f"{URL}/handbook/documents/{path}?{options}"
    return api.generic("PUT", address, data, content_type="application/octet-stream")


def test_documents_over_rest(stage: Stage, api_for: ApiFor):
    api = api_for(stage.edith)
    created = api.post(URL, {"name": "handbook", "language": "english"}, format="json")
    assert (created.status_code, created["Location"]) == (201, f"{URL}/handbook")

    first = put(api, "billing/refunds.md", REFUNDS, metadata='{"land": "de"}')
    assert (first.status_code, first.json()["outcome"]) == (201, "created")
    assert put(api, "billing/refunds.md", REFUNDS).json()["outcome"] == "unchanged"
    changed = put(api, "billing/refunds.md", REFUNDS.replace(b"14", b"30"), metadata='{"land": "de"}')
    assert (changed.status_code, changed.json()["revision"]) == (200, 2)
    assert put(api, "a.md", b"x", metadata="[]").json()["code"] == "document.invalid"
    assert put(api, "a.exe", b"x").status_code == 415
    embed(Collection.objects.get())

    listed = api.get(f"{URL}/handbook/documents").json()["results"]
    assert [(row["path"], row["revision"], row["metadata"]) for row in listed] == [
        ("billing/refunds.md", 2, {"land": "de"})
    ]
    address = f"{URL}/handbook/documents/billing/refunds.md"
    assert "30 days" in api.get(address).json()["text"]
    assert "14 days" in api.get(address, {"revision": 1}).json()["text"]
    assert api.get(address, {"revision": 9}).status_code == 404
    answer = api.post(
        f"{URL}/handbook/search", {"query": "money back", "k": 1, "filter": {"land": "de"}}, format="json"
    )
    (chunk,) = answer.json()["chunks"]
    assert (chunk["source"], chunk["revision"]) == ("billing/refunds.md", 2)
    before = first.json()["at"]
    answer = api.post(f"{URL}/handbook/search", {"query": "money back", "k": 1, "as_of": before}, format="json")
    assert answer.json()["chunks"][0]["revision"] == 1
    assert api.get(f"{URL}/handbook").json()["chunks"] == 2
    assert api.delete(address).status_code == 204
    assert api.delete(address).status_code == 404
    assert api.post(f"{URL}/handbook/archive").json()["archived_at"]
    assert api.post(f"{URL}/handbook/search", {"query": "x"}, format="json").json()["code"] == "collection.archived"
    assert put(api, "a.md", b"x").json()["code"] == "collection.archived"


def test_a_folder_is_taken_over_by_command(stage: Stage, tmp_path: Path):
    (tmp_path / "billing").mkdir()
    (tmp_path / "billing" / "refunds.md").write_bytes(REFUNDS)
    (tmp_path / "notes.xyz").write_text("?")
    (tmp_path / ".hidden.md").write_text("# Hidden")
    (tmp_path / "link.md").symlink_to(tmp_path / "billing" / "refunds.md")

    def run(*options: str) -> tuple[str, str]:
        out, err = StringIO(), StringIO()
        named = ["--project", stage.project.slug, "--collection", "handbook"]
        try:
            call_command("import_documents", str(tmp_path), *named, *options, stdout=out, stderr=err)
        except CommandError as refusal:
            err.write(str(refusal))
        return out.getvalue(), err.getvalue()

    printed, refused = run()
    assert (
        printed == "created    billing/refunds.md\nhandbook: 1 created, 0 updated, 0 removed, 0 unchanged, 1 refused.\n"
    )
    assert "notes.xyz" in refused
    assert "1 files were refused" in refused
    (tmp_path / "notes.xyz").unlink()
    assert "0 created, 0 updated, 0 removed, 1 unchanged, 0 refused" in run()[0]
    (tmp_path / "billing" / "refunds.md").rename(tmp_path / "money.md")
    assert "1 created, 0 updated, 0 removed, 0 unchanged" in run("--keep-missing")[0]
    assert "0 created, 0 updated, 1 removed, 1 unchanged" in run()[0]
    (tmp_path / "money.md").rename(tmp_path / "cash.md")
    assert "--replace-all removes them" in run()[1]
    assert "1 created, 0 updated, 1 removed" in run("--replace-all")[0]
