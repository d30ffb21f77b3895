"""What a request is answered for: which key asked, and which versions it got. Said by the views, read by who keeps
answers ready (registry.delivery.wsgi) and counts them."""

from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field

from registry.models import APIKey


@dataclass
class Served:
    """`key` is None where a person asked; then nothing is kept."""

    key: APIKey | None = None
    versions: list[int] = field(default_factory=list)


_now: ContextVar[Served | None] = ContextVar("served", default=None)


def begin() -> Served:
    """Watch what the request in this context is answered for."""
    found = Served()
    _now.set(found)
    return found


def end() -> None:
    _now.set(None)


def by(key: APIKey) -> None:
    """The request is the key's."""
    found = _now.get()
    if found is not None:
        found.key = key


def versions(keys: Iterable[int]) -> None:
    """The answer has these versions in it."""
    found = _now.get()
    if found is not None:
        found.versions.extend(keys)
