"""JSON as its standard has it: Python's reader takes more, which nobody could write again. Pure."""

import json
from typing import Any, NoReturn

from .errors import Problem

MAX_DEPTH = 60


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
    if depth > MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} levels")
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
