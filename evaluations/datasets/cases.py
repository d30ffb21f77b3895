"""Cases in their normal form, with their digests and comparison forms. Pure: usable without Django.

A case has `variables`, which a prompt is rendered with, and, where it is known, `expected`, a good answer (text or
JSON); it may have `label`, `tags`, `group`, `weight` and `split`. Its digest is SHA-256 over the RFC 8785 form of its
members; absent members, empty ones and a weight of 1 are left out (docs/datasets.md).
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import rfc8785

from core.errors import Fault
from core.json_values import MAX_MEMBER_NAME, normalise_json

SPLITS = ("train", "validation", "test", "general")
MEMBERS = frozenset({"variables", "expected", "label", "tags", "group", "weight", "split", "dealt"})
# Where an expected output is an object, its label is the first of these that it has as text, number or truth value.
LABEL_MEMBERS = ("label", "category", "class", "intent", "sentiment")
MAX_LABEL_LENGTH = 100
MAX_GROUP_LENGTH = 200
MAX_TAG_LENGTH = 50
MAX_LENGTHS = {"label": MAX_LABEL_LENGTH, "group": MAX_GROUP_LENGTH}
MAX_TAGS = 20
MAX_VARIABLES = 200
MAX_BYTES = 256 * 1024
MAX_WEIGHT = 1_000_000
# Punctuation that ends, quotes or brackets words does not change a question; signs such as + # and emoji do, and so do
# the marks that are vowels in the scripts of India.
DROPPED = ".,;:!?\"'()[]{}`"
NOT_MEANT = re.compile(rf"[\s{re.escape(DROPPED)}…«»“”‘’„‚‹›、。，．！？；：（）「」『』【】〈〉《》・¿¡–—]+")
# Chinese and Japanese have no spaces between words: a space between them replaces punctuation.
GAP = re.compile("(?<=[\u3040-\u30ff\u3400-\u9fff]) (?=[\u3040-\u30ff\u3400-\u9fff])")
# ASCII in lower case; dropped and control characters become spaces.
PLAIN_WORDS = bytes(
    32 if code < 33 or code == 127 or chr(code) in DROPPED else ord(chr(code).lower()) for code in range(128)
)
PLAIN_WORDS += b" " * 128
MAX_DEPTH = 20


# Slots and no freezing: a million of these are created one after the other, and no reference is kept.
@dataclass(slots=True)
class Case:
    """A case: `variables` and `expected` as JSON text (`expected` None where unknown); `split` is empty unless the case
    demands one. The hashes are signed 64-bit numbers, as PostgreSQL stores them."""

    variables: str
    expected: str | None
    label: str
    tags: list[str]
    group: str
    weight: float
    split: str
    # The split that it was assigned to elsewhere, kept here unless its group is in another; no part of the digest.
    preferred_split: str
    digest: bytes
    group_hash: int
    input_hash: int


def read_case(document: object, faults: list[Fault], *, is_normal: bool = False) -> Case | None:
    """Read a case from its JSON, or return None and add to `faults`. `is_normal`: its text and numbers are known to be
    in normal form (core.json_values), which is most of the work."""
    before = len(faults)
    if not is_normal:
        document = normalise_json(document, faults)
    if len(faults) == before:
        _check(document, faults)
    if len(faults) > before:
        return None
    assert isinstance(document, dict)  # noqa: S101 - for the type checker: _check refuses anything else
    variables: Mapping[str, Any] = document["variables"]
    expected = document.get("expected")
    own_label = document.get("label") or ""
    group, split = document.get("group") or "", document.get("split") or ""
    preferred_split, split = (split, "") if document.get("dealt") else (split, split)
    weight = document.get("weight")
    tags = list(dict.fromkeys(tag.strip() for tag in document.get("tags") or ()))
    as_text = _canonical(variables)
    expected_text = None if expected is None else _canonical(expected)
    canonical = _canonical_case(as_text, expected_text, own_label, tags, group, weight, split)
    text = input_text(variables)
    # A text of nothing but punctuation is compared as it is.
    input_hash = hash64(comparison_form(text) or text)
    if len(canonical) > MAX_BYTES:
        faults.append(Fault("", "too_large", f"Has more than {MAX_BYTES:,} bytes."))
        return None
    return Case(
        variables=as_text,
        expected=expected_text,
        label=own_label or label_of(expected),
        tags=tags,
        group=group,
        weight=1.0 if weight is None else float(weight),
        split=split,
        preferred_split=preferred_split,
        digest=hashlib.sha256(canonical.encode()).digest(),
        group_hash=hash64(f"group {group}") if group else input_hash,
        input_hash=input_hash,
    )


def label_of(expected: object) -> str:
    """Derive a case's label: a short expected text, or the member of an object that names a class; else empty."""
    if isinstance(expected, dict):
        labels = (expected[name] for name in LABEL_MEMBERS if name in expected)
        expected = next((value for value in labels if isinstance(value, str | int | float)), None)
    if isinstance(expected, bool):
        return "true" if expected else "false"
    if isinstance(expected, str | int | float):
        text = str(expected).strip()
        return text if len(text) <= MAX_LABEL_LENGTH else ""
    return ""


def input_text(variables: Mapping[str, Any]) -> str:
    """Join all text of a case's variables, in the order of their names, to search for leakage."""
    if len(variables) == 1:
        only = next(iter(variables.values()))
        if isinstance(only, str):
            return only
    return "\n".join(_texts({name: variables[name] for name in sorted(variables)}))


def comparison_form(text: str) -> str:
    """Normalise a text for comparison: without differences of case, width of letters, white space, and the punctuation
    that ends, quotes or brackets words."""
    if text.isascii():
        return b" ".join(text.encode().translate(PLAIN_WORDS).split()).decode()
    words = NOT_MEANT.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()
    return GAP.sub("", words)


def hash64(text: str) -> int:
    """Hash a text to a signed 64-bit number, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


def is_normal_line(line: str) -> bool:
    """Return whether the JSON in a line surely has its texts in normal form and no deep nesting, without parsing it:
    true of most lines of most files, which are then read several times as fast."""
    if not line.isascii() or "\\u" in line or "\\r" in line:
        return False
    return line.count("{") + line.count("[") <= MAX_DEPTH


def has_only_text(document: object) -> bool:
    """Return whether a flat case has no numbers, so that none has to be normalised."""
    if not isinstance(document, dict):
        return False
    for value in document.values():
        kind = type(value)
        if kind is str or value is None:
            continue
        if kind is dict:
            if not all(type(member) is str for member in value.values()):
                return False
        elif kind is not list or not all(type(member) is str for member in value):
            return False
    return True


def _check(document: object, faults: list[Fault]) -> None:
    if not isinstance(document, dict):
        faults.append(Fault("", "type", "A case is an object with variables."))
        return
    if not document.keys() <= MEMBERS:
        faults += [Fault(f"/{name}", "unknown", "A case has no such member.") for name in document.keys() - MEMBERS]
    variables = document.get("variables")
    if not isinstance(variables, dict) or not variables:
        faults.append(Fault("/variables", "required", "A case needs at least one variable."))
    elif max(map(len, variables)) > MAX_MEMBER_NAME:
        faults.append(Fault("/variables", "name", f"A variable's name has at most {MAX_MEMBER_NAME:,} characters."))
    elif len(variables) > MAX_VARIABLES:
        faults.append(Fault("/variables", "count", f"Has more than {MAX_VARIABLES} variables."))
    elif not any(value is not None and value != "" for value in variables.values()):
        faults.append(Fault("/variables", "empty", "All variables are empty."))
    for name, max_length in MAX_LENGTHS.items() if len(document) > 1 else ():
        value = document.get(name)
        if value is not None and (not isinstance(value, str) or len(value) > max_length):
            faults.append(Fault(f"/{name}", "type", f"Must be text of at most {max_length} characters."))
    if document.get("tags") and not _are_tags(document["tags"]):
        faults.append(Fault("/tags", "tags", f"Must be at most {MAX_TAGS} texts of 1 to {MAX_TAG_LENGTH} characters."))
    weight = document.get("weight")
    if weight is not None and (
        isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight <= MAX_WEIGHT
    ):
        faults.append(Fault("/weight", "range", f"Must be a number above 0 and at most {MAX_WEIGHT:,}."))
    if document.get("dealt") not in (None, True, False):
        faults.append(Fault("/dealt", "type", "Must be true or false."))
    if document.get("split") and document["split"] not in SPLITS:
        faults.append(Fault("/split", "choice", f"Must be one of: {', '.join(SPLITS)}."))


def _are_tags(tags: object) -> bool:
    if not isinstance(tags, list) or len(tags) > MAX_TAGS:
        return False
    return all(isinstance(tag, str) and 1 <= len(tag.strip()) <= MAX_TAG_LENGTH for tag in tags)


def _canonical_case(
    variables: str, expected: str | None, label: str, tags: list[str], group: str, weight: Any, split: str
) -> str:
    """Build the RFC 8785 form of a case from its parts in the order of their names."""
    members = []
    if expected is not None:
        members.append(f'"expected":{expected}')
    if group:
        members.append(f'"group":{_text(group)}')
    if label:
        members.append(f'"label":{_text(label)}')
    if split:
        members.append(f'"split":{_text(split)}')
    if tags:
        members.append(f'"tags":{_text(tags)}')
    members.append(f'"variables":{variables}')
    if weight is not None and weight != 1:
        members.append(f'"weight":{rfc8785.dumps(weight).decode()}')
    return "{" + ",".join(members) + "}"


def _text(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _canonical(value: Any) -> str:
    """Write the RFC 8785 form. orjson writes the same where all names are ASCII and no number is a fraction
    (tests/evaluations/datasets/test_cases.py checks that), and is many times as fast."""
    return _text(value) if _is_easy(value) else rfc8785.dumps(value).decode()


def _is_easy(value: Any) -> bool:
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return True
    if kind is dict:
        for name, member in value.items():
            if not name.isascii() or not (type(member) is str or _is_easy(member)):
                return False
        return True
    return kind is list and all(_is_easy(member) for member in value)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for member in value.values():
            yield from _texts(member)
    elif isinstance(value, list):
        for member in value:
            yield from _texts(member)
    elif value is not None:
        yield str(value)
