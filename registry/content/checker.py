"""The checks that every member of a content document shares: faults are collected, nothing stops at the first. Pure."""

import re
from collections.abc import Mapping
from typing import Any

from core.errors import Fault
from core.json_values import escape_pointer
from core.references import HASH

MAX_TEMPLATE_CHARACTERS = 128 * 1024
# A letter of any script, then letters, digits and _.
VARIABLE_NAME = re.compile(r"[^\W\d_]\w{0,63}")
RESERVED_NAMES = frozenset({"loop", "range", "true", "false", "none", "self", "caller", "varargs", "kwargs"})


class Checker:
    """Checks values, each at its JSON pointer, and collects what is wrong in `faults`."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults

    def fault(self, pointer: str, code: str, message: str) -> None:
        self.faults.append(Fault(pointer, code, message))

    def members(self, value: Any, pointer: str, allowed: frozenset[str]) -> dict[str, Any]:
        """Return the members of an object that are present; unknown ones are faults."""
        if not isinstance(value, dict):
            self.fault(pointer, "type", "Must be an object.")
            return {}
        for name in value.keys() - allowed:
            self.fault(
                f"{pointer}/{escape_pointer(name)}", "unknown", f"Unknown; known are: {', '.join(sorted(allowed))}."
            )
        return {name: member for name, member in value.items() if member is not None}

    def choice(self, value: Any, pointer: str, choices: tuple[str, ...]) -> None:
        if value not in choices:
            self.fault(pointer, "choice", f"Must be one of: {', '.join(choices)}.")

    def template(self, value: Any, pointer: str, max_characters: int = MAX_TEMPLATE_CHARACTERS) -> Any:
        if not isinstance(value, str):
            self.fault(pointer, "type", "Must be text.")
            return None
        if len(value) > max_characters:
            self.fault(pointer, "too_long", f"Has more than {max_characters:,} characters.")
        return value

    def hash(self, value: Any, pointer: str) -> None:
        if not isinstance(value, str) or not HASH.fullmatch(value):
            self.fault(pointer, "hash", "Must be sha256: and 64 lower-case hex digits.")

    def whole(self, value: Any, pointer: str, low: int, high: int) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.fault(pointer, "range", f"Must be a whole number from {low} to {high}.")


def is_variable_name(name: object) -> bool:
    """Return whether a variable may have this name: what templates can write as a name, in any script."""
    is_word = isinstance(name, str) and bool(VARIABLE_NAME.fullmatch(name)) and name.isidentifier()
    return is_word and name not in RESERVED_NAMES


def without_defaults(members: dict[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Drop members at their default. `0 == False` in Python, so types are compared too."""
    return {
        name: value
        for name, value in members.items()
        if name not in defaults or value != defaults[name] or type(value) is not type(defaults[name])
    }
