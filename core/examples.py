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
from .json_values import MAX_FAULTS, plain

MAX_EXAMPLES = 50_000
LONGEST_TEXT = 32_000
LONGEST_NOTE = 2_000
MAX_TAGS = 20
LONGEST_TAG = 50
LONGEST_LABEL = 200
MEMBERS = frozenset({"input", "output", "note", "tags"})


@dataclass(frozen=True)
class Shot:
    """One example: what a model is asked, and what a good answer to it is."""

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
    """What an example is an example of: its first tag, or its output where it has none."""
    return next(iter(tags), output)[:LONGEST_LABEL]


def read_examples(documents: object) -> list[Shot]:
    """Examples in normal form, each once, in their order.

    Raises `examples.invalid` with every fault found (up to MAX_FAULTS), its pointer starting with the example's index.
    """
    faults: list[Fault] = []
    if not isinstance(documents, list):
        raise Problem("examples.invalid", "Examples are a list.", faults=[Fault("", "type", "Must be a list.")])
    if len(documents) > MAX_EXAMPLES:
        raise Problem("examples.too_many", f"A set has at most {MAX_EXAMPLES:,} examples; this has {len(documents):,}.")
    found: dict[Shot, None] = {}
    for index, document in enumerate(documents):
        own: list[Fault] = []
        shot = read_example(document, own)
        if shot is not None:
            found[shot] = None
        faults += [Fault(f"/{index}{fault.pointer}", fault.code, fault.message) for fault in own]
        if len(faults) >= MAX_FAULTS:
            break
    if faults:
        raise refusal(faults)
    return list(found)


def refusal(faults: list[Fault]) -> Problem:
    """`examples.invalid` for these faults; the sentence tells the first in a person's count."""
    first = faults[0]
    index, _, member = first.pointer.lstrip("/").partition("/")
    where = f"Example {int(index) + 1}" if index.isdigit() else "The examples"
    more = f" ({len(faults) - 1} more)" if len(faults) > 1 else ""
    sentence = f"{where}{f', {member}' if member else ''}: {first.message}{more}"
    return Problem("examples.invalid", sentence, faults=faults[:MAX_FAULTS])


def read_example(document: object, faults: list[Fault]) -> Shot | None:
    """One example in normal form, or None with what is wrong in `faults`."""
    before = len(faults)
    document = plain(document, faults)
    if len(faults) > before:
        return None
    if not isinstance(document, Mapping):
        faults.append(Fault("", "type", "Must be an object with input and output."))
        return None
    faults += [Fault(f"/{name}", "unknown", "An example has no such member.") for name in document.keys() - MEMBERS]
    for name, longest in (("input", LONGEST_TEXT), ("output", LONGEST_TEXT), ("note", LONGEST_NOTE)):
        _check_text(document.get(name), name, longest, faults)
    tags = document.get("tags") or []
    if not _are_tags(tags):
        faults.append(Fault("/tags", "tags", f"Must be at most {MAX_TAGS} texts of 1 to {LONGEST_TAG} characters."))
    if len(faults) > before:
        return None
    words = dict.fromkeys(tag.strip() for tag in tags)
    return Shot(document["input"], document["output"], document.get("note") or "", tuple(words))


def set_hash(shots: Iterable[Shot]) -> str:
    """The hash of a set's version."""
    document = {"examples": [shot.as_dict() for shot in shots], "kind": "example-set"}
    return f"sha256:{hashlib.sha256(_canonical(document)).hexdigest()}"


def _canonical(document: Mapping[str, Any]) -> bytes:
    """The RFC 8785 form, for what has no member but ASCII names, texts and lists: there the standard library's sorted,
    unspaced output is that form, and a set of thousands takes milliseconds."""
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def _check_text(value: object, name: str, longest: int, faults: list[Fault]) -> None:
    if value is None or value == "":
        if name != "note":
            faults.append(Fault(f"/{name}", "required", f"An example needs its {name}."))
    elif not isinstance(value, str):
        faults.append(Fault(f"/{name}", "type", "Must be text."))
    elif len(value) > longest:
        faults.append(Fault(f"/{name}", "too_long", f"Has more than {longest:,} characters."))
    elif name != "note" and not value.strip():
        faults.append(Fault(f"/{name}", "required", f"An example needs its {name}; this has only spaces."))


def _are_tags(tags: object) -> bool:
    if not isinstance(tags, list) or len(tags) > MAX_TAGS:
        return False
    return all(isinstance(tag, str) and 1 <= len(tag.strip()) <= LONGEST_TAG for tag in tags)
