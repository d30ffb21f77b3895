"""Engine interface behind the protocol."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Reply:
    """An answer, its tokens, and the time that a model would have needed for it."""

    text: str
    tokens_in: int
    tokens_out: int
    seconds: float
    finish_reason: str = "stop"


class Engine(Protocol):
    """An engine; `models` maps its models' names to a shutdown date or None."""

    def models(self) -> Mapping[str, str | None]: ...

    def reply(self, body: Mapping[str, Any]) -> Reply:
        """Answer a chat request's body. KeyError where there is no such model."""
        ...

    def embed(self, texts: Sequence[str]) -> list[list[float]]: ...

    def tune(self, base: str, name: str, examples: Sequence[Mapping[str, Any]], epochs: int) -> list[float]:
        """Learn from chat examples under a new name; return the loss after each step."""
        ...
