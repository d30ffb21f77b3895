"""Web processes for tests, in this one: Django over HTTP, alone or with ready answers and a listener in front of it."""

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

from registry.delivery.fetch_recorder import Counting, Fetch
from registry.delivery.invalidation import Listener, connect
from registry.delivery.response_cache import Table
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
    """The address of a server that answers from the database alone: what has changed is there with the next request."""
    with _serving(_alone(WSGIHandler())) as url:
        yield url


@contextmanager
def front() -> Iterator[Front]:
    """What a web process is, until the end of the test."""
    fetched: deque[Fetch] = deque()
    table = Table(10_000_000)
    listener = Listener(table, Counting(fetched, connect))
    delivery = Delivery(_alone(WSGIHandler()), table, told_at=listener.told_at, fetched=fetched)
    with _serving(delivery) as url:
        try:
            yield Front(url, delivery)
        finally:
            listener.stop()


def _alone(django: Any) -> Any:
    """Django in threads that end with their request, and take their connection along."""

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
