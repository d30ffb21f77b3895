"""Typed reading of environment variables; a wrong or missing value stops the start with one sentence."""

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.fernet import Fernet

TRUE = frozenset({"1", "true", "yes", "on"})
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
# What Celery can take tasks from, and what is tested: Redis and Valkey.
BROKER_SCHEMES = ("redis", "rediss", "redis+socket", "valkey", "unix", "amqp", "amqps", "sentinel")
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


def choice(name: str, default: str, choices: Sequence[str]) -> str:
    """Return one of these words, whatever its case."""
    value = text(name, default).upper()
    if value not in choices:
        raise ConfigurationError(f"{name} must be one of {', '.join(choices)}, not {text(name)!r}.")
    return value


def address(name: str, value: str, *, schemes: Sequence[str] = ("http", "https")) -> str:
    """Return `value`, which is empty or an address with a host (or a socket's path)."""
    if value and not _is_address(value, schemes):
        # Not the value: it may have a password.
        raise ConfigurationError(f"{name} is not an address that begins with {'://, '.join(schemes)}://.")
    return value


def _is_address(value: str, schemes: Sequence[str]) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in schemes and bool(parts.hostname or parts.path.strip("/")) and parts.port != 0
    except ValueError:
        return False


def broker(name: str) -> str:
    """Return the broker's address; several, for one that fails over, are separated by semicolons."""
    value = required(name, secret(name), "workers get their tasks through it")
    for part in value.split(";"):
        address(name, part.strip(), schemes=BROKER_SCHEMES)
    return value


def fernet_keys(name: str) -> list[str]:
    """Return a comma-separated list of Fernet keys, each of which was tried."""
    keys = words(name) or [part.strip() for part in secret(name).split(",") if part.strip()]
    for number, key in enumerate(keys, start=1):
        try:
            Fernet(key)
        except ValueError:
            sentence = f"{name}: key {number} is no Fernet key (32 bytes in URL-safe base64)."
            raise ConfigurationError(f"{sentence} docs/configuration.md says how to make one.") from None
    return keys


def words(name: str, default: str = "") -> list[str]:
    """Return a comma-separated list; empty parts are dropped."""
    return [part.strip() for part in text(name, default).split(",") if part.strip()]
