"""The hot path: answers that are ready, in front of Django.

A service must get its prompt whatever else is on fire. The fetch, the fetch by hash, the snapshot and Langfuse's read
are kept as bytes and headers, by who asks (the key's digest) and what; filled on a miss by the ordinary view, and old
when PostgreSQL tells that something of the project has changed (registry.models.telling, registry.listening). A warm
answer touches no database and no Django.

How old an answer may be: a release is seen when its transaction's notification arrives. Where nobody listens, after
five seconds. Where the database is gone, answers that are there go on being given, and say how old they are.
"""

import os
import re
import threading
import time
import zlib
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import count
from typing import Any

import brotli

from registry import served
from registry.api.conditional import TAG
from registry.middleware import ACCEPTABLE_ID

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]
Key = tuple[bytes, str, str, str, str]

FOR_EVER = float("inf")
# What is kept ready: reads that services make on their own hot path.
READY = re.compile(
    r"/api/v1/prompts/[^/]+/versions/[^/]+|/api/v1/versions/[^/]+|/api/v1/environments/[^/]+/snapshot"
    r"|/api/public/v2/prompts/[^/]+"
)
# Without a listener nothing tells that an answer is old.
UNTOLD_SECONDS = 5.0
# So long after a listener was last known to hear everything it is believed to; a good answer of Django's is believed to
# say as long that the database is there.
TRUSTED_SECONDS = 5.0
# How often one request finds out whether a database that seems to be away is back.
PROBE_SECONDS = 2.0
# Not even a database that is gone makes last week's answer right.
STALE_SECONDS = 86_400.0
SMALLEST_PACKED = 512
# Others wait so long for who asks first; then they ask themselves. Who has an old answer gives that one, much sooner.
HERD_SECONDS = 5.0
PATIENCE_SECONDS = 0.5
# What the environment of such a request says to who makes it wait (config.bulkhead).
PATIENCE = "cuebook.patience"
# Of each answer beside its bytes: the row and headers, about; and of each version in it.
OVERHEAD, OF_A_VERSION = 1_500, 40
# What is longer is not kept: names have 200 characters, and nobody but us gains by long queries.
LONGEST_ADDRESS, LONGEST_HEADER = 600, 300
STALE_HEADER = "X-Cuebook-Stale"


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


class Delivery:
    """A WSGI application in front of another. `told_at` says until when all changes are known to have been heard
    (`time.monotonic()`). `fetched` takes the key and the versions of every answer, for who writes them down."""

    TOUCH_EVERY = 64

    def __init__(
        self,
        inner: Application,
        table: Table,
        *,
        told_at: Callable[[], float],
        fetched: "deque[tuple[int, tuple[int, ...]]]",
    ) -> None:
        self._inner = inner
        self._table = table
        self._told_at = told_at
        self._fetched = fetched
        # When Django last answered well, and when somebody last looked whether it does again.
        self._well_at = self._probed_at = -FOR_EVER
        self._asking: dict[Key, threading.Lock] = {}
        # For whoever watches (registry.delivery_metrics). Threads add to them without a lock: the interpreter does not
        # switch between threads within such a statement.
        self.ready = self.stale = self.asked = 0

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        key = key_of(environ)
        if key is None:
            return self._inner(environ, start_response)
        entry = self._table.get(key)
        if entry is not None and self._is_fresh(entry):
            self.ready += 1
            # Moving an entry takes a lock; every so often is enough to know what is in use.
            if not self.ready % self.TOUCH_EVERY:
                self._table.touch(key)
            return self._answer(entry, environ, start_response)
        return self._ask(key, entry, environ, start_response)

    def _is_fresh(self, entry: Entry) -> bool:
        if entry.right_until != FOR_EVER or (entry.ends_at != FOR_EVER and entry.ends_at <= time.time()):
            return False
        now = time.monotonic()
        return now - self._told_at() < TRUSTED_SECONDS or now - entry.kept_at < UNTOLD_SECONDS

    def _stale_seconds(self, entry: Entry) -> float:
        """How long it is since an entry was known to be right."""
        known = min(entry.right_until, max(entry.kept_at, self._told_at()))
        return max(0.0, time.monotonic() - known)

    def _may_be_stale(self, entry: Entry | None) -> bool:
        if entry is None or entry.ends_at <= time.time():
            return False
        return self._stale_seconds(entry) < STALE_SECONDS

    def _is_away(self) -> bool:
        """Whether the database seems to be away: nobody is told of changes, and Django has not answered well lately.
        Every now and then one request is let through, to find out."""
        now = time.monotonic()
        if now - max(self._told_at(), self._well_at) < TRUSTED_SECONDS:
            return False
        if now - self._probed_at >= PROBE_SECONDS:
            self._probed_at = now
            return False
        return True

    def _ask(self, key: Key, old: Entry | None, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """The ordinary view's answer, kept; one asks where many want the same at once."""
        if old is not None and self._may_be_stale(old) and self._is_away():
            return self._answer(old, environ, start_response, is_stale=True)
        lock = self._asking.setdefault(key, threading.Lock())
        if not lock.acquire(blocking=False):
            has_old = self._may_be_stale(old)
            if lock.acquire(timeout=PATIENCE_SECONDS if has_old else HERD_SECONDS):
                lock.release()
            entry = self._table.get(key)
            if entry is not None and self._is_fresh(entry):
                return self._answer(entry, environ, start_response)
            if has_old and old is not None:
                return self._answer(old, environ, start_response, is_stale=True)
            return self._asked(key, old, environ, start_response)
        try:
            return self._asked(key, old, environ, start_response)
        finally:
            self._asking.pop(key, None)
            lock.release()

    def _asked(self, key: Key, old: Entry | None, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        # A process begins to listen before it has anything that could become old.
        self._told_at()
        generation = self._table.generation
        self.asked += 1
        patience = PATIENCE_SECONDS if self._may_be_stale(old) else None
        status, headers, body, found = self._through(environ, patience)
        if not status.startswith("5"):
            self._well_at = time.monotonic()
        entry = entry_of(status, headers, body, found, key[-1])
        if entry is not None:
            self._table.keep(key, entry, generation)
            return self._answer(entry, environ, start_response)
        if old is not None and status.startswith("5") and self._may_be_stale(old):
            return self._answer(old, environ, start_response, is_stale=True)
        if old is not None and not status.startswith("5"):
            # It is not there any more, or not for this key.
            self._table.remove(key)
        start_response(status, headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _through(
        self, environ: Environ, patience: float | None
    ) -> tuple[str, list[tuple[str, str]], bytes, served.Served]:
        """The view's whole answer, whatever the caller has already; who has an old one waits less for a place."""
        asked = {name: value for name, value in environ.items() if name not in UNCONDITIONAL}
        asked["REQUEST_METHOD"] = "GET"
        if patience is not None:
            asked[PATIENCE] = patience
        said: list[Any] = []
        found = served.begin()
        try:
            result = self._inner(asked, lambda status, headers, exc_info=None: said.extend((status, list(headers))))
            try:
                body = b"".join(result)
            finally:
                if close := getattr(result, "close", None):
                    close()
        finally:
            served.end()
        return said[0], said[1], body, found

    def _answer(
        self, entry: Entry, environ: Environ, start_response: StartResponse, *, is_stale: bool = False
    ) -> Iterable[bytes]:
        headers = [*entry.headers, ("X-Request-ID", _name_of(environ))]
        if is_stale:
            self.stale += 1
            headers.append((STALE_HEADER, str(int(self._stale_seconds(entry)))))
        wanted = environ.get("HTTP_IF_NONE_MATCH")
        if wanted and (wanted == entry.quoted or wanted.strip() == "*" or entry.tag in TAG.findall(wanted)):
            start_response("304 Not Modified", [*entry.unchanged, *headers[len(entry.headers) :]])
            return []
        self._fetched.append(entry.fetch)
        start_response("200 OK", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [entry.body]


# The view is asked for all of it, by GET.
UNCONDITIONAL = frozenset({"HTTP_IF_NONE_MATCH", "HTTP_ACCEPT_ENCODING"})
OF_A_BODY = frozenset({"Content-Length", "Content-Type", "Content-Encoding"})
# Made anew for every answer, or of no use in one that is kept.
NOT_KEPT = frozenset({"x-request-id", "content-length", "vary"})


def key_of(environ: Environ) -> Key | None:
    """By what an answer is kept: whose, what, how it came here, and how it is packed. None where it is not kept."""
    credentials = environ.get("HTTP_AUTHORIZATION")
    if not credentials or environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        return None
    path, query = environ["PATH_INFO"], environ.get("QUERY_STRING", "")
    accept, packed = environ.get("HTTP_ACCEPT", "*/*"), environ.get("HTTP_ACCEPT_ENCODING", "")
    if len(path) + len(query) > LONGEST_ADDRESS or len(accept) > LONGEST_HEADER or len(packed) > LONGEST_HEADER:
        return None
    if not _is_ready(path) or not _takes_json(accept):
        return None
    digest = blake2b(credentials.encode("latin-1", "replace"), digest_size=16).digest()
    proto = environ.get("HTTP_X_FORWARDED_PROTO", "")
    scheme = environ["wsgi.url_scheme"]
    return digest, path, query, f"{scheme} {proto[:20]}" if proto else scheme, packing(packed) if packed else ""


@lru_cache(maxsize=4_096)
def _is_ready(path: str) -> bool:
    return READY.fullmatch(path) is not None


# A process's own beginning of the names of its answers, and where it is with them.
_names = (os.urandom(10).hex(), count())


def _name_of(environ: Environ) -> str:
    """The request's name: the caller's where it is a plain word, else one of our own."""
    given = environ.get("HTTP_X_REQUEST_ID")
    if given and ACCEPTABLE_ID.fullmatch(given):
        return str(given)
    return f"{_names[0]}{next(_names[1]):012x}"


@lru_cache(maxsize=256)
def _takes_json(accept: str) -> bool:
    return "*/*" in accept or "application/json" in accept or "application/*" in accept


@lru_cache(maxsize=256)
def packing(accept: str) -> str:
    """How an answer is packed for a caller that takes these encodings: br, gzip or not at all."""
    taken = {}
    for part in accept.lower().split(","):
        name, _, parameters = part.strip().partition(";")
        quality = re.search(r"q=([0-9.]+)", parameters)
        taken[name.strip()] = float(quality[1]) if quality and quality[1].count(".") < 2 and quality[1] != "." else 1.0
    return next((name for name in ("br", "gzip") if taken.get(name, 0.0) > 0), "")


def entry_of(
    status: str, headers: list[tuple[str, str]], body: bytes, found: served.Served, packed: str
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
