"""A limit on the requests that are in Django at once.

A web process has so many threads. Where the database stalls (a migration's lock, a disk), every request that needs it
keeps its thread, until none is left for reads that are answered from memory. So only a limited number may be in Django
at once, a few more wait, and others are refused at once; the threads beyond those are never taken.
"""

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from core.errors import Problem
from registry.delivery.wsgi import PATIENCE, Application, Environ

# Whether the process lives must not wait behind requests that are stuck.
UNLIMITED_PATHS = frozenset({"/healthz"})
WAIT_SECONDS = 10.0
RETRY_AFTER = "2"


class Bulkhead:
    """A WSGI application that lets `slots` requests into another at once and `waiting` more wait for a free slot,
    WAIT_SECONDS at most. A response that is still being sent keeps its slot until it is closed."""

    def __init__(self, inner: Application, *, slots: int, waiting: int, seconds: float = WAIT_SECONDS) -> None:
        self._inner = inner
        self._slots = threading.BoundedSemaphore(slots)
        self._waiting = threading.BoundedSemaphore(waiting)
        self._seconds = seconds

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] in UNLIMITED_PATHS:
            return self._inner(environ, start_response)
        if not self._enter(environ.get(PATIENCE, self._seconds)):
            return _busy_response(environ, start_response)
        try:
            response = self._inner(environ, start_response)
        except BaseException:
            self._slots.release()
            raise
        return _ResponseWithSlot(response, self._slots.release)

    def _enter(self, seconds: float) -> bool:
        if self._slots.acquire(blocking=False):
            return True
        if not self._waiting.acquire(blocking=False):
            return False
        try:
            return self._slots.acquire(timeout=seconds)
        finally:
            self._waiting.release()


class _ResponseWithSlot:
    """A response that frees its slot when it is closed, or when the server drops it unclosed."""

    def __init__(self, response: Iterable[bytes], free_slot: Callable[[], None]) -> None:
        self._response = response
        self._free_slot: Callable[[], None] | None = free_slot

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._response)

    def close(self) -> None:
        free_slot, self._free_slot = self._free_slot, None
        if free_slot is None:
            return
        try:
            if close := getattr(self._response, "close", None):
                close()
        finally:
            free_slot()

    __del__ = close


def _busy_response(environ: Environ, start_response: Any) -> list[bytes]:
    problem = Problem("server.busy", "Cuebook has more to do than it can; try again in a moment.")
    is_for_programs = environ["PATH_INFO"].startswith("/api/")
    kind = "application/problem+json" if is_for_programs else "text/plain; charset=utf-8"
    body = (json.dumps(problem.as_document()) if is_for_programs else f"{problem.detail}\n").encode()
    headers = [("Content-Type", kind), ("Content-Length", str(len(body))), ("Retry-After", RETRY_AFTER)]
    start_response("503 Service Unavailable", [*headers, ("Cache-Control", "no-store")])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
