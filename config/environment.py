"""Typed reading of environment variables; a wrong or missing value stops the start with one sentence."""

import os
from pathlib import Path

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off"})


class ConfigurationError(SystemExit):
    """A setting is missing or wrong. Being a SystemExit, it ends any entry point with its sentence alone."""


def text(name: str, default: str = "") -> str:
    """Return the variable's value without surrounding white space, or `default` where it is unset or empty."""
    return os.environ.get(name, "").strip() or default


def secret(name: str, default: str = "") -> str:
    """Return the variable's value like `text`, or that of the file named by `NAME_FILE` (container secrets)."""
    path = text(f"{name}_FILE")
    if not path:
        return text(name, default)
    try:
        return Path(path).read_text(encoding="utf-8").strip() or default
    except OSError as error:
        raise ConfigurationError(f"{name}_FILE names {path}, which cannot be read: {error.strerror}.") from error


def required(name: str, value: str, purpose: str) -> str:
    """Return `value`, or stop the start with a sentence that names the missing setting and its purpose."""
    if not value:
        raise ConfigurationError(f"{name} is not set: {purpose}.")
    return value


def boolean(name: str, *, default: bool) -> bool:
    value = text(name).lower()
    if not value:
        return default
    if value in TRUE:
        return True
    if value in FALSE:
        return False
    raise ConfigurationError(f"{name} must be one of 1, 0, true, false, yes, no, on, off, not {value!r}.")


def integer(name: str, default: int, *, at_least: int = 0) -> int:
    value = text(name)
    if not value:
        return default
    try:
        number = int(value)
    except ValueError:
        raise ConfigurationError(f"{name} must be a whole number, not {value!r}.") from None
    if number < at_least:
        raise ConfigurationError(f"{name} must be at least {at_least}, not {number}.")
    return number


def words(name: str, default: str = "") -> list[str]:
    """Return a comma-separated list; empty parts are dropped."""
    return [part.strip() for part in text(name, default).split(",") if part.strip()]
