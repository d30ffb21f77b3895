"""Recomputation of content hashes: `sha256` over the RFC 8785 canonical form (docs/hash.md of the server)."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from cuebook.core.examples import Shot, set_hash
from cuebook.errors import IntegrityError


def content_hash(document: Any) -> str:
    """Return `sha256:<64 hex>` of a JSON document in normal form."""
    return f"sha256:{hashlib.sha256(canonical(document).encode()).hexdigest()}"


def canonical(value: Any) -> str:
    """Return the RFC 8785 form: members sorted by UTF-16 code units, no white space, numbers as ECMAScript writes them.

    The standard library already writes texts, integers, true, false and null so.
    """
    if isinstance(value, Mapping):
        members = sorted(value.items(), key=lambda member: member[0].encode("utf-16-be"))
        return "{" + ",".join(f"{_text(name)}:{canonical(member)}" for name, member in members) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(canonical(item) for item in value) + "]"
    if isinstance(value, float):
        return _number(value)
    return _text(value)


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _number(value: float) -> str:
    """Write a number as ECMA-262 Number::toString: the same shortest digits as Python's repr, but another notation
    around them."""
    if value == int(value) and abs(value) < 2**53:
        return str(int(value))
    sign, text = ("-", repr(-value)) if value < 0 else ("", repr(value))
    mantissa, _, exponent = text.partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    digits = (whole + fraction).lstrip("0")
    # The value is 0.digits times ten to the `point`.
    point = len(whole) + int(exponent or 0) if whole != "0" else len(fraction.lstrip("0")) - len(fraction)
    digits = digits.rstrip("0")
    if len(digits) <= point <= 21:
        return f"{sign}{digits.ljust(point, '0')}"
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    significand = f"{digits[0]}.{digits[1:]}" if len(digits) > 1 else digits
    return f"{sign}{significand}e{point - 1:+d}"


def verify(document: Mapping[str, Any]) -> None:
    """Verify the hashes of a version and all that it includes. Raises IntegrityError."""
    _verify_hash(document["content"], document["hash"], document["prompt"])
    partials = document["partials"]
    for pinned, partial in partials.items():
        _verify_hash(partial["content"], pinned, partial["prompt"])
    for content in (document["content"], *(partial["content"] for partial in partials.values())):
        for name, pinned in content.get("includes", {}).items():
            if pinned not in partials:
                raise IntegrityError(f"{document['prompt']} includes {name}, which did not come with it.")


def verify_examples(examples: Iterable[Shot], pinned: str) -> None:
    """Verify the hash of an example set. Raises IntegrityError."""
    if set_hash(examples) != pinned:
        raise IntegrityError(f"The examples that came as {pinned} have another hash.")


def _verify_hash(content: Any, claimed: str, name: str) -> None:
    actual = content_hash(content)
    if actual != claimed:
        raise IntegrityError(f"The content of {name} that came as {claimed} has the hash {actual}.")
