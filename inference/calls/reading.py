"""Reading calls as services report them: what each member may be, and what is wrong with those that are not. Pure."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Any

from core.errors import Fault

MAX_ID, MAX_SUBJECT = 64, 200
MAX_METADATA, MAX_METADATA_NAME, MAX_METADATA_TEXT = 16, 64, 512
MAX_TOKENS, MAX_LATENCY_MS, MAX_COST_USD = 10_000_000, 86_400_000.0, Decimal(10_000)
COST_DECIMAL_PLACES = 8
MAX_ARM = 20
MAX_NUMBERS: Mapping[str, int] = {"run": 2**53, "step": 2**15 - 1}
NOT_STORED = re.compile("[\0\ud800-\udfff]")
TRACE = re.compile(r"[0-9a-f]{32}")
TOKENS = ("tokens_in", "tokens_cached", "tokens_cache_write", "tokens_out", "tokens_reasoning")
# Members that are parts of another.
TOKEN_PARTS = {("tokens_cached", "tokens_cache_write"): "tokens_in", ("tokens_reasoning",): "tokens_out"}

Read = Callable[[Any], Any]


class _WrongError(ValueError):
    """What is wrong with a value: a code, and a sentence."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code, self.sentence = code, sentence


def text(maximum: int, *, required: bool = False) -> Read:
    """Read a text of at most so many characters; None is an empty one."""

    def read(value: Any) -> str:
        if value is None and not required:
            return ""
        if not isinstance(value, str):
            raise _WrongError("type", "Must be a text.")
        if NOT_STORED.search(value):
            raise _WrongError("characters", "Must have no NUL, and no halves of characters.")
        if len(value) > maximum or (required and not value):
            raise _WrongError("length", f"Must have {'1 to' if required else 'at most'} {maximum} characters.")
        return value

    return read


def number(maximum: float) -> Read:
    """Read a number from 0 to a maximum."""

    def read(value: Any) -> float | None:
        if value is None:
            return None
        try:
            number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
        except (ValueError, OverflowError):
            number = None
        if number is None or not isfinite(number):
            raise _WrongError("type", "Must be a number.")
        if not 0 <= number <= maximum:
            raise _WrongError("range", f"Must be from 0 to {maximum:,g}.")
        return number

    return read


def count(least: int, most: int) -> Read:
    """Read a whole number between bounds."""

    def read(value: Any) -> int | None:
        if value is None:
            return None
        is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}", value):
            value, is_whole = int(value), True
        if isinstance(value, bool) or not is_whole:
            raise _WrongError("type", "Must be a whole number.")
        if not least <= value <= most:
            raise _WrongError("range", f"Must be from {least:,} to {most:,}.")
        return int(value)

    return read


def choice(values: Sequence[str]) -> Read:
    """Read one of these texts."""

    def read(value: Any) -> str:
        if value not in values:
            raise _WrongError("choice", f"Must be one of {', '.join(values)}.")
        return str(value)

    return read


def flag(value: Any) -> bool | None:
    """Read true, false or nothing."""
    if value is not None and not isinstance(value, bool):
        raise _WrongError("type", "Must be true or false.")
    return value


def cost(value: Any) -> Decimal | None:
    """Read an amount of US dollars."""
    if value is None:
        return None
    try:
        number = Decimal(str(value)) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite():
        raise _WrongError("type", "Must be a number.")
    if not 0 <= number <= MAX_COST_USD:
        raise _WrongError("range", f"Must be from 0 to {MAX_COST_USD:,}.")
    return round(number, COST_DECIMAL_PLACES)


def moment(value: Any) -> datetime | None:
    """Read a moment; one without a zone is in UTC."""
    if value is None or isinstance(value, datetime):
        return value
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) and len(value) <= 40 else None
    except ValueError:
        at = None
    if at is None:
        raise _WrongError("type", "Must be a moment, such as 2026-11-28T14:00:00Z.")
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def trace(value: Any) -> str:
    """Read the id of a trace."""
    digits = "" if value is None else value
    if not isinstance(digits, str) or (digits and not TRACE.fullmatch(digits)):
        raise _WrongError("type", "Must be the 32 hexadecimal digits of a trace.")
    return digits


def read_metadata(value: Any) -> dict[str, str]:
    """Return metadata of a call; ValueError with a sentence where they are none."""
    pairs = {} if value is None else value
    if isinstance(pairs, dict) and len(pairs) <= MAX_METADATA and all(map(_is_metadata, pairs.items())):
        return pairs
    sentence = f"Must be at most {MAX_METADATA} texts of {MAX_METADATA_TEXT} characters"
    raise _WrongError("type", f"{sentence}, under names of {MAX_METADATA_NAME}.")


def _is_metadata(pair: tuple[str, object]) -> bool:
    name, text = pair
    return len(name) <= MAX_METADATA_NAME and isinstance(text, str) and len(text) <= MAX_METADATA_TEXT


def _are_tool_calls(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


def _is_json(value: Any) -> bool:
    """Return whether a value can be stored: finite numbers, no NUL, no halves of characters, not too deep."""
    try:
        written = json.dumps(value, allow_nan=False, ensure_ascii=False)
        return "\\u0000" not in written and not NOT_STORED.search(written)
    except (ValueError, RecursionError):
        return False


def read_text(value: Any) -> dict[str, Any] | None:
    """Return what a call was asked and answered: `messages` (a list of objects), `answer` (a text, or an object with
    `text`, `refusal` and `tool_calls`), `variables`."""
    if value is None:
        return None
    document: Mapping[str, Any] = value if isinstance(value, dict) else {"": value}
    answer = document.get("answer", {})
    answer = {"text": answer} if isinstance(answer, str) else answer
    messages, variables = document.get("messages") or [], document.get("variables") or {}
    is_fine = (
        document.keys() <= {"messages", "answer", "variables"}
        and isinstance(answer, dict)
        and isinstance(messages, list)
        and all(isinstance(message, dict) and isinstance(message.get("role"), str) for message in messages)
        and isinstance(variables, dict)
        and _are_tool_calls(answer.get("tool_calls") or [])
        and _is_json(value)
    )
    if not is_fine:
        raise _WrongError(
            "type", "Must have messages (a list, each with a role), answer (a text or an object) and variables."
        )
    return {"messages": messages, "answer": answer, "variables": variables}


def read_exposure(value: Any) -> dict[str, Any] | None:
    """Return the arm of an experiment that a call was served: `run`, `step` and `arm`, as it was fetched."""
    if value is None:
        return None
    is_fine = (
        isinstance(value, dict)
        and value.keys() == {"run", "step", "arm"}
        and all(type(value[name]) is int and 0 < value[name] <= MAX_NUMBERS[name] for name in MAX_NUMBERS)
        and isinstance(value["arm"], str)
        and 0 < len(value["arm"]) <= MAX_ARM
    )
    if not is_fine:
        raise _WrongError("type", "Must have run, step and arm, as the prompt was fetched with.")
    return dict(value)


MEMBERS: Mapping[str, Read] = {
    "id": text(MAX_ID),
    "prompt": text(300, required=True),
    "environment": text(60),
    "at": moment,
    "model": text(200),
    "failed": flag,
    "error": text(60),
    "latency_ms": number(MAX_LATENCY_MS),
    "time_to_first_token_ms": number(MAX_LATENCY_MS),
    **dict.fromkeys(TOKENS, count(0, MAX_TOKENS)),
    "cost_usd": cost,
    "format_ok": flag,
    "score": number(1),
    "label": text(100),
    "finish_reason": text(30),
    "subject": text(MAX_SUBJECT),
    "trace": trace,
    "metadata": read_metadata,
    "text": read_text,
    "experiment": read_exposure,
}
EMPTY: Mapping[str, Any] = {
    **dict.fromkeys(("id", "environment", "model", "error", "label", "finish_reason", "subject", "trace"), ""),
    **dict.fromkeys(
        ("at", "failed", "latency_ms", "time_to_first_token_ms", *TOKENS, "cost_usd", "format_ok", "score")
    ),
    "metadata": {},
    **dict.fromkeys(("text", "experiment")),
}


def read_calls(documents: Sequence[Any], within: str, faults: list[Fault]) -> list[dict[str, Any] | None]:
    """Return the members of calls, each of them with what it leaves out; None for one that has a fault.

    Faults are added to `faults`, with their places below the pointer `within`.
    """
    return [_read_call(document, f"{within}/{place}", faults) for place, document in enumerate(documents)]


def read_members(
    document: Mapping[str, Any], members: Mapping[str, Read], pointer: str
) -> tuple[dict[str, Any], list[Fault]]:
    """Read the members of an object; returns those that can be read, and what is wrong with the others."""
    values, faults = {}, []
    for name, value in document.items():
        read = members.get(name)
        if read is None:
            faults.append(Fault(f"{pointer}/{name[:100]}", "unknown", "Unknown member."))
            continue
        try:
            values[name] = read(value)
        except _WrongError as wrong:
            faults.append(Fault(f"{pointer}/{name}", wrong.code, wrong.sentence))
    return values, faults


def _read_call(document: Any, pointer: str, faults: list[Fault]) -> dict[str, Any] | None:
    if not isinstance(document, dict):
        faults.append(Fault(pointer, "type", "Must be an object."))
        return None
    values, own_faults = read_members(document, MEMBERS, pointer)
    call = {**EMPTY, **values}
    if "prompt" not in document:
        own_faults.append(Fault(f"{pointer}/prompt", "required", "This member is required."))
    own_faults = own_faults or _parts(call, pointer)
    faults += own_faults
    # What says why it failed, failed.
    call["failed"] = bool(call["failed"] or call["error"])
    return None if own_faults else call


def _parts(call: Mapping[str, Any], pointer: str) -> list[Fault]:
    """Return what is wrong with token counts that are parts of others."""
    faults = []
    for members, whole in TOKEN_PARTS.items():
        if sum(call[member] or 0 for member in members) > (call[whole] or 0):
            sentence = f"{' and '.join(members)} are a part of {whole}."
            faults.append(Fault(f"{pointer}/{members[0]}", "range", sentence))
    return faults
