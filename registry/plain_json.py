"""JSON as any machine reads it: normal text, portable numbers, bounded depth. Pure: usable without Django."""

import math
import unicodedata
from collections.abc import Mapping
from typing import Any

from registry.problems import Fault

MAX_DEPTH = 40
# Beyond this a JSON number is not the same number on every machine (RFC 8785 section 3.2.2.3, RFC 7493).
LARGEST_NUMBER = 2**53 - 1


def plain(value: object, faults: list[Fault], pointer: str = "", depth: int = 0) -> Any:
    """`value` with normal text and numbers; what cannot be normal is added to `faults` with its pointer."""
    if depth > MAX_DEPTH:
        faults.append(Fault(pointer, "too_deep", f"Nested more than {MAX_DEPTH} levels."))
        return None
    if isinstance(value, str):
        return _text(value, pointer, faults)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        return _number(value, pointer, faults)
    if isinstance(value, Mapping):
        members: dict[str, Any] = {}
        for key, member in value.items():
            name = _text(str(key), pointer, faults)
            if name in members:
                faults.append(Fault(f"{pointer}/{escaped(name)}", "duplicate", "Occurs twice."))
            members[name] = plain(member, faults, f"{pointer}/{escaped(name)}", depth + 1)
        return members
    if isinstance(value, list | tuple):
        return [plain(item, faults, f"{pointer}/{index}", depth + 1) for index, item in enumerate(value)]
    faults.append(Fault(pointer, "not_json", f"A {type(value).__name__} is not JSON."))
    return None


def _text(text: str, pointer: str, faults: list[Fault]) -> str:
    if "\0" in text:
        faults.append(Fault(pointer, "nul", "Has a NUL character."))
    try:
        text.encode()
    except UnicodeEncodeError:
        faults.append(Fault(pointer, "surrogate", "Has half of a surrogate pair, which is no character."))
        return ""
    return normal_text(text)


def _number(number: float, pointer: str, faults: list[Fault]) -> float:
    # The size first: an integer of a thousand digits cannot even be asked whether it is finite.
    if abs(number) > LARGEST_NUMBER or not math.isfinite(number):
        faults.append(Fault(pointer, "number", f"Must be a finite number of at most {LARGEST_NUMBER}."))
        return 0
    # `1.0` and `1` are one JSON number, and so are `-0.0` and `0`.
    return int(number) if number == int(number) else number


def escaped(name: str) -> str:
    """A member's name inside a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def normal_text(text: str) -> str:
    """Unicode NFC, line ends `\\n`."""
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
