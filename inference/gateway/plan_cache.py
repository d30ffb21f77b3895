"""What the inference service keeps in memory: who calls, and how targets are asked. Pure.

The listener of the delivery (registry.delivery.invalidation) tells what has changed. An entry that may be outdated is
read again; where the database cannot be asked it serves as it is, for known tasks go on being served. A key that was
revoked is gone at once.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

MAX_ENTRIES = 10_000
# Prices and the ends of models come with time, and nothing tells of it.
MAX_AGE_SECONDS = 300.0


@dataclass
class _Entry:
    value: Any
    project: int
    # The key whose entry it is; 0 for what belongs to no key.
    key: int
    cached_at: float
    is_current: bool = True


class PlanCache:
    """Entries by name; the least recently used are dropped. Safe for threads."""

    def __init__(self) -> None:
        # Whether all changes are being heard of: the listener's word, which is made after this.
        self.is_listening: Callable[[], bool] = lambda: False
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._generation = 0
        self._invalidated: dict[int, int] = {}
        self._all_invalidated = 0

    @property
    def generation(self) -> int:
        """Return the number of invalidations so far: whoever reads something says in which one it asked."""
        return self._generation

    def get(self, name: Hashable) -> tuple[Any, bool] | None:
        """Return an entry's value, and whether it is surely current."""
        with self._lock:
            entry = self._entries.get(name)
            if entry is None:
                return None
            self._entries.move_to_end(name)
            is_young = time.monotonic() - entry.cached_at < MAX_AGE_SECONDS
        return entry.value, entry.is_current and is_young and self.is_listening()

    def put(self, name: Hashable, value: Any, *, project: int, key: int = 0, generation: int) -> None:
        """Keep a value that was asked for in this generation; what changed since is outdated already."""
        with self._lock:
            is_current = generation >= max(self._invalidated.get(project, 0), self._all_invalidated)
            self._entries[name] = _Entry(value, project, key, time.monotonic(), is_current)
            self._entries.move_to_end(name)
            while len(self._entries) > MAX_ENTRIES:
                self._entries.popitem(last=False)

    def remove(self, name: Hashable) -> None:
        with self._lock:
            self._entries.pop(name, None)

    # What the listener calls, as of registry.delivery.response_cache.

    def invalidate(self, project: int | None = None, *, drop: bool = False, valid_until: float | None = None) -> None:
        """Mark what a project, or all, have as outdated; `drop` removes what its keys have."""
        with self._lock:
            self._generation += 1
            if project is None:
                self._all_invalidated = self._generation
                self._invalidated.clear()
            else:
                self._invalidated[project] = self._generation
            for name, entry in list(self._entries.items()):
                if project is not None and entry.project != project:
                    continue
                if drop and entry.key:
                    del self._entries[name]
                else:
                    entry.is_current = False

    def readers(self) -> list[int]:
        """Return the keys that have entries."""
        with self._lock:
            return sorted({entry.key for entry in self._entries.values() if entry.key})

    def retain_readers(self, keys: set[int]) -> None:
        """Drop the entries of all other keys."""
        with self._lock:
            for name in [name for name, entry in self._entries.items() if entry.key and entry.key not in keys]:
                del self._entries[name]
