"""Answers that are ready: what is kept of them, by whom and what was asked, and how much (registry.delivery.wsgi)."""

import re
import threading
import time
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache

import brotli

from registry.delivery import request_scope

# The credentials' digest, the path, the query, the scheme and how it is packed.
Key = tuple[bytes, str, str, str, str]

FOR_EVER = float("inf")
SMALLEST_PACKED = 512
# Of each answer beside its bytes: the row and headers, about; and of each version in it.
OVERHEAD, OF_A_VERSION = 1_500, 40
OF_A_BODY = frozenset({"Content-Length", "Content-Type", "Content-Encoding"})
# Made anew for every answer, or of no use in one that is kept.
NOT_KEPT = frozenset({"x-request-id", "content-length", "vary"})


@dataclass(slots=True)
class Entry:
    """An answer that is ready. `ends_at` is when its key expires (seconds since 1970; infinite for most)."""

    headers: list[tuple[str, str]]
    # Those of a 304.
    unchanged: list[tuple[str, str]]
    body: bytes
    tag: str
    quoted: str
    project: int
    # The reader's key, and the versions in the answer: what is counted.
    fetch: tuple[int, tuple[int, ...]]
    kept_at: float
    ends_at: float
    # Something has changed since then (or may have): it is given only where nothing newer can be had.
    right_until: float = FOR_EVER
    # What it takes in memory, about.
    size: int = 0


class Table:
    """Entries by key, the oldest dropped where they would take more than `most` bytes. `generation` changes whenever
    something is dropped for being old: what was asked for before that is not kept after it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._rows: OrderedDict[Key, Entry] = OrderedDict()
        self.bytes = 0
        self.generation = 0
        # In which generation a project's answers became old, and everybody's.
        self._changed: dict[int, int] = {}
        self._all_changed = 0

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, key: Key) -> Entry | None:
        return self._rows.get(key)

    def keep(self, key: Key, entry: Entry, generation: int) -> None:
        """Keep an entry that was asked for in this generation, unless it is old since then."""
        entry.size = len(entry.body) + OVERHEAD + OF_A_VERSION * len(entry.fetch[1]) + sum(map(len, key))
        with self._lock:
            changed = max(self._changed.get(entry.project, 0), self._all_changed)
            if generation < changed or entry.size > self._most:
                return
            self._drop(key)
            self._rows[key] = entry
            self.bytes += entry.size
            while self.bytes > self._most:
                self._drop(next(iter(self._rows)))

    def forget(self, project: int | None = None, *, for_good: bool = False, right_until: float | None = None) -> None:
        """A project's entries are old, or all are (since now, or `right_until`): they are given no more where newer
        ones can be had. For good: a key may have been revoked, and nothing that it could read is kept."""
        until = time.monotonic() if right_until is None else right_until
        with self._lock:
            self.generation += 1
            if project is None:
                self._all_changed = self.generation
                self._changed.clear()
            else:
                self._changed[project] = self.generation
            found = [key for key, entry in self._rows.items() if project is None or entry.project == project]
            for key in found:
                if for_good:
                    self._drop(key)
                else:
                    row = self._rows[key]
                    row.right_until = min(row.right_until, max(row.kept_at, until))

    def readers(self) -> list[int]:
        """Keys that have entries."""
        with self._lock:
            return sorted({entry.fetch[0] for entry in self._rows.values()})

    def keep_readers(self, keys: set[int]) -> None:
        """Drop what other keys could read."""
        with self._lock:
            for key in [key for key, entry in self._rows.items() if entry.fetch[0] not in keys]:
                self._drop(key)

    def remove(self, key: Key) -> None:
        with self._lock:
            self._drop(key)

    def touch(self, key: Key) -> None:
        """Say that an entry was used lately: others are dropped before it."""
        with self._lock:
            if key in self._rows:
                self._rows.move_to_end(key)

    def _drop(self, key: Key) -> None:
        gone = self._rows.pop(key, None)
        if gone is not None:
            self.bytes -= gone.size


def entry_of(
    status: str, headers: list[tuple[str, str]], body: bytes, found: request_scope.Served, packed: str
) -> Entry | None:
    """An answer as it is kept; None for what is not a key's, not well, or not for keeping."""
    by_name = {name.lower(): value for name, value in headers}
    if found.key is None or not status.startswith("200") or "set-cookie" in by_name or "etag" not in by_name:
        return None
    kept = [(name, value) for name, value in headers if name.lower() not in NOT_KEPT]
    if packed and len(body) >= SMALLEST_PACKED:
        body = brotli.compress(body, quality=5) if packed == "br" else _gzipped(body)
        kept.append(("Content-Encoding", packed))
    vary = ", ".join(filter(None, (by_name.get("vary"), "Accept-Encoding")))
    kept += [("Vary", vary), ("Content-Length", str(len(body)))]
    ends = found.key.expires_at
    return Entry(
        headers=kept,
        unchanged=[one for one in kept if one[0] not in OF_A_BODY],
        body=body,
        tag=by_name["etag"].strip('"'),
        quoted=by_name["etag"],
        project=found.key.project_id,
        kept_at=time.monotonic(),
        ends_at=ends.timestamp() if ends else FOR_EVER,
        fetch=(found.key.pk, tuple(found.versions)),
    )


def _gzipped(body: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()


@lru_cache(maxsize=256)
def packing(accept: str) -> str:
    """How an answer is packed for a caller that takes these encodings: br, gzip or not at all."""
    taken = {}
    for part in accept.lower().split(","):
        name, _, parameters = part.strip().partition(";")
        quality = re.search(r"q=([0-9.]+)", parameters)
        taken[name.strip()] = float(quality[1]) if quality and quality[1].count(".") < 2 and quality[1] != "." else 1.0
    return next((name for name in ("br", "gzip") if taken.get(name, 0.0) > 0), "")
