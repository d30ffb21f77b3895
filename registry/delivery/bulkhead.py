"""A wall between ready answers and what may be slow.

A web process has so many threads. Where the database stalls (a migration's lock, a disk), every request that needs it
keeps its thread, until none is left for reads that are answered from memory. So only so many may be in Django at once,
a few more wait, and others are told at once to come back; the threads beyond those are never taken.
"""

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from core.errors import Problem
from registry.delivery.wsgi import PATIENCE

Environ = dict[str, Any]
Application = Callable[[Environ, Any], Iterable[bytes]]

# What says that the process lives must not wait behind what is stuck.
FREE = frozenset({"/healthz", "/metrics"})
WAIT_SECONDS = 10.0
RETRY_AFTER = "2"


class Bulkhead:
    """A WSGI application that lets `places` requests into another at once and `waiting` more wait for one of them,
    WAIT_SECONDS at most. An answer that is still being sent has its place until it is closed."""

    def __init__(self, inner: Application, *, places: int, waiting: int, seconds: float = WAIT_SECONDS) -> None:
        self._inner = inner
        self._places = threading.BoundedSemaphore(places)
        self._waiting = threading.BoundedSemaphore(waiting)
        self._seconds = seconds

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] in FREE:
            return self._inner(environ, start_response)
        if not self._enter(environ.get(PATIENCE, self._seconds)):
            return _refused(environ, start_response)
        try:
            answer = self._inner(environ, start_response)
        except BaseException:
            self._places.release()
            raise
        return _Leaving(answer, self._places.release)

    def _enter(self, seconds: float) -> bool:
        if self._places.acquire(blocking=False):
            return True
        if not self._waiting.acquire(blocking=False):
            return False
        try:
            return self._places.acquire(timeout=seconds)
        finally:
            self._waiting.release()


class _Leaving:
    """An answer that leaves its place when it is closed, or when the server drops it unclosed."""

    def __init__(self, answer: Iterable[bytes], leave: Callable[[], None]) -> None:
        self._answer = answer
        self._leave: Callable[[], None] | None = leave

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._answer)

    def close(self) -> None:
        leave, self._leave = self._leave, None
        if leave is None:
            return
        try:
            if close := getattr(self._answer, "close", None):
                close()
        finally:
            leave()

    __del__ = close


def _refused(environ: Environ, start_response: Any) -> list[bytes]:
    problem = Problem("server.busy", "Cuebook has more to do than it can; try again in a moment.")
    is_for_programs = environ["PATH_INFO"].startswith("/api/")
    kind = "application/problem+json" if is_for_programs else "text/plain; charset=utf-8"
    body = (json.dumps(problem.as_document()) if is_for_programs else f"{problem.detail}\n").encode()
    headers = [("Content-Type", kind), ("Content-Length", str(len(body))), ("Retry-After", RETRY_AFTER)]
    start_response("503 Service Unavailable", [*headers, ("Cache-Control", "no-store")])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
