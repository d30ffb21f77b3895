"""What the simulated model answers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reply:
    """An answer, its tokens, and the time that a model would have needed for it."""

    text: str
    tokens_in: int
    tokens_out: int
    seconds: float
    finish_reason: str = "stop"
