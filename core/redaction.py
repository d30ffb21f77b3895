"""Taking personal data out of texts before they are kept. Pure.

Patterns are a net with holes: what has a form (addresses, numbers) is found, a name is not. Whoever keeps texts
decides that these are good enough, and samples and deletes on top.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import regex

from .content import IMAGE_DATA

MAX_PATTERNS, MAX_PATTERN_LENGTH = 20, 300
# Named patterns. What looks like a card's number has to have its check digit (Luhn), or every long number would go.
PRESETS: Mapping[str, tuple[str, str]] = {
    "email": ("E-mail addresses", r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
    "iban": ("Bank accounts (IBAN)", r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"),
    # Looked for within runs of digits, as long as they are.
    "card": ("Card numbers", r"\d(?:[ -]?\d){12,60}"),
    "phone": (
        "Telephone numbers",
        r"(?<![\w+])(?:\+|00)[1-9](?:[ ()/.-]{0,2}\d){6,14}\b|(?<!\w)0(?:[ ()/.-]{0,2}\d){8,13}\b"
        r"|(?<![\w(])\(\d{3}\) ?\d{3}[ -]\d{4}\b|(?<![\w-])\d{3}-\d{3}-\d{4}\b",
    ),
    "ip": (
        "IP addresses",
        r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?!\w|\.\d)"
        r"|(?<![\w:])(?:[0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}\b"
        r"|(?<![\w:])(?:[0-9a-fA-F]{1,4}:){0,6}[0-9a-fA-F]{0,4}::(?:[0-9a-fA-F]{1,4}:){0,6}[0-9a-fA-F]{1,4}\b",
    ),
    "key": ("Keys of services", r"\b(?:sk|pk|rk|ghp|gho|xox[abp]|cbk|AKIA|AIza)[-_A-Za-z0-9]{16,}"),
}
OWN = "removed"
MIN_CARD_DIGITS, MAX_CARD_DIGITS = 13, 19


def check_pattern(pattern: str) -> str:
    """Return what is wrong with a pattern of a user; empty where it can be searched for."""
    if not 1 <= len(pattern) <= MAX_PATTERN_LENGTH:
        return f"A pattern has 1 to {MAX_PATTERN_LENGTH} characters."
    try:
        compiled = regex.compile(pattern)
    except (regex.error, RecursionError, OverflowError) as error:
        return f"{pattern[:60]} is no regular expression: {error}."
    return "It matches nothing at all, everywhere." if compiled.fullmatch("") else ""


def redact(value: Any, presets: Sequence[str], patterns: Sequence[str]) -> Any:
    """Return a JSON value whose texts have `[email]`, `[removed]` and so on in place of what matches; names of members
    stay."""
    compiled = [(OWN, regex.compile(pattern)) for pattern in patterns]
    compiled += [(name, regex.compile(PRESETS[name][1])) for name in PRESETS if name in presets]

    def clean(each: Any) -> Any:
        if isinstance(each, str):
            if each.startswith(IMAGE_DATA):
                return "[image]"
            return _clean_json(each, clean) or _clean_text(each, compiled)
        if isinstance(each, list):
            return [clean(member) for member in each]
        if isinstance(each, dict):
            return {name: clean(member) for name, member in each.items()}
        return each

    return clean(value)


def _clean_json(text: str, clean: Callable[[Any], Any]) -> str:
    """Return a text that is JSON with its values cleaned: within its escapes an `n` stands where a line ends. Empty
    where it is none."""
    if not text.lstrip().startswith(("{", "[")):
        return ""
    try:
        return json.dumps(clean(json.loads(text)), ensure_ascii=False)
    except (ValueError, RecursionError):
        return ""


def _clean_text(text: str, compiled: Sequence[tuple[str, "regex.Pattern[str]"]]) -> str:
    for name, pattern in compiled:
        text = pattern.sub(_without_cards if name == "card" else f"[{name}]", text)
    # What PostgreSQL takes: a model may answer with NUL, or with half of a surrogate pair.
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def _without_cards(match: "regex.Match[str]") -> str:
    """Return a run of digits without the numbers of cards in it: 13 to 19 digits, of whole groups, that end with their
    check digit. What stands beside them, such as a date or another code, belongs to no card."""
    run = match[0]
    groups = list(re.finditer(r"\d+", run))
    for first in range(len(groups)):
        for last in range(len(groups) - 1, first - 1, -1):
            start, end = groups[first].start(), groups[last].end()
            count = sum(len(group[0]) for group in groups[first : last + 1])
            if MIN_CARD_DIGITS <= count <= MAX_CARD_DIGITS and _has_check_digit(run[start:end]):
                rest = regex.sub(PRESETS["card"][1], _without_cards, run[end:])
                return f"{run[:start]}[card]{rest}"
    return run


def _has_check_digit(text: str) -> bool:
    """Return whether the digits of a text end with Luhn's check digit (ISO/IEC 7812-1)."""
    digits = [int(digit) for digit in re.sub(r"\D", "", text)]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
