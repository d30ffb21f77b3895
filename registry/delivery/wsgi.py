"""The hot path: the response cache in front of Django.

A service must get its prompt whatever else is on fire. The fetch, the fetch by hash, the snapshot and Langfuse's read
are cached as bytes and headers, by the digest of the key and the address; filled on a miss by the ordinary view, and
invalidated when PostgreSQL notifies that something of the project has changed (registry.models.notify_triggers,
registry.delivery.invalidation). A cached response touches no database and no Django.

Age of a response: a release is seen when its transaction's notification arrives; without a listener, after five
seconds. Where the database is gone, cached responses are still given, and say how old they are.
"""

import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache
from hashlib import blake2b
from itertools import count
from typing import Any
from urllib.parse import unquote_plus

from infra.http.middleware import ACCEPTABLE_ID
from registry.delivery import request_scope
from registry.delivery.caching import TAG
from registry.delivery.response_cache import (
    FOREVER,
    CachedResponse,
    Key,
    ResponseCache,
    content_encoding,
    make_cached_response,
)

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

# The cached addresses: reads that services make on their own hot path.
CACHED_PATHS = re.compile(
    r"/api/v1/prompts/[^/]+/versions/[^/]+|/api/v1/versions/[^/]+|/api/v1/environments/[^/]+/snapshot"
    r"|/api/public/v2/prompts/[^/]+"
)
# Without a listener, a response is fresh for this long.
UNNOTIFIED_SECONDS = 5.0
# A listener counts as current for this long after it last proved it, and the database as available for this long after
# Django last answered well.
TRUSTED_SECONDS = 5.0
# How often one request probes whether a database that seems to be down is back.
PROBE_SECONDS = 2.0
# Older responses are not given even while the database is gone.
STALE_SECONDS = 86_400.0
# Concurrent requests wait this long for the first one, then ask Django themselves; with a stale response they give up
# much sooner and use it.
HERD_SECONDS = 5.0
PATIENCE_SECONDS = 0.5
# The WSGI key by which such a request tells the bulkhead how long it waits (registry.delivery.bulkhead).
PATIENCE = "cuebook.patience"
# Longer addresses and headers are not cached: names have at most 200 characters.
MAX_ADDRESS, MAX_HEADER = 600, 300
STALE_HEADER = "X-Cuebook-Stale"


class Delivery:
    """A WSGI application in front of another. `current_until` returns until when all changes are known to have been
    received (`time.monotonic()`). `fetched` collects the key and versions of every response for the recorder."""

    TOUCH_EVERY = 64

    def __init__(
        self,
        inner: Application,
        cache: ResponseCache,
        *,
        current_until: Callable[[], float],
        fetched: "deque[tuple[int, tuple[int, ...]]]",
    ) -> None:
        self._inner = inner
        self._cache = cache
        self._current_until = current_until
        self._fetched = fetched
        # When Django last answered well, and when a request last probed it.
        self._healthy_at = self._probed_at = -FOREVER
        self._in_flight: dict[Key, threading.Lock] = {}
        # Read by registry.delivery.metrics. Threads add to them without a lock: the interpreter does not switch between
        # threads within such a statement.
        self.hits = self.misses = self.stale = 0

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        key = cache_key(environ)
        if key is None:
            return self._inner(environ, start_response)
        place = self._place(key)
        entry = self._cache.get(place)
        if entry is not None and entry.headers and self._is_fresh(entry):
            self.hits += 1
            # Marking an entry as used takes a lock; every TOUCH_EVERY hits is enough.
            if not self.hits % self.TOUCH_EVERY:
                self._touch(key, place)
            return self._respond(entry, environ, start_response)
        return self._refresh(key, place, environ, start_response)

    def _place(self, key: Key) -> Key:
        """Return the key by which the response to a request is cached. Subjects of one arm share one, and what they are
        assigned by is cached beside it: so they cost an entry an arm, however many they are."""
        subject = _subject_of(key[2])
        if subject is None:
            return key
        entry = self._cache.get(_with_query(key, SPLIT))
        if entry is None:
            return _with_query(key, SPLIT)
        arm = entry.split.arm_of(subject) if entry.split is not None and subject else None
        return _with_query(key, ARM + (arm or ""))

    def _touch(self, key: Key, place: Key) -> None:
        self._cache.touch(place)
        if place is not key:
            self._cache.touch(_with_query(key, SPLIT))

    def _put(self, key: Key, entry: CachedResponse, arm: str, generation: int) -> None:
        """Cache a response: to a subject's request by the arm that the view has answered with."""
        if _subject_of(key[2]) is None:
            self._cache.put(key, entry, generation)
            return
        self._cache.put(_with_query(key, ARM + arm), entry, generation)
        split = replace(entry, headers=[], not_modified_headers=[], body=b"")
        self._cache.put(_with_query(key, SPLIT), split, generation)

    def _is_fresh(self, entry: CachedResponse) -> bool:
        if entry.valid_until != FOREVER or (entry.expires_at != FOREVER and entry.expires_at <= time.time()):
            return False
        now = time.monotonic()
        return now - self._current_until() < TRUSTED_SECONDS or now - entry.cached_at < UNNOTIFIED_SECONDS

    def _stale_seconds(self, entry: CachedResponse) -> float:
        """Return the seconds since a response was known to be current."""
        current = min(entry.valid_until, max(entry.cached_at, self._current_until()))
        return max(0.0, time.monotonic() - current)

    def _may_be_stale(self, entry: CachedResponse | None) -> bool:
        if entry is None or entry.expires_at <= time.time():
            return False
        return self._stale_seconds(entry) < STALE_SECONDS

    def _seems_down(self) -> bool:
        """Return whether the database seems to be down: no notifications arrive, and Django has not answered well
        lately. Every PROBE_SECONDS one request is let through, to find out."""
        now = time.monotonic()
        if now - max(self._current_until(), self._healthy_at) < TRUSTED_SECONDS:
            return False
        if now - self._probed_at >= PROBE_SECONDS:
            self._probed_at = now
            return False
        return True

    def _refresh(self, key: Key, place: Key, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Return the view's response and cache it; of many requests for the same address, one asks Django."""
        old = self._cached(place)
        if old is not None and self._may_be_stale(old) and self._seems_down():
            return self._respond(old, environ, start_response, is_stale=True)
        lock = self._in_flight.setdefault(place, threading.Lock())
        if not lock.acquire(blocking=False):
            has_old = self._may_be_stale(old)
            if lock.acquire(timeout=PATIENCE_SECONDS if has_old else HERD_SECONDS):
                lock.release()
            now = self._place(key)
            entry = self._cached(now)
            if entry is not None and self._is_fresh(entry):
                return self._respond(entry, environ, start_response)
            if now != place:
                # What assigns is known by now: of the subjects of one arm, again one asks.
                return self._refresh(key, now, environ, start_response)
            if has_old and old is not None:
                return self._respond(old, environ, start_response, is_stale=True)
            return self._fetch(key, old, environ, start_response)
        try:
            return self._fetch(key, old, environ, start_response)
        finally:
            self._in_flight.pop(place, None)
            lock.release()

    def _cached(self, place: Key) -> CachedResponse | None:
        """Return a cached response; what subjects are assigned by is none."""
        entry = self._cache.get(place)
        return entry if entry is not None and entry.headers else None

    def _fetch(
        self, key: Key, old: CachedResponse | None, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        # A process starts to listen before it caches anything.
        self._current_until()
        generation = self._cache.generation
        self.misses += 1
        patience = PATIENCE_SECONDS if self._may_be_stale(old) else None
        status, headers, body, scope = self._call_django(environ, patience)
        if not status.startswith("5"):
            self._healthy_at = time.monotonic()
        entry = make_cached_response(status, headers, body, scope, key[-1])
        if entry is not None:
            self._put(key, entry, scope.arm, generation)
            return self._respond(entry, environ, start_response)
        if old is not None and status.startswith("5") and self._may_be_stale(old):
            return self._respond(old, environ, start_response, is_stale=True)
        if old is not None and not status.startswith("5"):
            # It no longer exists, or not for this key.
            self._cache.remove(self._place(key))
        start_response(status, headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _call_django(
        self, environ: Environ, patience: float | None
    ) -> tuple[str, list[tuple[str, str]], bytes, request_scope.RequestScope]:
        """Return the view's whole response, whatever the caller has; with a stale one, it waits less for a slot."""
        request = {name: value for name, value in environ.items() if name not in UNCONDITIONAL}
        request["REQUEST_METHOD"] = "GET"
        if patience is not None:
            request[PATIENCE] = patience
        started: list[Any] = []
        scope = request_scope.begin()
        try:
            result = self._inner(
                request, lambda status, headers, exc_info=None: started.extend((status, list(headers)))
            )
            try:
                body = b"".join(result)
            finally:
                if close := getattr(result, "close", None):
                    close()
        finally:
            request_scope.end()
        return started[0], started[1], body, scope

    def _respond(
        self, entry: CachedResponse, environ: Environ, start_response: StartResponse, *, is_stale: bool = False
    ) -> Iterable[bytes]:
        headers = [*entry.headers, ("X-Request-ID", _request_id(environ))]
        if is_stale:
            self.stale += 1
            headers.append((STALE_HEADER, str(int(self._stale_seconds(entry)))))
        tags = environ.get("HTTP_IF_NONE_MATCH")
        if tags and (tags == entry.quoted or tags.strip() == "*" or entry.tag in TAG.findall(tags)):
            start_response("304 Not Modified", [*entry.not_modified_headers, *headers[len(entry.headers) :]])
            return []
        self._fetched.append(entry.fetch)
        start_response("200 OK", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [entry.body]


# In place of the query of a request for a subject: what its prompt's subjects are assigned by, and the response of one
# arm, whose name follows. No query has a NUL.
SPLIT, ARM = "\0split", "\0arm:"
SUBJECT, MAX_SUBJECT = "subject=", 200


def _subject_of(query: str) -> str | None:
    """Return the subject that a query asks for; None where it does not, or asks for something else beside it."""
    if not query.startswith(SUBJECT) or "&" in query or not query.isascii():
        return None
    subject = unquote_plus(query.removeprefix(SUBJECT), errors="replace")
    # Django refuses longer ones.
    return subject if len(subject) <= MAX_SUBJECT else None


def _with_query(key: Key, query: str) -> Key:
    return (*key[:2], query, *key[3:])


# The view is asked for the whole response, by GET.
UNCONDITIONAL = frozenset({"HTTP_IF_NONE_MATCH", "HTTP_ACCEPT_ENCODING"})


def cache_key(environ: Environ) -> Key | None:
    """Return the key that a response is cached by: credentials, address, host, scheme and encoding; None where it is
    not cached."""
    credentials = environ.get("HTTP_AUTHORIZATION")
    if not credentials or environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        return None
    if "HTTP_X_CUEBOOK_PROJECT" in environ:
        # Whether the key is of that project is Django's to say.
        return None
    path, query = environ["PATH_INFO"], environ.get("QUERY_STRING", "")
    accept, encodings = environ.get("HTTP_ACCEPT", "*/*"), environ.get("HTTP_ACCEPT_ENCODING", "")
    host = environ.get("HTTP_HOST", "")
    if len(path) + len(query) > MAX_ADDRESS or max(len(accept), len(encodings), len(host)) > MAX_HEADER:
        return None
    if not _is_cached_path(path) or not _accepts_json(accept):
        return None
    digest = blake2b(credentials.encode("latin-1", "replace"), digest_size=16).digest()
    proto = environ.get("HTTP_X_FORWARDED_PROTO", "")
    scheme = environ["wsgi.url_scheme"]
    return (
        digest,
        path,
        query,
        # Django refuses hosts that are not ours; what was cached under one is no answer for another.
        host,
        f"{scheme} {proto[:20]}" if proto else scheme,
        content_encoding(encodings) if encodings else "",
    )


@lru_cache(maxsize=4_096)
def _is_cached_path(path: str) -> bool:
    return CACHED_PATHS.fullmatch(path) is not None


# The process's prefix of request ids, and its counter.
_request_ids = (os.urandom(10).hex(), count())


def _request_id(environ: Environ) -> str:
    """Return the request's id: the caller's where it is a plain word, else a new one."""
    request_id = environ.get("HTTP_X_REQUEST_ID")
    if request_id and ACCEPTABLE_ID.fullmatch(request_id):
        return str(request_id)
    return f"{_request_ids[0]}{next(_request_ids[1]):012x}"


@lru_cache(maxsize=256)
def _accepts_json(accept: str) -> bool:
    return "*/*" in accept or "application/json" in accept or "application/*" in accept
