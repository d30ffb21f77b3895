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

from registry.counting import Counting, Fetch
from registry.delivery import Delivery, Table
from registry.listening import Listener, connect


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
    fetched: deque[Fetch] = deque()
    table = Table(10_000_000)
    listener = Listener(table, Counting(fetched, connect))
    django = WSGIHandler()

    def alone(environ: Any, start_response: Any) -> Iterable[bytes]:
        """Django in a thread that ends with its request, and takes its connection along."""
        try:
            return list(django(environ, start_response))
        finally:
            connections.close_all()

    delivery = Delivery(alone, table, told_at=listener.told_at, fetched=fetched)
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
