"""Ready answers in front of Django, asked without a network, with a listener as a web process has one."""

from collections import deque
from typing import Any

from django.core.handlers.wsgi import WSGIHandler
from django.db import connection

from registry.delivery import invalidation, request_scope
from registry.delivery import wsgi as delivery_wsgi
from registry.delivery.fetch_recorder import Counting, Fetch
from registry.delivery.invalidation import Listener
from registry.delivery.response_cache import Table
from registry.delivery.wsgi import Delivery
from registry.models import APIKey
from tests.waiting import soon

FETCH = "/api/v1/prompts/support.triage/versions/production"


class Door:
    """A delivery with a listener, as a web process has one."""

    def __init__(self, inner: Any = None, most: int = 1_000_000) -> None:
        self.asked = 0
        self.fetched: deque[Fetch] = deque()
        self.table = Table(most)
        self.counting = Counting(self.fetched, invalidation.connect)
        self.listener = Listener(self.table, self.counting)
        self.told = True
        self._inner = inner or WSGIHandler()
        self.wsgi = Delivery(
            self._ask,
            self.table,
            told_at=lambda: delivery_wsgi.time.monotonic() if self.told else float("-inf"),
            fetched=self.fetched,
        )

    def _ask(self, environ: Any, start_response: Any) -> Any:
        self.asked += 1
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
        said: list[Any] = []
        body = b"".join(self.wsgi(environ, lambda status, found, _=None: said.extend((status, dict(found)))))
        return Answer(int(said[0][:3]), said[1], body)


class Answer:
    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def plain(self) -> dict[str, str]:
        """Headers that do not differ from request to request."""
        ours = {"X-Request-ID", "Vary", "Content-Length"}
        return {name: value for name, value in self.headers.items() if name not in ours}


class heard:  # noqa: N801 - reads as a word of the test
    """A listener that is connected, and whose thread ends with the test."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def __enter__(self) -> None:
        assert soon(self._door.listener.is_told)

    def __exit__(self, *_: object) -> None:
        self._door.listener.stop()


def broken(_: Any, start_response: Any) -> list[bytes]:
    start_response("500 Internal Server Error", [("Content-Type", "text/plain")])
    return [b"down"]


def answered(environ: Any, start_response: Any) -> list[bytes]:
    """As a view would: the body says whose it is."""
    token = environ["HTTP_AUTHORIZATION"]
    request_scope.by(APIKey(pk=1, project_id=len(token), key_id="x"))
    start_response("200 OK", [("ETag", '"t"'), ("Content-Type", "application/json")])
    return [f"{token} {environ['PATH_INFO']} {environ['QUERY_STRING']}".encode()]


def parameters() -> dict[str, Any]:
    described = connection.settings_dict
    names = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    return {name: described[key] for name, key in names.items() if described[key]}
