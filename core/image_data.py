"""Images as data: what a file of one is, by its first bytes, and the addresses of those that were uploaded. Pure."""

import base64
import hashlib
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MAX_EDGE = 100_000
# As much as Anthropic takes of one image; others take more.
MAX_IMAGE_BYTES = 5 * 1024 * 1024
# The longest beginning of an image that has its size in it.
HEAD_BYTES = 64 * 1024
# An uploaded image: its width and height, by which its tokens are counted without it, and the SHA-256 of its bytes.
UPLOADED = re.compile(r"image:(\d{1,6})x(\d{1,6}):([0-9a-f]{64})")
# The same in JSON: a value, and no member's name. PostgreSQL reads it too.
UPLOADED_IN_JSON = r'(?<!\\)"image:([0-9]{1,6}x[0-9]{1,6}):([0-9a-f]{64})"(?!:)'
DATA = re.compile(r"data:image/[a-z0-9.+-]{1,40};base64,([A-Za-z0-9+/]+={0,2})")


@dataclass(frozen=True)
class ImageFacts:
    """What the first bytes of an image say: its media type, and its width and height in pixels."""

    media_type: str
    width: int
    height: int


def read_facts(data: bytes) -> ImageFacts | None:
    """Read the facts of a PNG, JPEG, GIF or WebP; None for anything else, and where its size cannot be read."""
    try:
        facts = _read(data)
    except (struct.error, IndexError):
        return None
    return facts if facts and all(0 < edge <= MAX_EDGE for edge in (facts.width, facts.height)) else None


def uploaded_address(facts: ImageFacts, sha256: str) -> str:
    """Return the address by which values name an uploaded image."""
    return f"image:{facts.width}x{facts.height}:{sha256}"


def uploaded_in(value: Any) -> Iterator[str]:
    """Yield the addresses of uploaded images among the texts of a JSON value, each as often as it stands there. Within
    a longer text, or as a member's name, an address is just text."""
    if isinstance(value, str):
        if UPLOADED.fullmatch(value):
            yield value
    elif isinstance(value, Mapping):
        for member in value.values():
            yield from uploaded_in(member)
    elif isinstance(value, list):
        for item in value:
            yield from uploaded_in(item)


def size_of(address: str) -> tuple[int, int] | None:
    """Return the width and height of an image that is data or was uploaded, in pixels; None where nobody knows."""
    if uploaded := UPLOADED.fullmatch(address):
        return int(uploaded[1]), int(uploaded[2])
    head, comma, data = address.partition(",")
    if not comma or not head.startswith("data:image/") or not head.endswith(";base64"):
        return None
    try:
        start = base64.b64decode(data[: HEAD_BYTES // 3 * 4], validate=True)
    except ValueError:
        return None
    facts = read_facts(start)
    return (facts.width, facts.height) if facts else None


def digest_of(address: str) -> str:
    """Return what names an image whatever its address: the SHA-256 of one that is data or was uploaded, else the
    address itself."""
    if uploaded := UPLOADED.fullmatch(address):
        return uploaded[3]
    data = decoded(address)
    return hash_of(data) if data is not None else address


def is_data(address: str) -> bool:
    """Return whether an address says that it is an image's data, and not just a text that begins so."""
    return bool(DATA.fullmatch(address))


def decoded(address: str) -> bytes | None:
    """Return the bytes of an image that is data, or None."""
    data = DATA.fullmatch(address)
    if data is None:
        return None
    try:
        return base64.b64decode(data[1], validate=True)
    except ValueError:
        return None


def hash_of(data: bytes) -> str:
    """Return the hash by which an uploaded image is known."""
    return hashlib.sha256(data).hexdigest()


def _read(data: bytes) -> ImageFacts | None:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return ImageFacts("image/png", *struct.unpack(">II", data[16:24]))
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return ImageFacts("image/gif", *struct.unpack("<HH", data[6:10]))
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _read_webp(data)
    return _read_jpeg(data) if data.startswith(b"\xff\xd8") else None


def _read_webp(data: bytes) -> ImageFacts | None:
    kind = data[12:16]
    if kind == b"VP8X":
        edges = (int.from_bytes(data[start : start + 3], "little") + 1 for start in (24, 27))
        return ImageFacts("image/webp", *edges)
    if kind == b"VP8L":
        (bits,) = struct.unpack("<I", data[21:25])
        return ImageFacts("image/webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8 ":
        return ImageFacts("image/webp", *(edge & 0x3FFF for edge in struct.unpack("<HH", data[26:30])))
    return None


def _read_jpeg(data: bytes) -> ImageFacts | None:
    """Walk the segments of a JPEG up to the one that begins a frame."""
    place = 2
    while place + 9 <= len(data):
        if data[place] != 0xFF:
            return None
        marker = data[place + 1]
        if marker == 0xFF:
            # A fill byte.
            place += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[place + 5 : place + 9])
            return ImageFacts("image/jpeg", width, height)
        (length,) = struct.unpack(">H", data[place + 2 : place + 4])
        place += 2 + length
    return None
