"""Few-shot examples in their normal form, and a set's hash. Pure: usable without Django.

A set is a list of examples in an order that counts: `{"input": ..., "output": ..., "note": ..., "tags": [...]}`. Text
is NFC with line ends `\\n`; an empty note and no tags are left out; an example that stands in the list already is
dropped. The hash is `sha256` over the RFC 8785 form of `{"examples": [...], "kind": "example-set"}`.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import Fault, Problem
from .json_values import MAX_FAULTS, normalise_json

MAX_EXAMPLES = 50_000
MAX_EXAMPLE_TEXT = 32_000
MAX_NOTE = 2_000
MAX_TAGS = 20
MAX_TAG = 50
MAX_LABEL = 200
MEMBERS = frozenset({"input", "output", "note", "tags"})


@dataclass(frozen=True)
class Shot:
    """One example: an input, and a good output for it."""

    input: str
    output: str
    note: str = ""
    tags: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The members of the normal form."""
        members: dict[str, Any] = {"input": self.input, "output": self.output}
        if self.note:
            members["note"] = self.note
        if self.tags:
            members["tags"] = list(self.tags)
        return members

    @property
    def digest(self) -> str:
        return hashlib.sha256(_canonical(self.as_dict())).hexdigest()

    @property
    def label(self) -> str:
        return label_of(self.output, self.tags)


def label_of(output: str, tags: Iterable[str]) -> str:
    """Return an example's label: its first tag, or its output where it has none."""
    return next(iter(tags), output)[:MAX_LABEL]


def read_examples(documents: object) -> list[Shot]:
    """Read examples into normal form, each once, in their order.

    Raises `examples.invalid` with every fault found (up to MAX_FAULTS), its pointer starting with the example's index.
    """
    faults: list[Fault] = []
    if not isinstance(documents, list):
        raise Problem("examples.invalid", "Examples are a list.", faults=[Fault("", "type", "Must be a list.")])
    if len(documents) > MAX_EXAMPLES:
        raise Problem("examples.too_many", f"A set has at most {MAX_EXAMPLES:,} examples; this has {len(documents):,}.")
    shots: dict[Shot, None] = {}
    for index, document in enumerate(documents):
        own: list[Fault] = []
        shot = read_example(document, own)
        if shot is not None:
            shots[shot] = None
        faults += [Fault(f"/{index}{fault.pointer}", fault.code, fault.message) for fault in own]
        if len(faults) >= MAX_FAULTS:
            break
    if faults:
        raise examples_problem(faults)
    return list(shots)


def examples_problem(faults: list[Fault]) -> Problem:
    """Return `examples.invalid` for these faults; the sentence has the first one, counted from 1."""
    first = faults[0]
    index, _, member = first.pointer.lstrip("/").partition("/")
    where = f"Example {int(index) + 1}" if index.isdigit() else "The examples"
    more = f" ({len(faults) - 1} more)" if len(faults) > 1 else ""
    sentence = f"{where}{f', {member}' if member else ''}: {first.message}{more}"
    return Problem("examples.invalid", sentence, faults=faults[:MAX_FAULTS])


def read_example(document: object, faults: list[Fault]) -> Shot | None:
    """Read one example into normal form; None with its faults added to `faults`."""
    before = len(faults)
    document = normalise_json(document, faults)
    if len(faults) > before:
        return None
    if not isinstance(document, Mapping):
        faults.append(Fault("", "type", "Must be an object with input and output."))
        return None
    faults += [Fault(f"/{name}", "unknown", "An example has no such member.") for name in document.keys() - MEMBERS]
    for name, max_length in (("input", MAX_EXAMPLE_TEXT), ("output", MAX_EXAMPLE_TEXT), ("note", MAX_NOTE)):
        _check_text(document.get(name), name, max_length, faults)
    tags = document.get("tags") or []
    if not _are_tags(tags):
        faults.append(Fault("/tags", "tags", f"Must be at most {MAX_TAGS} texts of 1 to {MAX_TAG} characters."))
    if len(faults) > before:
        return None
    words = dict.fromkeys(tag.strip() for tag in tags)
    return Shot(document["input"], document["output"], document.get("note") or "", tuple(words))


def set_hash(shots: Iterable[Shot]) -> str:
    """Return the hash of a set's version."""
    document = {"examples": [shot.as_dict() for shot in shots], "kind": "example-set"}
    return f"sha256:{hashlib.sha256(_canonical(document)).hexdigest()}"


def _canonical(document: Mapping[str, Any]) -> bytes:
    """Return the RFC 8785 form of documents with only ASCII names, texts and lists: the standard library's sorted,
    unspaced output is that form, and a set of thousands takes milliseconds."""
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def _check_text(value: object, name: str, max_length: int, faults: list[Fault]) -> None:
    if value is None or value == "":
        if name != "note":
            faults.append(Fault(f"/{name}", "required", f"An example needs its {name}."))
    elif not isinstance(value, str):
        faults.append(Fault(f"/{name}", "type", "Must be text."))
    elif len(value) > max_length:
        faults.append(Fault(f"/{name}", "too_long", f"Has more than {max_length:,} characters."))
    elif name != "note" and not value.strip():
        faults.append(Fault(f"/{name}", "required", f"An example needs its {name}; this has only spaces."))


def _are_tags(tags: object) -> bool:
    if not isinstance(tags, list) or len(tags) > MAX_TAGS:
        return False
    return all(isinstance(tag, str) and 1 <= len(tag.strip()) <= MAX_TAG for tag in tags)
