"""The scope of a request: the key that sent it and the versions in its response. Views set it; the response cache
(registry.delivery.wsgi) reads it, to cache and count responses."""

from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field

from core.assignment import Split
from registry.models import APIKey


@dataclass
class RequestScope:
    """A request's key and versions; `key` is None for users, whose responses are not cached."""

    key: APIKey | None = None
    versions: list[int] = field(default_factory=list)
    # What an experiment serves at this address, and the arm in the response; None and empty where there is none.
    split: Split | None = None
    arm: str = ""


_current: ContextVar[RequestScope | None] = ContextVar("request_scope", default=None)


def begin() -> RequestScope:
    """Start recording the scope of the request in this context."""
    scope = RequestScope()
    _current.set(scope)
    return scope


def is_recorded() -> bool:
    """Return whether somebody records the scope of this context's request, and answers for what it counts."""
    return _current.get() is not None


def end() -> None:
    _current.set(None)


def set_key(key: APIKey) -> None:
    """Record the key that sent the request."""
    scope = _current.get()
    if scope is not None:
        scope.key = key


def set_split(split: Split, arm: str) -> None:
    """Record what an experiment serves here, and which arm is in the response; an empty one where the subject is no
    part of it."""
    scope = _current.get()
    if scope is not None:
        scope.split, scope.arm = split, arm


def add_versions(keys: Iterable[int]) -> None:
    """Record versions that the response contains."""
    scope = _current.get()
    if scope is not None:
        scope.versions.extend(keys)
