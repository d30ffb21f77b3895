"""JSON as any machine reads it: normal text, portable numbers, bounded depth. Pure: usable without Django."""

import math
import unicodedata
from collections.abc import Mapping
from typing import Any

from .errors import Fault

MAX_DEPTH = 40
# Beyond this a JSON number is not the same number on every machine (RFC 8785 section 3.2.2.3, RFC 7493).
LARGEST_NUMBER = 2**53 - 1
LONGEST_NAME = 1_000
MAX_FAULTS = 50


def plain(value: object, faults: list[Fault]) -> Any:
    """`value` with normal text and numbers; what cannot be normal is added to `faults` with its pointer.

    At most MAX_FAULTS are recorded: who sends more of them has the first ones to mend.
    """
    return _Reader(faults).read(value, None, 0)


# Where a value stands: where what it is in stands, and its name or index there. A pointer is written only for a fault:
# written for every value, a long name above many values would be copied for each of them.
_Place = tuple["_Place | None", str]


class _Reader:
    def __init__(self, faults: list[Fault]) -> None:
        self._faults = faults

    def read(self, value: object, place: _Place | None, depth: int) -> Any:
        if depth > MAX_DEPTH:
            return self._fault(place, "too_deep", f"Nested more than {MAX_DEPTH} levels.")
        if isinstance(value, str):
            return self._text(value, place)
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, int | float):
            return self._number(value, place)
        if isinstance(value, Mapping):
            return self._members(value, place, depth)
        if isinstance(value, list | tuple):
            return [self.read(item, (place, str(index)), depth + 1) for index, item in enumerate(value)]
        return self._fault(place, "not_json", f"A {type(value).__name__} is not JSON.")

    def _members(self, value: Mapping[Any, Any], place: _Place | None, depth: int) -> dict[str, Any]:
        members: dict[str, Any] = {}
        for key, member in value.items():
            name = self._text(str(key), place)
            if len(name) > LONGEST_NAME:
                self._fault(place, "name", f"Has a member whose name is longer than {LONGEST_NAME:,} characters.")
                continue
            if name in members:
                self._fault((place, name), "duplicate", "Occurs twice.")
            members[name] = self.read(member, (place, name), depth + 1)
        return members

    def _text(self, text: str, place: _Place | None) -> str:
        if "\0" in text:
            self._fault(place, "nul", "Has a NUL character.")
        try:
            text.encode()
        except UnicodeEncodeError:
            self._fault(place, "surrogate", "Has half of a surrogate pair, which is no character.")
            return ""
        return normal_text(text)

    def _number(self, number: float, place: _Place | None) -> float:
        # The size first: an integer of a thousand digits cannot even be asked whether it is finite.
        if abs(number) > LARGEST_NUMBER or not math.isfinite(number):
            self._fault(place, "number", f"Must be a finite number of at most {LARGEST_NUMBER}.")
            return 0
        # `1.0` and `1` are one JSON number, and so are `-0.0` and `0`.
        return int(number) if number == int(number) else number

    def _fault(self, place: _Place | None, code: str, message: str) -> None:
        if len(self._faults) < MAX_FAULTS:
            self._faults.append(Fault(_pointer(place), code, message))


def _pointer(place: _Place | None) -> str:
    parts = []
    while place is not None:
        place, name = place
        parts.append(f"/{escaped(name)}")
    return "".join(reversed(parts))


def escaped(name: str) -> str:
    """A member's name inside a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def normal_text(text: str) -> str:
    """Unicode NFC, line ends `\\n`."""
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
