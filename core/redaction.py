"""Taking personal data out of texts before they are kept. Pure.

Patterns are a net with holes: what has a form (addresses, numbers) is found, a name is not. Whoever keeps texts
decides that these are good enough, and samples and deletes on top.
"""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import regex

MAX_PATTERNS, MAX_PATTERN_LENGTH = 20, 300
# Named patterns. What looks like a card's number has to have its check digit (Luhn), or every long number would go.
PRESETS: Mapping[str, tuple[str, str]] = {
    "email": ("E-mail addresses", r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
    "card": ("Card numbers", r"(?<![\d-])(?:\d[ -]?){12,18}\d(?![\d-])"),
    "iban": ("Bank accounts (IBAN)", r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"),
    "phone": (
        "Telephone numbers",
        r"(?<![\w+])(?:\+|00)[1-9](?:[ ()/.-]{0,2}\d){6,14}\b|(?<!\w)0(?:[ ()/.-]{0,2}\d){8,13}\b",
    ),
    "ip": (
        "IP addresses",
        r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.])|(?<![\w:])(?:[0-9a-fA-F]{1,4}:){4,7}[0-9a-fA-F]{1,4}\b",
    ),
    "key": ("Keys of services", r"\b(?:sk|pk|rk|ghp|gho|xox[abp]|cbk|AKIA|AIza)[-_A-Za-z0-9]{16,}"),
}
OWN = "removed"


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
            for name, pattern in compiled:
                each = pattern.sub(partial(_replacement, name), each)
            # What PostgreSQL takes: a model may answer with NUL, or with half of a surrogate pair.
            return each.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
        if isinstance(each, list):
            return [clean(member) for member in each]
        if isinstance(each, dict):
            return {name: clean(member) for name, member in each.items()}
        return each

    return clean(value)


def _replacement(name: str, match: "regex.Match[str]") -> str:
    return match[0] if name == "card" and not _has_check_digit(match[0]) else f"[{name}]"


def _has_check_digit(text: str) -> bool:
    """Return whether the digits of a text end with Luhn's check digit (ISO/IEC 7812-1)."""
    digits = [int(digit) for digit in re.sub(r"\D", "", text)]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
