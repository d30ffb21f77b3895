"""The response cache in front of Django, called without a network, with a listener as in a web process."""

from collections import deque
from typing import Any

from django.core.handlers.wsgi import WSGIHandler
from django.db import connection

from registry.delivery import invalidation, request_scope
from registry.delivery import wsgi as delivery_wsgi
from registry.delivery.fetch_recorder import Fetch, FetchRecorder
from registry.delivery.invalidation import Listener
from registry.delivery.response_cache import ResponseCache
from registry.delivery.wsgi import Delivery
from registry.models import APIKey
from tests.waiting import soon

FETCH = "/api/v1/prompts/support.triage/versions/production"


class Door:
    """A delivery with a listener, as in a web process."""

    def __init__(self, inner: Any = None, max_bytes: int = 1_000_000) -> None:
        self.django_calls = 0
        self.fetched: deque[Fetch] = deque()
        self.cache = ResponseCache(max_bytes)
        self.recorder = FetchRecorder(self.fetched, invalidation.connect)
        self.listener = Listener(self.cache, self.recorder)
        self.is_listening = True
        self._inner = inner or WSGIHandler()
        self.wsgi = Delivery(
            self._ask,
            self.cache,
            current_until=lambda: delivery_wsgi.time.monotonic() if self.is_listening else float("-inf"),
            fetched=self.fetched,
        )

    def _ask(self, environ: Any, start_response: Any) -> Any:
        self.django_calls += 1
        return self._inner(environ, start_response)

    def get(self, path: str, token: str = "", method: str = "GET", **headers: str) -> "Answer":
        query = path.partition("?")[2]
        environ = {
            **{"REQUEST_METHOD": method, "PATH_INFO": path.partition("?")[0], "QUERY_STRING": query},
            **{"SERVER_NAME": "testserver", "SERVER_PORT": "80", "wsgi.url_scheme": "http", "SCRIPT_NAME": ""},
            **{"wsgi.input": __import__("io").BytesIO(), "SERVER_PROTOCOL": "HTTP/1.1"},
            **({"HTTP_AUTHORIZATION": f"Bearer {token}"} if token else {}),
            **{f"HTTP_{name.upper()}": value for name, value in headers.items()},
        }
        started: list[Any] = []
        body = b"".join(self.wsgi(environ, lambda status, headers, _=None: started.extend((status, dict(headers)))))
        return Answer(int(started[0][:3]), started[1], body)


class Answer:
    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def plain(self) -> dict[str, str]:
        """Return the headers that do not differ from request to request."""
        ours = {"X-Request-ID", "Vary", "Content-Length"}
        return {name: value for name, value in self.headers.items() if name not in ours}


class listening:  # noqa: N801 - a context manager, named like one
    """A listener that is connected, and whose thread ends with the test."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def __enter__(self) -> None:
        assert soon(self._door.listener.is_listening)

    def __exit__(self, *_: object) -> None:
        self._door.listener.stop()


def broken(_: Any, start_response: Any) -> list[bytes]:
    start_response("500 Internal Server Error", [("Content-Type", "text/plain")])
    return [b"down"]


def answered(environ: Any, start_response: Any) -> list[bytes]:
    """Answer as a view does; the body names the key."""
    token = environ["HTTP_AUTHORIZATION"]
    request_scope.set_key(APIKey(pk=1, project_id=len(token), key_id="x"))
    start_response("200 OK", [("ETag", '"t"'), ("Content-Type", "application/json")])
    return [f"{token} {environ['PATH_INFO']} {environ['QUERY_STRING']}".encode()]


def parameters() -> dict[str, Any]:
    database = connection.settings_dict
    names = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    return {name: database[key] for name, key in names.items() if database[key]}
