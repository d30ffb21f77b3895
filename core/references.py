"""References to prompts and their versions: `name@selector`. Pure: usable without Django.

support.triage                     what is live in production
support.triage@3                   version number 3
support.triage@staging             what is live in an environment
support.triage@latest              the newest version
support.triage@sha256:9f2c41d07a1b the version whose hash starts so (12 to 64 hex digits)
"""

import re
from dataclasses import dataclass

from .errors import Problem

DEFAULT_ENVIRONMENT = "production"
LATEST = "latest"
MAX_PROMPT_NAME = 200
MAX_VERSION_NUMBER = 2**31 - 1

# Names that the API needs for its own addresses: POST /prompts/batch.
RESERVED_PROMPT_NAMES = frozenset({"batch"})

PROMPT_NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
ENVIRONMENT_NAME = re.compile(r"[a-z][a-z0-9]*(?:[_-][a-z0-9]+)*")
HASH = re.compile(r"sha256:[0-9a-f]{64}")
HASH_PREFIX = re.compile(r"sha256:[0-9a-f]{12,64}")


@dataclass(frozen=True)
class Number:
    value: int


@dataclass(frozen=True)
class Environment:
    name: str


@dataclass(frozen=True)
class Latest:
    pass


@dataclass(frozen=True)
class HashPrefix:
    value: str

    @property
    def is_whole(self) -> bool:
        return bool(HASH.fullmatch(self.value))


Selector = Number | Environment | Latest | HashPrefix


@dataclass(frozen=True)
class Reference:
    """A prompt's name and the selector of a version."""

    name: str
    selector: Selector


def parse_selector(text: str) -> Selector:
    """Parse a selector; `prompt.invalid_selector` where `text` is none."""
    if text.isascii() and text.isdigit():
        digits = text.lstrip("0")
        number = int(digits) if 0 < len(digits) <= 10 else 0
        if not 1 <= number <= MAX_VERSION_NUMBER:
            raise Problem("prompt.invalid_selector", f"Version numbers go from 1 to {MAX_VERSION_NUMBER}.")
        return Number(number)
    if text == LATEST:
        return Latest()
    if text.startswith("sha256:"):
        if HASH_PREFIX.fullmatch(text):
            return HashPrefix(text)
        raise Problem("prompt.invalid_selector", "A hash is written sha256: and 12 to 64 lower-case hex digits.")
    if is_environment_name(text):
        return Environment(text)
    raise Problem(
        "prompt.invalid_selector",
        f"{quoted(text)} is no selector: use a version number, an environment's name, latest, or sha256:....",
    )


def parse_reference(text: str) -> Reference:
    """Parse a reference; without `@selector` it is the version that is live in production."""
    name, at, selector = text.partition("@")
    if not is_prompt_name(name):
        raise Problem("reference.invalid", f"{quoted(text)} does not start with a prompt's name.")
    return Reference(name, parse_selector(selector) if at else Environment(DEFAULT_ENVIRONMENT))


def is_prompt_name(text: str) -> bool:
    return len(text) <= MAX_PROMPT_NAME and text not in RESERVED_PROMPT_NAMES and bool(PROMPT_NAME.fullmatch(text))


def is_environment_name(text: str) -> bool:
    """Return whether `text` may name an environment: it must not read as another kind of selector."""
    return (
        len(text) <= 50 and text != LATEST and not text.startswith("sha256") and bool(ENVIRONMENT_NAME.fullmatch(text))
    )


def quoted(text: str, longest: int = 60) -> str:
    """Quote user text inside a sentence: shortened, with unprintable characters escaped."""
    shortened = text if len(text) <= longest else f"{text[:longest]}..."
    return f"“{shortened.encode('unicode_escape').decode() if not shortened.isprintable() else shortened}”"
