"""Taking personal data out of texts before they are kept. Pure.

Patterns are a net with holes: what has a form (addresses, numbers) is found, a name is not. Whoever keeps texts
decides that these are good enough, and samples and deletes on top.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import regex

from .content import IMAGE_DATA

MAX_PATTERNS, MAX_PATTERN_LENGTH = 20, 300
# Named patterns. What looks like a card's number has to have its check digit (Luhn), or every long number would go.
PRESETS: Mapping[str, tuple[str, str]] = {
    "email": ("E-mail addresses", r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
    "iban": ("Bank accounts (IBAN)", r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"),
    # Looked for within runs of digits, as long as they are.
    "card": ("Card numbers", r"\d(?:[ -]?\d){12,}+"),
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
# A text in quotation marks as JSON and programs write it; an escape outside of any is passed over.
QUOTED = regex.compile(r'\\.|"(?:[^"\\]|\\.)*+"', regex.DOTALL)
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

    def clean_quoted(match: "regex.Match[str]") -> str:
        # Within its escapes an `n` stands where a line ends.
        try:
            text = json.loads(match[0])
        except ValueError:
            return match[0]
        cleaned = clean(text) if isinstance(text, str) else text
        return match[0] if cleaned == text else json.dumps(cleaned, ensure_ascii=False)

    def clean(each: Any) -> Any:
        if isinstance(each, str):
            if each.startswith(IMAGE_DATA):
                return "[image]"
            return _clean_text(QUOTED.sub(clean_quoted, each) if "\\" in each else each, compiled)
        if isinstance(each, list):
            return [clean(member) for member in each]
        if isinstance(each, dict):
            return {name: clean(member) for name, member in each.items()}
        return each

    return clean(value)


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
    pieces, position, first = [], 0, 0
    while first < len(groups):
        last = _last_group_of_card(groups, first)
        if last is None:
            first += 1
            continue
        pieces += [run[position : groups[first].start()], "[card]"]
        position, first = groups[last].end(), last + 1
    return "".join((*pieces, run[position:]))


def _last_group_of_card(groups: Sequence["re.Match[str]"], first: int) -> int | None:
    """Return where the longest number of a card ends that begins with a group; None where none does."""
    digits, longest = "", None
    for position in range(first, len(groups)):
        digits += groups[position][0]
        if len(digits) > MAX_CARD_DIGITS:
            break
        if len(digits) >= MIN_CARD_DIGITS and _has_check_digit(digits):
            longest = position
    return longest


def _has_check_digit(digits: str) -> bool:
    """Return whether digits end with Luhn's check digit (ISO/IEC 7812-1)."""
    numbers = [int(digit) for digit in digits]
    doubled = [sum(divmod(2 * number, 10)) for number in numbers[-2::-2]]
    return (sum(numbers[-1::-2]) + sum(doubled)) % 10 == 0
