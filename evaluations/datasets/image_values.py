"""Images that are data in the variables of a case, and the addresses that stand in their place. Pure."""

from collections.abc import Mapping
from typing import Any

from core.errors import Fault
from core.image_data import MAX_IMAGE_BYTES, decoded, hash_of, is_data, read_facts, uploaded_address

DATA = "data:image/"
# Deeper than any case may be (core.json_values): what stands there is left for the check of cases to refuse.
MAX_DEPTH = 25
# So much of what is no image is told.
MAX_TOLD = 40


def with_addresses(document: Any, images: dict[str, bytes], faults: list[Fault] | None = None) -> Any:
    """Return a case's document with the addresses of images that are data in its variables, and put their bytes into
    `images`, by hash. Data that is no image which can be uploaded stays as it is, with a fault."""
    variables = document.get("variables") if isinstance(document, dict) else None
    if not isinstance(variables, dict) or not _has_data(variables, 0):
        return document
    broken: list[str] = []
    document = {**document, "variables": _with_addresses(variables, images, broken, 0)}
    if broken and faults is not None:
        sentence = f"{broken[0]}… is no PNG, JPEG, WebP or GIF of at most {MAX_IMAGE_BYTES // 2**20} MB."
        faults.append(Fault("/variables", "image", sentence))
    return document


def _with_addresses(value: Any, images: dict[str, bytes], broken: list[str], depth: int) -> Any:
    if isinstance(value, str):
        return _address(value, images, broken) if value.startswith(DATA) else value
    if depth > MAX_DEPTH:
        return value
    if isinstance(value, Mapping):
        return {name: _with_addresses(member, images, broken, depth + 1) for name, member in value.items()}
    return [_with_addresses(item, images, broken, depth + 1) for item in value] if isinstance(value, list) else value


def _address(text: str, images: dict[str, bytes], broken: list[str]) -> str:
    data = decoded(text)
    facts = read_facts(data) if data and len(data) <= MAX_IMAGE_BYTES else None
    if data is None or facts is None:
        if is_data(text):
            broken.append(text[:MAX_TOLD])
        return text
    sha256 = hash_of(data)
    images[sha256] = data
    return uploaded_address(facts, sha256)


def _has_data(value: Any, depth: int) -> bool:
    if isinstance(value, str):
        return value.startswith(DATA)
    if depth > MAX_DEPTH or not isinstance(value, Mapping | list):
        return False
    return any(_has_data(item, depth + 1) for item in (value.values() if isinstance(value, Mapping) else value))
