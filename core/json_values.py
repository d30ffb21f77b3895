"""JSON as every machine reads it: strictly, and as portable values (normal text, exact numbers, bounded depth).

Pure: usable without Django. Python's reader takes more than the standard has, which nobody could write again.
"""

import json
import math
import unicodedata
from collections.abc import Mapping
from typing import Any, NoReturn

from .errors import Fault, Problem

MAX_DEPTH = 40
# Of what a request brings: what may not be as deep says so itself.
MAX_BODY_DEPTH = 60
# Beyond this a JSON number is not the same number on every machine (RFC 8785 section 3.2.2.3, RFC 7493).
MAX_NUMBER = 2**53 - 1
MAX_MEMBER_NAME = 1_000
MAX_FAULTS = 50


def normalise_json(value: object, faults: list[Fault]) -> Any:
    """Normalise text and numbers in `value`; anything else is added to `faults` with its pointer.

    At most MAX_FAULTS are recorded: whoever sends more of them has the first ones to fix.
    """
    return _Reader(faults).read(value, None, 0)


# The location of a value: its parent's location, and its name or index there. A pointer is written only for a fault:
# written for every value, a long name above many values would be copied for each of them.
_Location = tuple["_Location | None", str]


class _Reader:
    def __init__(self, faults: list[Fault]) -> None:
        self._faults = faults

    def read(self, value: object, location: _Location | None, depth: int) -> Any:
        if depth > MAX_DEPTH:
            return self._fault(location, "too_deep", f"Nested more than {MAX_DEPTH} levels.")
        if isinstance(value, str):
            return self._text(value, location)
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, int | float):
            return self._number(value, location)
        if isinstance(value, Mapping):
            return self._members(value, location, depth)
        if isinstance(value, list | tuple):
            return [self.read(item, (location, str(index)), depth + 1) for index, item in enumerate(value)]
        return self._fault(location, "not_json", f"A {type(value).__name__} is not JSON.")

    def _members(self, value: Mapping[Any, Any], location: _Location | None, depth: int) -> dict[str, Any]:
        members: dict[str, Any] = {}
        for key, member in value.items():
            name = self._text(str(key), location)
            if len(name) > MAX_MEMBER_NAME:
                self._fault(location, "name", f"Has a member whose name is longer than {MAX_MEMBER_NAME:,} characters.")
                continue
            if name in members:
                self._fault((location, name), "duplicate", "Occurs twice.")
            members[name] = self.read(member, (location, name), depth + 1)
        return members

    def _text(self, text: str, location: _Location | None) -> str:
        if "\0" in text:
            self._fault(location, "nul", "Has a NUL character.")
        try:
            text.encode()
        except UnicodeEncodeError:
            self._fault(location, "surrogate", "Has half of a surrogate pair, which is no character.")
            return ""
        return normal_text(text)

    def _number(self, number: float, location: _Location | None) -> float:
        # The size first: an integer of a thousand digits cannot even be asked whether it is finite.
        if abs(number) > MAX_NUMBER or not math.isfinite(number):
            self._fault(location, "number", f"Must be a finite number of at most {MAX_NUMBER}.")
            return 0
        # `1.0` and `1` are one JSON number, and so are `-0.0` and `0`.
        return int(number) if number == int(number) else number

    def _fault(self, location: _Location | None, code: str, message: str) -> None:
        if len(self._faults) < MAX_FAULTS:
            self._faults.append(Fault(_pointer(location), code, message))


def _pointer(location: _Location | None) -> str:
    parts = []
    while location is not None:
        location, name = location
        parts.append(f"/{escape_pointer(name)}")
    return "".join(reversed(parts))


def escape_pointer(name: str) -> str:
    """Escape a member's name for a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def normal_text(text: str) -> str:
    """Return text in Unicode NFC, with line ends `\\n`."""
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))


def read_strict_json(text: str) -> Any:
    """Read a text; raises a ValueError (or, of too many levels, a RecursionError) for what is no JSON, among it NaN and
    a member twice in one object."""
    return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique_members)


def read_request_body(body: bytes | bytearray) -> Any:
    """Read what a request brought, strictly and so that every later layer can hold it; raises `request.malformed`."""
    try:
        value = read_strict_json(body.decode())
        require_storable(value)
    except UnicodeDecodeError:
        raise Problem("request.malformed", "The body is not UTF-8.") from None
    except RecursionError:
        raise Problem("request.malformed", "The body is nested too deeply.") from None
    except ValueError as error:
        raise Problem("request.malformed", f"The body cannot be read as JSON: {error}") from None
    return value


def require_storable(value: Any, depth: int = 0) -> None:
    """Raise a ValueError for a value that no later layer can hold: nested deeply, or with a text that has a NUL or half
    of a surrogate pair."""
    if depth > MAX_BODY_DEPTH:
        raise ValueError(f"nested more than {MAX_BODY_DEPTH} levels")
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError("text has a NUL character")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("text has half of a surrogate pair") from None
    elif isinstance(value, dict):
        for name, member in value.items():
            require_storable(name, depth + 1)
            require_storable(member, depth + 1)
    elif isinstance(value, list):
        for item in value:
            require_storable(item, depth + 1)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member occurs twice in one object")
    return members
