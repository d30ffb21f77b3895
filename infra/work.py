"""How a worker carries out a row of work: whatever comes of it, the row ends, and the person who waits is told."""

import logging
from collections.abc import Callable
from typing import Protocol

from core.errors import Problem

logger = logging.getLogger(__name__)

# So many workers may end over a row; a row that kills its worker would keep killing them.
MOST = 3
BROKEN = "Something went wrong on our side; the log has it."
LONGEST_ERROR = 1_000


class Attempted(Protocol):
    """A row that counts the workers which took it, this one included."""

    pk: int
    attempts: int


def carry_out(row: Attempted, do: Callable[[], object], fail: Callable[[str], object]) -> None:
    """Do a row's work. A refusal, a fault of our own, or too many attempts end it by `fail`, with the sentence."""
    try:
        if row.attempts > MOST:
            raise Problem("server.error", f"{MOST} workers ended over this without finishing it.")
        do()
    except Problem as problem:
        fail(problem.detail[:LONGEST_ERROR])
    except Exception:
        logger.exception("%s.broken key=%s", type(row).__name__.lower(), row.pk)
        fail(BROKEN)
