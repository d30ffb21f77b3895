"""The bulkhead in front of Django: slots are freed, however a response ends."""

import gc
import json
from collections.abc import Iterator
from typing import Any

import pytest

from registry.delivery.bulkhead import Bulkhead


class Server:
    """Calls as a WSGI server does, and keeps the status and headers."""

    def __init__(self, inner: Any, slots: int = 1, waiting: int = 1) -> None:
        self.bulkhead = Bulkhead(inner, slots=slots, waiting=waiting, seconds=0.01)
        self.status = ""
        self.headers: dict[str, str] = {}

    def ask(self, path: str = "/api/v1/prompts", method: str = "GET") -> Any:
        def start(status: str, headers: list[tuple[str, str]], _: Any = None) -> None:
            self.status, self.headers = status, dict(headers)

        return self.bulkhead({"PATH_INFO": path, "REQUEST_METHOD": method}, start)

    def is_free(self) -> bool:
        answer = self.ask()
        answer.close() if hasattr(answer, "close") else None
        return self.status.startswith("200")


class Streaming:
    closed = False

    def __iter__(self) -> Iterator[bytes]:
        yield b"part"

    def close(self) -> None:
        self.closed = True


def well(_: Any, start_response: Any) -> Streaming:
    start_response("200 OK", [])
    return Streaming()


def test_a_slot_is_taken_until_the_response_is_closed_once():
    server = Server(well)
    answer = server.ask()
    assert b"".join(answer) == b"part"
    assert not server.is_free(), "it may still be sending"

    answer.close()
    answer.close()

    assert answer._response.closed
    assert server.is_free()
    assert server.is_free(), "a slot is not freed twice, or there would be too many"


def test_a_dropped_response_frees_its_slot():
    server = Server(well)
    answer = server.ask()
    assert not server.is_free()
    del answer
    gc.collect()
    assert server.is_free()


def test_a_failed_request_frees_its_slot():
    def broken(environ: Any, start_response: Any) -> Any:
        if environ["REQUEST_METHOD"] == "POST":
            raise ValueError("mine")
        return well(environ, start_response)

    server = Server(broken)
    with pytest.raises(ValueError, match="mine"):
        server.ask(method="POST")
    assert server.is_free()


def test_a_refusal_has_the_form_of_its_address():
    server = Server(well)
    open_response = server.ask()
    problem = json.loads(b"".join(server.ask()))
    assert (server.status, problem["code"], problem["status"]) == ("503 Service Unavailable", "server.busy", 503)
    assert (server.headers["Content-Type"], server.headers["Retry-After"]) == ("application/problem+json", "2")
    assert b"".join(server.ask("/p/demo/")).decode().startswith("Cuebook has more to do")
    assert server.headers["Content-Type"].startswith("text/plain")
    assert server.ask(method="HEAD") == []
    server.ask("/metrics")
    assert server.status == "503 Service Unavailable"
    server.ask("/healthz")
    assert server.status == "200 OK"
    open_response.close()
