"""Web processes for tests, in this one: Django over HTTP, alone or behind a response cache with a listener."""

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from django.core.handlers.wsgi import WSGIHandler
from django.db import connections

from registry.delivery.fetch_recorder import Fetch, FetchRecorder
from registry.delivery.invalidation import Listener, connect
from registry.delivery.response_cache import ResponseCache
from registry.delivery.wsgi import Delivery


class Threads(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@dataclass(frozen=True)
class Front:
    url: str
    delivery: Delivery


@contextmanager
def django_alone() -> Iterator[str]:
    """Yield the address of a server without a cache: changes are visible with the next request."""
    with _serving(_alone(WSGIHandler())) as url:
        yield url


@contextmanager
def front() -> Iterator[Front]:
    """Run a web process until the end of the test."""
    fetched: deque[Fetch] = deque()
    cache = ResponseCache(10_000_000)
    listener = Listener(cache, FetchRecorder(fetched, connect))
    delivery = Delivery(_alone(WSGIHandler()), cache, current_until=listener.current_until, fetched=fetched)
    with _serving(delivery) as url:
        try:
            yield Front(url, delivery)
        finally:
            listener.stop()


def _alone(django: Any) -> Any:
    """Run Django in threads that end with their request, and close its connection."""

    def application(environ: Any, start_response: Any) -> Iterable[bytes]:
        try:
            return list(django(environ, start_response))
        finally:
            connections.close_all()

    return application


@contextmanager
def _serving(application: Any) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, application, Threads, Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
