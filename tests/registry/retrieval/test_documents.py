"""Documents: put by their content, revised and removed without losing what they said."""

import base64
import functools
import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pypdf
import pytest
from django.db import ProgrammingError, transaction
from pypdf.generic import DecodedStreamObject, NameObject

from core.errors import Problem
from registry.models import AuditEntry, Chunk, Collection, DocumentRevision
from registry.retrieval import collections, documents, extraction, file_imports
from registry.retrieval.search import SearchSettings, search
from tests.conftest import Stage
from tests.registry.retrieval.conftest import EXPORT, REFUNDS, embed


def test_a_document_is_cut_and_known_by_its_titles(stage: Stage, handbook: Collection):
    chunks = Chunk.objects.filter(revision__document__path="refunds.md")

    assert [(chunk.position, chunk.titles) for chunk in chunks] == [(1, ["Refunds"]), (2, ["Refunds", "Abroad"])]
    assert all(chunk.text == chunk.revision.text[chunk.start : chunk.end] for chunk in chunks)
    assert not Chunk.objects.filter(vector=None).exists()


def test_the_same_file_changes_nothing_and_another_one_is_a_revision(stage: Stage, handbook: Collection):
    assert documents.put(stage.edith, handbook, "refunds.md", REFUNDS).what == "unchanged"
    before = DocumentRevision.objects.get(document__path="refunds.md")

    outcome = documents.put(stage.edith, handbook, "refunds.md", REFUNDS.replace(b"14", b"30"))

    assert (outcome.what, outcome.revision.number) == ("updated", 2)
    assert documents.put(stage.edith, handbook, "refunds.md", REFUNDS.replace(b"14", b"30"), metadata={"a": 1}).what
    with pytest.raises(ProgrammingError, match="insert-only"), transaction.atomic():
        DocumentRevision.objects.filter(pk=before.pk).update(text="x")
    with pytest.raises(ProgrammingError, match="never change"), transaction.atomic():
        Chunk.objects.filter(revision=before).update(text="x")


def test_what_was_said_at_a_moment_can_be_asked_again(stage: Stage, handbook: Collection):
    first = DocumentRevision.objects.get(document__path="refunds.md").at
    second = documents.put(stage.edith, handbook, "refunds.md", REFUNDS.replace(b"14 days", b"30 days")).revision.at
    document = documents.get_document(handbook, "refunds.md")
    third = documents.remove(stage.edith, handbook, document).revision.at
    embed(handbook)

    def answer(as_of: Any) -> str:
        hits = search(handbook, "How many days to get money back?", SearchSettings(k=1), as_of)
        return next((word for word in ("14 days", "30 days") if word in hits[0].text), "")

    assert [answer(moment) for moment in (first, second, third, None)] == ["14 days", "30 days", "", ""]
    assert "refunds.md" not in [row.document.path for row in documents.current_revisions(handbook)]
    assert "refunds.md" in [row.document.path for row in documents.current_revisions(handbook, second)]
    with pytest.raises(Problem) as refused:
        documents.remove(stage.edith, handbook, document)
    assert refused.value.code == "document.not_found"
    assert documents.put(stage.edith, handbook, "refunds.md", REFUNDS).what == "created"
    assert [entry.action for entry in AuditEntry.objects.filter(target="refunds.md").order_by("id")] == [
        *("document.created", "document.updated", "document.removed", "document.created")
    ]


def test_a_folder_is_taken_over_as_it_is(stage: Stage, handbook: Collection):
    texts = {"refunds.md": REFUNDS, "data/export.md": EXPORT + b"\nOr JSON.\n", "notes.xyz": b"?", "x.md": b"\xff"}

    outcomes, refused = file_imports.import_files(stage.edith, handbook, readers(texts), removes_others=True)

    assert [(outcome.revision.document.path, outcome.what) for outcome in outcomes] == [
        ("refunds.md", "unchanged"),
        ("data/export.md", "updated"),
        ("ops/incidents.md", "removed"),
    ]
    assert [(path, problem.code) for path, problem in refused] == [
        ("notes.xyz", "document.unsupported"),
        ("x.md", "document.unreadable"),
    ]


def readers(texts: Mapping[str, bytes]) -> list[tuple[str, Callable[[], bytes]]]:
    return [(path, functools.partial(bytes, text)) for path, text in texts.items()]


def test_another_folder_does_not_empty_a_collection(stage: Stage, handbook: Collection):
    others = readers({"menu.md": b"# Menu\n\nSoup.\n"})

    with pytest.raises(Problem) as refused:
        file_imports.import_files(stage.edith, handbook, others, removes_others=True)
    assert refused.value.code == "collection.other_files"
    assert documents.current_revisions(handbook).count() == 3
    file_imports.import_files(stage.edith, handbook, others, removes_others=True, may_replace_all=True)
    assert [row.document.path for row in documents.current_revisions(handbook)] == ["menu.md"]


def test_what_is_not_said_anew_stays(stage: Stage, handbook: Collection):
    documents.put(stage.edith, handbook, "refunds.md", REFUNDS, metadata={"land": "de"})

    revision = documents.put(stage.edith, handbook, "refunds.md", REFUNDS.replace(b"14", b"30")).revision

    assert revision.metadata == {"land": "de"}
    assert {chunk.metadata["land"] for chunk in revision.chunks.all()} == {"de"}
    with pytest.raises(Problem) as refused:
        file_imports.import_files(stage.edith, handbook, [], removes_others=True)
    assert refused.value.code == "document.invalid"


@pytest.mark.parametrize("path", ["", "/a.md", "a//b.md", "../a.md", "a/./b.md", "x" * 501, "a\nb.md"])
def test_what_is_no_path_is_refused(stage: Stage, path: str):
    collection = collections.create(stage.edith, name="handbook")

    with pytest.raises(Problem) as refused:
        documents.put(stage.edith, collection, path, EXPORT)
    assert refused.value.faults[0].pointer == "/path"


@pytest.mark.parametrize(
    "metadata",
    [
        {"a": []},
        {"": "x"},
        {"a": "x" * 301},
        {str(n): n for n in range(21)},
        {"a": "\0"},
        {"a": float("nan")},
        {"a": "\ud800"},
    ],
)
def test_metadata_is_what_can_be_searched_by(stage: Stage, metadata: Any):
    collection = collections.create(stage.edith, name="handbook")

    with pytest.raises(Problem) as refused:
        documents.put(stage.edith, collection, "a.md", EXPORT, metadata=metadata)
    assert refused.value.faults[0].pointer == "/metadata"


def read(path: str, data: bytes) -> dict[str, str]:
    return extraction.read(path, base64.b64encode(data).decode())


def pdf(*pages: str) -> bytes:
    writer = pypdf.PdfWriter()
    for text in pages:
        page = writer.add_blank_page(300, 300)
        font = pypdf.generic.DictionaryObject(
            {NameObject("/Type"): NameObject("/Font"), NameObject("/Subtype"): NameObject("/Type1")}
        )
        font[NameObject("/BaseFont")] = NameObject("/Helvetica")
        fonts = pypdf.generic.DictionaryObject({NameObject("/F1"): font})
        page[NameObject("/Resources")] = pypdf.generic.DictionaryObject({NameObject("/Font"): fonts})
        stream = DecodedStreamObject()
        stream.set_data(f"BT /F1 12 Tf 20 200 Td ({text}) Tj ET".encode())
        page[NameObject("/Contents")] = writer._add_object(stream)
    writer.add_metadata({"/Title": "Terms"})
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def test_pages_of_a_pdf_are_sections():
    document = read("terms.pdf", pdf("Fourteen days", "Norway"))

    assert document["title"] == "Terms"
    assert document["text"] == "# Terms\n\n## Page 1\n\nFourteen days\n\n## Page 2\n\nNorway\n"


def test_a_web_page_is_its_text():
    page = b"""<html><head><title>Refunds</title><style>p {}</style></head><body><nav>Menu</nav><main><h2>Abroad</h2>
    <p>Ask <b>us</b> &amp; wait.</p><script>alert(1)</script><ul><li>one</li></ul></main></body></html>"""

    document = read("refunds.html", page)

    assert document["title"] == "Refunds"
    assert document["text"] == "# Refunds\n\n## Abroad\n\nAsk **us** & wait.\n\n* one\n"


def test_several_parts_of_a_page_are_all_read():
    page = "<body><article>One</article><article>Two</article><p>Tail</p></body>"
    assert read("a.html", page.encode())["text"] == "One\n\nTwo\n\nTail\n"
    declared = '<meta charset="latin-1"><p>Gr\u00fc\u00dfe</p>'
    assert read("a.html", declared.encode("latin-1"))["text"] == "Gr\u00fc\u00dfe\n"


def docx(*paragraphs: str) -> bytes:
    """The least that Word's format asks for."""
    word = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    packages = "http://schemas.openxmlformats.org/package/2006"
    body = "".join(f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>" for text in paragraphs)
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    target = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{packages}/content-types"><Override PartName="/word/document.xml" '
        f'ContentType="{kind}"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{packages}/relationships"><Relationship Id="r1" Type="{target}" '
        'Target="word/document.xml"/></Relationships>',
        "word/document.xml": f'<w:document xmlns:w="{word}"><w:body>{body}</w:body></w:document>',
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return out.getvalue()


def test_a_document_of_word_is_its_text(stage: Stage):
    """By the extra `documents`, in a child under the limits."""
    collection = collections.create(stage.edith, name="handbook")

    revision = documents.put(stage.edith, collection, "terms/refunds.docx", docx("Fourteen days", "Norway")).revision

    assert (revision.title, revision.text) == ("refunds", "Fourteen days\n\nNorway\n")


@pytest.mark.parametrize(
    ("path", "data", "code"),
    [
        ("a.pdf", b"%PDF-1.7 nonsense", "document.unreadable"),
        ("a.pdf", b"", "document.unreadable"),
        ("a.md", b"  \n", "document.unreadable"),
        ("a.html", b"<script>1</script>", "document.unreadable"),
        ("a.html", b"<title>Only a title</title><body></body>", "document.unreadable"),
        ("a.html", "<p>Gr\u00fc\u00dfe</p>".encode("latin-1"), "document.unreadable"),
        ("a.pdf", pdf(""), "document.unreadable"),
        ("a.txt", b"\xff\xfe\x00", "document.unreadable"),
        ("a.exe", b"MZ", "document.unsupported"),
        ("a", b"text", "document.unsupported"),
        (".md", b"text", "document.unsupported"),
        ("a.md", b"x" * 4_000_001, "document.too_large"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(path: str, data: bytes, code: str):
    with pytest.raises(Problem) as refused:
        read(path, data)
    assert refused.value.code == code


def test_hostile_files_end_under_the_limits(stage: Stage, tmp_path: Path):
    collection = collections.create(stage.edith, name="handbook")
    nested = b"<div>" * 200_000 + b"deep" + b"</div>" * 200_000
    with pytest.raises(Problem) as refused:
        documents.put(stage.edith, collection, "deep.html", nested)
    assert refused.value.code in {"document.too_expensive", "document.unreadable"}
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b"\0" * 300_000_000)
    with pytest.raises(Problem) as refused:
        documents.put(stage.edith, collection, "bomb.docx", bomb.getvalue())
    assert refused.value.code == "document.too_large"
    assert not DocumentRevision.objects.exists()


def test_only_editors_change_a_collection(stage: Stage, handbook: Collection):
    for change in (
        lambda: collections.create(stage.vera, name="other"),
        lambda: documents.put(stage.vera, handbook, "a.md", EXPORT),
        lambda: documents.remove(stage.vera, handbook, documents.get_document(handbook, "refunds.md")),
        lambda: collections.archive(stage.vera, handbook),
    ):
        with pytest.raises(Problem) as refused:
            change()
        assert refused.value.code == "access.denied"
