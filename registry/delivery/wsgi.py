"""The hot path: answers that are ready, in front of Django.

A service must get its prompt whatever else is on fire. The fetch, the fetch by hash, the snapshot and Langfuse's read
are kept as bytes and headers, by who asks (the key's digest) and what; filled on a miss by the ordinary view, and old
when PostgreSQL tells that something of the project has changed (registry.models.notify_triggers, registry.delivery.invalidation). A warm
answer touches no database and no Django.

How old an answer may be: a release is seen when its transaction's notification arrives. Where nobody listens, after
five seconds. Where the database is gone, answers that are there go on being given, and say how old they are.
"""

import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import lru_cache
from hashlib import blake2b
from itertools import count
from typing import Any

from infra.middleware import ACCEPTABLE_ID
from registry.delivery import request_scope
from registry.delivery.caching import TAG
from registry.delivery.response_cache import FOR_EVER, Entry, Key, Table, entry_of, packing

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

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
# Others wait so long for who asks first; then they ask themselves. Who has an old answer gives that one, much sooner.
HERD_SECONDS = 5.0
PATIENCE_SECONDS = 0.5
# What the environment of such a request says to who makes it wait (registry.delivery.bulkhead).
PATIENCE = "cuebook.patience"
# What is longer is not kept: names have 200 characters, and nobody but us gains by long queries.
LONGEST_ADDRESS, LONGEST_HEADER = 600, 300
STALE_HEADER = "X-Cuebook-Stale"


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
        # For whoever watches (registry.delivery.metrics). Threads add to them without a lock: the interpreter does not
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
    ) -> tuple[str, list[tuple[str, str]], bytes, request_scope.Served]:
        """The view's whole answer, whatever the caller has already; who has an old one waits less for a place."""
        asked = {name: value for name, value in environ.items() if name not in UNCONDITIONAL}
        asked["REQUEST_METHOD"] = "GET"
        if patience is not None:
            asked[PATIENCE] = patience
        said: list[Any] = []
        found = request_scope.begin()
        try:
            result = self._inner(asked, lambda status, headers, exc_info=None: said.extend((status, list(headers))))
            try:
                body = b"".join(result)
            finally:
                if close := getattr(result, "close", None):
                    close()
        finally:
            request_scope.end()
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
