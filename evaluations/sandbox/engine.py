"""What answers behind the protocol."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Reply:
    """An answer, what it would have cost in tokens, and how long a model would have taken over it."""

    text: str
    tokens_in: int
    tokens_out: int
    seconds: float
    finish_reason: str = "stop"


class Engine(Protocol):
    """`models` are the names it can be asked by; each has a `shutdown_date` or None."""

    def models(self) -> Mapping[str, str | None]: ...

    def reply(self, body: Mapping[str, Any]) -> Reply:
        """The answer to a chat request's body. KeyError where there is no such model."""
        ...

    def embed(self, texts: Sequence[str]) -> list[list[float]]: ...

    def tune(self, base: str, name: str, examples: Sequence[Mapping[str, Any]], epochs: int) -> list[float]:
        """Learn from chat examples under a new name; returns the loss after each step."""
        ...
