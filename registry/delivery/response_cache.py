"""The response cache: what is cached of a response, by which key, and within how much memory
(registry.delivery.wsgi)."""

import re
import threading
import time
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache

import brotli

from core.assignment import Split
from registry.delivery import request_scope

# The credentials' digest, the path, the query, the scheme and the content encoding.
Key = tuple[bytes, str, str, str, str, str]

FOREVER = float("inf")
MIN_COMPRESSED_BYTES = 512
# Approximate memory of each response beside its body: the row and headers, and each version in it.
OVERHEAD, VERSION_OVERHEAD = 1_500, 40
BODY_HEADERS = frozenset({"Content-Length", "Content-Type", "Content-Encoding"})
# Set for each response anew, or of no use in a cached one.
UNCACHED_HEADERS = frozenset({"x-request-id", "content-length", "vary"})


@dataclass(slots=True)
class CachedResponse:
    """A cached response. `expires_at` is when its key expires (seconds since 1970; infinite for most)."""

    headers: list[tuple[str, str]]
    # The headers of a 304.
    not_modified_headers: list[tuple[str, str]]
    body: bytes
    tag: str
    quoted: str
    project: int
    # The key and the versions in the response, which are counted.
    fetch: tuple[int, tuple[int, ...]]
    cached_at: float
    expires_at: float
    # Something has changed since then (or may have): it is given only where no newer response can be had.
    valid_until: float = FOREVER
    # What an experiment serves at this address.
    split: Split | None = None
    # Approximate memory in bytes.
    size: int = 0


class ResponseCache:
    """Responses by key; the least recently used are dropped where they would exceed `max_bytes`. `generation` changes
    with each invalidation: a response that was asked for before it is not cached after it."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._rows: OrderedDict[Key, CachedResponse] = OrderedDict()
        self.bytes = 0
        self.generation = 0
        # The generation of the last invalidation, by project and for all projects.
        self._invalidated: dict[int, int] = {}
        self._all_invalidated = 0

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, key: Key) -> CachedResponse | None:
        return self._rows.get(key)

    def put(self, key: Key, entry: CachedResponse, generation: int) -> None:
        """Cache a response that was asked for in this generation, unless it was invalidated since."""
        entry.size = len(entry.body) + OVERHEAD + VERSION_OVERHEAD * len(entry.fetch[1]) + sum(map(len, key))
        with self._lock:
            invalidated = max(self._invalidated.get(entry.project, 0), self._all_invalidated)
            if generation < invalidated or entry.size > self._max_bytes:
                return
            self._drop(key)
            self._rows[key] = entry
            self.bytes += entry.size
            while self.bytes > self._max_bytes:
                self._drop(next(iter(self._rows)))

    def invalidate(self, project: int | None = None, *, drop: bool = False, valid_until: float | None = None) -> None:
        """Mark a project's responses, or all, as outdated since now or `valid_until`: they are given only where no
        newer ones can be had. `drop` removes them: a key may have been revoked, and nothing that it could read is
        kept."""
        until = time.monotonic() if valid_until is None else valid_until
        with self._lock:
            self.generation += 1
            if project is None:
                self._all_invalidated = self.generation
                self._invalidated.clear()
            else:
                self._invalidated[project] = self.generation
            outdated = [key for key, entry in self._rows.items() if project is None or entry.project == project]
            for key in outdated:
                if drop:
                    self._drop(key)
                else:
                    row = self._rows[key]
                    row.valid_until = min(row.valid_until, max(row.cached_at, until))

    def readers(self) -> list[int]:
        """Return the API keys that have cached responses."""
        with self._lock:
            return sorted({entry.fetch[0] for entry in self._rows.values()})

    def retain_readers(self, keys: set[int]) -> None:
        """Drop the responses of all other keys."""
        with self._lock:
            for key in [key for key, entry in self._rows.items() if entry.fetch[0] not in keys]:
                self._drop(key)

    def remove(self, key: Key) -> None:
        with self._lock:
            self._drop(key)

    def touch(self, key: Key) -> None:
        """Mark a response as recently used: others are dropped before it."""
        with self._lock:
            if key in self._rows:
                self._rows.move_to_end(key)

    def _drop(self, key: Key) -> None:
        dropped = self._rows.pop(key, None)
        if dropped is not None:
            self.bytes -= dropped.size


def make_cached_response(
    status: str, headers: list[tuple[str, str]], body: bytes, scope: request_scope.RequestScope, encoding: str
) -> CachedResponse | None:
    """Build the cached form of a response; None for users' requests, errors and responses that must not be cached."""
    by_name = {name.lower(): value for name, value in headers}
    if scope.key is None or not status.startswith("200") or "set-cookie" in by_name or "etag" not in by_name:
        return None
    cached_headers = [(name, value) for name, value in headers if name.lower() not in UNCACHED_HEADERS]
    if encoding and len(body) >= MIN_COMPRESSED_BYTES:
        body = brotli.compress(body, quality=5) if encoding == "br" else _gzip(body)
        cached_headers.append(("Content-Encoding", encoding))
    vary = ", ".join(filter(None, (by_name.get("vary"), "Accept-Encoding")))
    cached_headers += [("Vary", vary), ("Content-Length", str(len(body)))]
    expires = scope.key.expires_at
    return CachedResponse(
        headers=cached_headers,
        not_modified_headers=[header for header in cached_headers if header[0] not in BODY_HEADERS],
        body=body,
        tag=by_name["etag"].strip('"'),
        quoted=by_name["etag"],
        project=scope.key.project_id,
        cached_at=time.monotonic(),
        expires_at=expires.timestamp() if expires else FOREVER,
        fetch=(scope.key.pk, tuple(scope.versions)),
        split=scope.split,
    )


def _gzip(body: bytes) -> bytes:
    compressor = zlib.compressobj(6, zlib.DEFLATED, 31)
    return compressor.compress(body) + compressor.flush()


@lru_cache(maxsize=256)
def content_encoding(accept: str) -> str:
    """Choose the content encoding for an Accept-Encoding: br, gzip, or empty for none."""
    qualities = {}
    for part in accept.lower().split(","):
        name, _, parameters = part.strip().partition(";")
        quality = re.search(r"q=([0-9.]+)", parameters)
        qualities[name.strip()] = (
            float(quality[1]) if quality and quality[1].count(".") < 2 and quality[1] != "." else 1.0
        )
    return next((name for name in ("br", "gzip") if qualities.get(name, 0.0) > 0), "")
