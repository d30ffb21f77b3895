"""What jobs and providers say of each other, read as what can be stored, sent, and stand in an address. Pure."""

from collections.abc import Mapping
from typing import Any

from evaluations.providers.answer_shapes import garbled_error
from evaluations.providers.chat import storable

MAX_TEXT_LENGTH = 500
# The last second that is read as a time (in the year 2223).
MAX_TIMESTAMP = 8_000_000_000
# The largest count that is believed.
MAX_TOKENS = 10**12


def short_text(value: object, max_length: int) -> str:
    """Return a value as text that the database can hold."""
    return storable("" if value is None else str(value))[:max_length]


def read_tokens(value: object) -> int | None:
    """Return a count of tokens; None where it is none, or beyond belief."""
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_TOKENS
    return value if is_count else None  # type: ignore[return-value]  # is_count says that it is


def numbers_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that are numbers, of a size that a job's row can hold."""
    return {
        name: value
        for name, value in settings.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 10**15
    }


def read_id(document: Mapping[str, Any]) -> str:
    """Return the `id` of a provider's thing, or raise a CallError."""
    key = document.get("id")
    if not isinstance(key, str) or not key:
        raise garbled_error("The answer has no id.")
    return path_segment(key)


def path_segment(key: str) -> str:
    """Return a provider's id if it may stand in an address."""
    if len(key) > 200 or not key.isascii() or not key.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise garbled_error("The provider names its things in a way that cannot stand in an address.")
    return key


def own_settings(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that say something: not those at auto, nor a rate that is multiplied by one."""
    neutral = {"learning_rate_multiplier": (1, "auto")}
    return {name: value for name, value in hyperparameters.items() if value not in neutral.get(name, ("auto",))}
