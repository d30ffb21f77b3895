"""Portable JSON values: normal text, exact numbers, bounded depth. Pure: usable without Django."""

import math
import unicodedata
from collections.abc import Mapping
from typing import Any

from .errors import Fault

MAX_DEPTH = 40
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
