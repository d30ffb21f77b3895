"""JSON as its standard has it: Python's reader takes more, which nobody could write again. Pure."""

import json
from typing import Any, NoReturn


def read_strict_json(text: str) -> Any:
    """Read a text; raises a ValueError (or, of too many levels, a RecursionError) for what is no JSON, among it NaN and
    a member twice in one object."""
    return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique_members)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member occurs twice in one object")
    return members
