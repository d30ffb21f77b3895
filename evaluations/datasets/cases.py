"""A case of a dataset in its normal form, its digest, and what it is compared by. Pure: usable without Django.

A case has `variables`, which a prompt is rendered with, and where it is known `expected`, what a good answer is (text
or JSON); it may have `label`, `tags`, `group`, `weight` and `split`. Its digest is SHA-256 over the RFC 8785 form of
its members; absent members, empty ones and a weight of 1 are left out (docs/datasets.md).
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
from core.json_values import LONGEST_NAME, plain

SPLITS = ("train", "validation", "test", "general")
MEMBERS = frozenset({"variables", "expected", "label", "tags", "group", "weight", "split", "dealt"})
# Where an expected output is an object, its label is the first of these that it has as text, number or truth value.
LABEL_MEMBERS = ("label", "category", "class", "intent", "sentiment")
LONGEST_LABEL = 100
LONGEST_GROUP = 200
LONGEST_TAG = 50
LONGEST = {"label": LONGEST_LABEL, "group": LONGEST_GROUP}
MAX_TAGS = 20
MAX_VARIABLES = 200
MAX_BYTES = 256 * 1024
HEAVIEST = 1_000_000
# What ends, quotes or brackets words says nothing about what is asked; signs such as + # and emoji do, and so do the
# marks that are vowels in the scripts of India.
DROPPED = ".,;:!?\"'()[]{}`"
NOT_MEANT = re.compile(rf"[\s{re.escape(DROPPED)}…«»“”‘’„‚‹›、。，．！？；：（）「」『』【】〈〉《》・¿¡–—]+")
# Chinese and Japanese have no spaces between words: one stands there for punctuation only.
GAP = re.compile("(?<=[\u3040-\u30ff\u3400-\u9fff]) (?=[\u3040-\u30ff\u3400-\u9fff])")
# ASCII in lower case; a space for what is dropped and for control characters.
PLAIN_WORDS = bytes(
    32 if code < 33 or code == 127 or chr(code) in DROPPED else ord(chr(code).lower()) for code in range(128)
)
PLAIN_WORDS += b" " * 128
DEEPEST = 20


# Slots and no freezing: a million of these are made one after the other, and nobody else holds them.
@dataclass(slots=True)
class Case:
    """`variables` and `expected` as JSON text (`expected` None where it is not known); `split` is empty unless the case
    says on which side it must be. The hashes are signed 64-bit numbers, as PostgreSQL keeps them."""

    variables: str
    expected: str | None
    label: str
    tags: list[str]
    group: str
    weight: float
    split: str
    # The side that it was dealt to elsewhere, and takes here unless its group stands on another; no part of the digest.
    side: str
    digest: bytes
    group_hash: int
    input_hash: int


def read_case(document: object, faults: list[Fault], *, is_normal: bool = False) -> Case | None:
    """A case from its JSON, or None with what is wrong in `faults`. `is_normal`: its text and numbers are known to be
    in normal form (core.json_values), which is most of the work."""
    before = len(faults)
    if not is_normal:
        document = plain(document, faults)
    if len(faults) == before:
        _check(document, faults)
    if len(faults) > before:
        return None
    assert isinstance(document, dict)  # noqa: S101 - for the type checker: _check refuses anything else
    variables: Mapping[str, Any] = document["variables"]
    expected = document.get("expected")
    stated = document.get("label") or ""
    group, split = document.get("group") or "", document.get("split") or ""
    side, split = (split, "") if document.get("dealt") else (split, split)
    weight = document.get("weight")
    tags = list(dict.fromkeys(tag.strip() for tag in document.get("tags") or ()))
    as_text = _canonical(variables)
    expected_text = None if expected is None else _canonical(expected)
    canonical = _members(as_text, expected_text, stated, tags, group, weight, split)
    text = input_text(variables)
    # What is all punctuation is compared as it is.
    input_hash = hash64(compared(text) or text)
    if len(canonical) > MAX_BYTES:
        faults.append(Fault("", "too_large", f"Has more than {MAX_BYTES:,} bytes."))
        return None
    return Case(
        variables=as_text,
        expected=expected_text,
        label=stated or label_of(expected),
        tags=tags,
        group=group,
        weight=1.0 if weight is None else float(weight),
        split=split,
        side=side,
        digest=hashlib.sha256(canonical.encode()).digest(),
        group_hash=hash64(f"group {group}") if group else input_hash,
        input_hash=input_hash,
    )


def label_of(expected: object) -> str:
    """What a case is a case of: a short expected text, or the member of an object that names a class; else nothing."""
    if isinstance(expected, dict):
        named = (expected[name] for name in LABEL_MEMBERS if name in expected)
        expected = next((value for value in named if isinstance(value, str | int | float)), None)
    if isinstance(expected, bool):
        return "true" if expected else "false"
    if isinstance(expected, str | int | float):
        text = str(expected).strip()
        return text if len(text) <= LONGEST_LABEL else ""
    return ""


def input_text(variables: Mapping[str, Any]) -> str:
    """All text of a case's variables, in the order of their names: what leakage is looked for in."""
    if len(variables) == 1:
        only = next(iter(variables.values()))
        if isinstance(only, str):
            return only
    return "\n".join(_texts({name: variables[name] for name in sorted(variables)}))


def compared(text: str) -> str:
    """A text without what does not make it another one: case, width of letters, white space, and the punctuation that
    ends, quotes or brackets words."""
    if text.isascii():
        return b" ".join(text.encode().translate(PLAIN_WORDS).split()).decode()
    words = NOT_MEANT.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()
    return GAP.sub("", words)


def hash64(text: str) -> int:
    """A signed 64-bit number for a text, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


def is_normal_line(line: str) -> bool:
    """Whether the JSON in a line surely has its texts in normal form and no deep nesting, seen from outside: most lines
    of most files, and they are read several times as fast."""
    if not line.isascii() or "\\u" in line or "\\r" in line:
        return False
    return line.count("{") + line.count("[") <= DEEPEST


def has_only_text(document: object) -> bool:
    """Whether no number is in a flat case, so that none has to be brought to normal form."""
    if not isinstance(document, dict):
        return False
    for value in document.values():
        kind = type(value)
        if kind is str or value is None:
            continue
        if kind is dict:
            if not all(type(member) is str for member in value.values()):
                return False
        elif kind is not list or not all(type(item) is str for item in value):
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
    elif max(map(len, variables)) > LONGEST_NAME:
        faults.append(Fault("/variables", "name", f"A variable's name has at most {LONGEST_NAME:,} characters."))
    elif len(variables) > MAX_VARIABLES:
        faults.append(Fault("/variables", "count", f"Has more than {MAX_VARIABLES} variables."))
    elif not any(value is not None and value != "" for value in variables.values()):
        faults.append(Fault("/variables", "empty", "All variables are empty."))
    for name, longest in LONGEST.items() if len(document) > 1 else ():
        value = document.get(name)
        if value is not None and (not isinstance(value, str) or len(value) > longest):
            faults.append(Fault(f"/{name}", "type", f"Must be text of at most {longest} characters."))
    if document.get("tags") and not _are_tags(document["tags"]):
        faults.append(Fault("/tags", "tags", f"Must be at most {MAX_TAGS} texts of 1 to {LONGEST_TAG} characters."))
    weight = document.get("weight")
    if weight is not None and (
        isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight <= HEAVIEST
    ):
        faults.append(Fault("/weight", "range", f"Must be a number above 0 and at most {HEAVIEST:,}."))
    if document.get("dealt") not in (None, True, False):
        faults.append(Fault("/dealt", "type", "Must be true or false."))
    if document.get("split") and document["split"] not in SPLITS:
        faults.append(Fault("/split", "choice", f"Must be one of: {', '.join(SPLITS)}."))


def _are_tags(tags: object) -> bool:
    if not isinstance(tags, list) or len(tags) > MAX_TAGS:
        return False
    return all(isinstance(tag, str) and 1 <= len(tag.strip()) <= LONGEST_TAG for tag in tags)


def _members(
    variables: str, expected: str | None, label: str, tags: list[str], group: str, weight: Any, split: str
) -> str:
    """The RFC 8785 form of a case, put together from its parts in the order of their names."""
    found = []
    if expected is not None:
        found.append(f'"expected":{expected}')
    if group:
        found.append(f'"group":{_text(group)}')
    if label:
        found.append(f'"label":{_text(label)}')
    if split:
        found.append(f'"split":{_text(split)}')
    if tags:
        found.append(f'"tags":{_text(tags)}')
    found.append(f'"variables":{variables}')
    if weight is not None and weight != 1:
        found.append(f'"weight":{rfc8785.dumps(weight).decode()}')
    return "{" + ",".join(found) + "}"


def _text(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _canonical(value: Any) -> str:
    """The RFC 8785 form. orjson writes the same where all names are ASCII and no number is a fraction
    (tests/evaluations/datasets/test_cases.py holds it to that), and is many times as fast."""
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
    return kind is list and all(_is_easy(item) for item in value)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for member in value.values():
            yield from _texts(member)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif value is not None:
        yield str(value)
