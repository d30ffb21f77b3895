"""Tokens of images: by each provider's published rule, of pictures whose size is read from their data."""

import base64
import struct

import pytest

from core.image_data import size_of
from registry.content.model_profiles.image_tokens import USUAL_SIZE, count_image

# Canvases of 37 by 5 pixels, as a browser saved them.
PNG = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAACUAAAAFCAYAAADCMiU1AAAAIUlEQVR4AeyRMQ0AAACCnP1DW4HTAxIwaA5Rik6xFC01"
    "AAAA//8eyOoTAAAABklEQVQDABRfAAuZKxujAAAAAElFTkSuQmCC"
)
JPEG = (
    "data:image/jpeg;base64,/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAFA3PEY8MlBGQUZaVVBfeMiCeG5uePWvuZHI////////////////////////"
    "////////////////////////////2wBDAVVaWnhpeOuCguv/////////////////////////////////////////////////////////////////"
    "////////wAARCAAFACUDASIAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAAAAAAAAT/xAAUEAEAAAAAAAAAAAAAAAAAAAAA/9oADAMBAAIRAxEAPwCI"
    "AAAAAP//2Q=="
)
WEBP_EXTENDED = (
    "data:image/webp;base64,UklGRlwAAABXRUJQVlA4WAoAAAAQAAAAJAAABAAAQUxQSA8AAAABBxAREQAIwn+5hIj+pwcAVlA4ICYAAADQAgCdASol"
    "AAUAP3GszV20rSkkqqgCkC4JaQAAUfYAAP7uPAAAAA=="
)
WEBP_LOSSLESS = "data:image/webp;base64,UklGRhoAAABXRUJQVlA4TA0AAAAvJAABEAcQERGIiP4HAA=="
GIF = "data:image/gif;base64,R0lGODlhJQAFAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


def png(width: int, height: int) -> str:
    """A PNG's beginning: nobody reads further for its size."""
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + bytes(9)
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


@pytest.mark.parametrize("address", [PNG, JPEG, WEBP_EXTENDED, WEBP_LOSSLESS, GIF])
def test_the_size_of_a_picture_is_read_from_its_data(address: str):
    assert size_of(address) == (37, 5)


def test_the_size_of_a_lossy_webp_is_in_its_first_frame():
    frame = bytes([0xD0, 2, 0, 0x9D, 1, 0x2A]) + struct.pack("<HH", 37, 5)
    data = b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8 " + struct.pack("<I", 10) + frame

    assert size_of(f"data:image/webp;base64,{base64.b64encode(data).decode()}") == (37, 5)


@pytest.mark.parametrize(
    "address",
    [
        "https://example.org/picture.png",
        "{{ screenshot }}",
        "data:image/png;base64,",
        "data:image/png;base64,iVBORw0KGgo=",
        "data:image/png;base64,%%%%",
        "data:image/jpeg;base64,/9j/4AAQ",
        "data:image/jpeg;base64,/9j/AAAAAAAAAAAA",
        "data:image/svg+xml;base64,PHN2Zy8+",
        "data:image/png;base64,iVBORw0KGgo⟨name⟩",
        png(0, 10),
        png(10, 4_000_000_000),
    ],
)
def test_a_picture_without_a_readable_size_counts_as_one_of_the_usual_size(address: str):
    assert size_of(address) is None
    assert count_image(address, "auto", "gpt-4o") == count_image(png(*USUAL_SIZE), "auto", "gpt-4o")


@pytest.mark.parametrize(
    ("model", "detail", "size", "expected"),
    [
        # Tiles: 85 and 170 for each of four tiles; the second is scaled from 2,048 by 4,096 to 768 by 1,536.
        ("gpt-4o", "high", (1_024, 1_024), 765),
        ("gpt-4o", "high", (2_048, 4_096), 1_105),
        ("gpt-4o", "low", (4_096, 8_192), 85),
        ("gpt-4o-mini", "low", (4_096, 8_192), 2_833),
        ("ft:gpt-4o-2024-08-06:acme::x", "low", (64, 64), 85),
        ("o3", "high", (1_024, 1_024), 675),
        # Patches: 32 by 32 of them, and an image that is scaled to at most 1,536.
        ("gpt-4.1-mini", "auto", (1_024, 1_024), 1_659),
        ("gpt-5-mini", "auto", (1_800, 2_400), 2_353),
        ("gpt-6-luna", "auto", (512, 512), 308),
        ("gpt-6-luna", "auto", (1_920, 1_080), 2_448),
        ("gpt-6-luna", "auto", (4_000, 3_000), 11_868),
        # Anthropic's patches of 28, of an image that is scaled to at most 1,568 or, from 5 on, 4,784.
        ("claude-sonnet-4-5", "auto", (200, 200), 64),
        ("claude-opus-5-5", "auto", (1_024, 1_024), 1_369),
        # Google's fixed number, and before it tiles of 360 in an image of 960 by 540.
        ("gemini-3-pro-preview", "auto", (4_000, 3_000), 1_120),
        ("gemini-2.5-flash", "auto", (384, 384), 258),
        ("gemini-2.5-flash", "auto", (960, 540), 6 * 258),
    ],
)
def test_a_picture_counts_by_the_published_rule(model: str, detail: str, size: tuple[int, int], expected: int):
    assert count_image(png(*size), detail, model) == expected


@pytest.mark.parametrize(
    ("model", "detail", "most"),
    [
        ("gpt-6-luna", "high", 3_000),
        ("gpt-6-luna", "low", 308),
        ("claude-sonnet-4-5", "auto", 1_568),
        ("claude-3-5-haiku-20241022", "auto", 1_568),
        ("claude-opus-5-5", "auto", 4_784),
    ],
)
@pytest.mark.parametrize("size", [(4_000, 3_000), (90_000, 90), (99_999, 99_999)])
def test_a_large_picture_is_scaled_to_the_most_that_the_model_reads(
    model: str, detail: str, most: int, size: tuple[int, int]
):
    assert most / 3 < count_image(png(*size), detail, model) <= most
