"""Reading documents of many kinds as Markdown. Pure; done in a child under limits (registry.retrieval.documents).

What a document says is data: nothing in it is followed, fetched or run. Pages, sizes and times are bounded, because a
file may be made to cost.
"""

import base64
import importlib.util
import io
import logging
import re
import zipfile
from collections.abc import Callable
from functools import partial

from core.errors import Problem

MAX_TEXT_CHARACTERS = 4_000_000
MAX_PAGES = 2_000
# Of a file that is an archive (Office's are): what it may unfold to, and how many times its size.
MAX_UNPACKED_BYTES, MAX_RATIO = 200_000_000, 200
TITLE = re.compile(r"^#[ \t]+(\S.*)$", re.MULTILINE)
NOT_TEXT = re.compile("[\0\ud800-\udfff]")
OFFICE = (".docx", ".pptx", ".xlsx")
MEDIA_TYPES = {
    **dict.fromkeys((".md", ".markdown"), "text/markdown"),
    **dict.fromkeys((".txt", ".text", ".rst"), "text/plain"),
    **dict.fromkeys((".html", ".htm", ".xhtml"), "text/html"),
    ".pdf": "application/pdf",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


def readable_suffixes() -> list[str]:
    """Return the endings of files that can be read here: Office's with the extra `documents` alone."""
    has_office = importlib.util.find_spec("markitdown") is not None
    return [suffix for suffix in MEDIA_TYPES if has_office or suffix not in OFFICE]


def suffix_of(path: str) -> str:
    name = path.rpartition("/")[2].lower()
    return name[name.rindex(".") :] if "." in name[1:] else ""


def read(path: str, data: str) -> dict[str, str]:
    """Return the title and the text of a document, as Markdown; `data` is base64. Raises `document.unreadable`,
    `document.unsupported` or `document.too_large`."""
    raw = base64.b64decode(data)
    suffix = suffix_of(path)
    text = _reader(suffix)(raw)
    text = NOT_TEXT.sub("\ufffd", text).replace("\r\n", "\n").replace("\r", "\n").strip()
    if len(text) > MAX_TEXT_CHARACTERS:
        sentence = f"It has {len(text):,} characters; at most {MAX_TEXT_CHARACTERS:,} are read."
        raise Problem("document.too_large", sentence)
    if not text:
        raise Problem("document.unreadable", "There is no text in it; a scan has to be recognised first.")
    title = TITLE.search(text)
    return {"title": title[1].rstrip(" \t#")[:300] if title else "", "text": f"{text}\n"}


def _reader(suffix: str) -> Callable[[bytes], str]:
    readers: dict[str, Callable[[bytes], str]] = {
        **dict.fromkeys((".md", ".markdown", ".txt", ".text", ".rst"), _decoded),
        **dict.fromkeys((".html", ".htm", ".xhtml"), _html),
        ".pdf": _pdf,
        **{name: partial(_office, name) for name in OFFICE},
    }
    if suffix not in readers:
        listed = ", ".join(sorted(readers))
        raise Problem("document.unsupported", f"Documents end in {listed}; this ends in {suffix or 'nothing'!r}.")
    return readers[suffix]


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Problem("document.unreadable", f"It is not UTF-8 (byte {error.start:,}).") from None


def _html(raw: bytes) -> str:
    from bs4 import BeautifulSoup  # noqa: PLC0415 - in a child, and only where it is needed
    from markdownify import MarkdownConverter  # noqa: PLC0415

    try:
        soup = BeautifulSoup(raw.decode("utf-8-sig"), "html.parser")
    except UnicodeDecodeError:
        # By what it declares.
        soup = BeautifulSoup(raw, "html.parser")
        if not soup.original_encoding or soup.declared_html_encoding is None:
            raise Problem("document.unreadable", "It is not UTF-8, and does not say what it is.") from None
    for element in soup(["script", "style", "noscript", "template", "svg", "iframe", "object"]):
        element.decompose()
    # The one part that is the page's own; with several of them nothing is left out.
    parts = soup.find_all("main") or soup.find_all("article")
    body = parts[0] if len(parts) == 1 else soup.body or soup
    converter = MarkdownConverter(heading_style="ATX", strip=["img"])
    text = str(converter.convert_soup(body))
    if not text.strip():
        return ""
    if soup.title and soup.title.string and not TITLE.search(text):
        text = f"# {soup.title.string.strip()}\n\n{text}"
    return re.sub(r"\n{3,}", "\n\n", text)


def _pdf(raw: bytes) -> str:
    import pypdf  # noqa: PLC0415
    from pypdf.errors import PyPdfError  # noqa: PLC0415

    # It warns of each of a broken file's faults.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    try:
        reader = pypdf.PdfReader(io.BytesIO(raw))
        if reader.is_encrypted and not reader.decrypt(""):
            raise Problem("document.unreadable", "It is encrypted.")
        if len(reader.pages) > MAX_PAGES:
            sentence = f"It has {len(reader.pages):,} pages; at most {MAX_PAGES:,} are read."
            raise Problem("document.too_large", sentence)
        title = str((reader.metadata and reader.metadata.title) or "").strip()
        pages = [page.extract_text().strip() for page in reader.pages]
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, AssertionError) as error:
        raise Problem("document.unreadable", f"It cannot be read as PDF: {str(error)[:200]}") from None
    if not any(pages):
        return ""
    head = [f"# {title}"] if title else []
    return "\n\n".join([*head, *(f"## Page {number}\n\n{text}" for number, text in enumerate(pages, 1) if text)])


def _office(suffix: str, raw: bytes) -> str:
    try:
        from markitdown import MarkItDown, StreamInfo  # noqa: PLC0415
    except ImportError:
        sentence = f"Install the extra `documents` to read {suffix}: pip install 'cuebook-server[documents]'."
        raise Problem("document.unsupported", sentence) from None
    _refuse_bomb(raw)
    try:
        converted = MarkItDown(enable_plugins=False).convert_stream(
            io.BytesIO(raw), stream_info=StreamInfo(extension=suffix)
        )
    except Exception as error:
        # Its converters raise whatever their libraries do.
        raise Problem("document.unreadable", f"It cannot be read as {suffix}: {str(error)[:200]}") from None
    return str(converted.text_content)


def _refuse_bomb(raw: bytes) -> None:
    """Refuse an archive that unfolds to very much, before anything is unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except zipfile.BadZipFile:
        raise Problem("document.unreadable", "It is no Office document: not even an archive.") from None
    if unpacked > min(MAX_UNPACKED_BYTES, MAX_RATIO * max(len(raw), 100_000)):
        raise Problem("document.too_large", f"Unpacked it has {unpacked:,} bytes.")
