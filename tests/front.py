"""A web process for tests, in this one: ready answers in front of Django, over HTTP, with a listener."""

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

from registry.delivery import Delivery, Table
from registry.listening import Listener


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
def front() -> Iterator[Front]:
    counts: deque[tuple[int, ...]] = deque()
    table = Table(10_000_000)
    listener = Listener(table.forget, counts)
    django = WSGIHandler()

    def alone(environ: Any, start_response: Any) -> Iterable[bytes]:
        """Django in a thread that ends with its request, and takes its connection along."""
        try:
            return list(django(environ, start_response))
        finally:
            connections.close_all()

    delivery = Delivery(alone, table, is_told=listener.is_told, is_down=listener.is_down, counts=counts)
    server = make_server("127.0.0.1", 0, delivery, Threads, Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield Front(f"http://127.0.0.1:{server.server_port}", delivery)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        listener.stop()
