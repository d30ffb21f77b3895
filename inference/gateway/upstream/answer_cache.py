"""Answers to equal requests, where a config says that they may be used again. Pure.

In the memory of the process, the least recently used dropped. What is asked is the key, with the project and the
endpoint whose answer it is: nobody gets an answer that somebody else's key has paid for.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from evaluations.providers.chat import Completion

MAX_BYTES = 64 * 1024 * 1024
# What an answer takes beside its text.
OVERHEAD_BYTES = 2_000


@dataclass
class _Entry:
    answer: Completion
    kept_at: float
    size: int


class AnswerCache:
    """Used from one event loop."""

    def __init__(self, max_bytes: int = MAX_BYTES, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes, self._clock = max_bytes, clock
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._size = 0

    def get(self, name: Hashable, max_age_seconds: float) -> Completion | None:
        """Return the answer that is kept under a name, if it is not older."""
        entry = self._entries.get(name)
        if entry is None or self._clock() - entry.kept_at > max_age_seconds:
            return None
        self._entries.move_to_end(name)
        return entry.answer

    def put(self, name: Hashable, answer: Completion) -> None:
        """Keep an answer in place of an older one."""
        self._drop(name)
        size = (
            OVERHEAD_BYTES
            + len(answer.text.encode("utf-8", "replace"))
            + sum(len(str(call)) for call in answer.tool_calls or ())
        )
        if size > self._max_bytes:
            return
        self._entries[name] = _Entry(answer, self._clock(), size)
        self._size += size
        while self._size > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, name: Hashable) -> None:
        entry = self._entries.pop(name, None)
        self._size -= entry.size if entry else 0
