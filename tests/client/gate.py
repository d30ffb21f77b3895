"""A gate between client and registry: passes on what is asked, counts it, and fails as a test tells it."""

import http.client
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "date", "server", "host", "accept-encoding"}


class Gate:
    """`is_down`: connections are closed unanswered. `answer`: (status, headers, body) instead of the registry's.
    `change`: what a body is changed to. `drip_seconds`: between any two bytes, those of the
    headers too. `refuse`: addresses that have this get 504."""

    def __init__(self, target: str) -> None:
        self.target = urlsplit(target).netloc
        self.requests: list[str] = []
        self.is_down = False
        self.answer: tuple[int, Mapping[str, str], bytes] | None = None
        self.change: Callable[[bytes], bytes] = lambda body: body
        self.drip_seconds = 0.0
        self.refuse = ""
        gate = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                gate.pass_on(self)

            do_POST = do_GET  # noqa: N815 - http.server's name

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def pass_on(self, request: BaseHTTPRequestHandler) -> None:
        self.requests.append(f"{request.command} {request.path}")
        if self.is_down:
            request.close_connection = True
            return
        if self.refuse and self.refuse in request.path:
            status, headers, body = 504, {}, b""
        else:
            status, headers, body = self.answer or self._forward(request)
        body = self.change(body)
        if self.drip_seconds:
            head = b"HTTP/1.1 200 OK\r\n" + b"X-Slow: 1\r\n" * 1_000
            self._drip(request, head)
            return
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def _drip(self, request: BaseHTTPRequestHandler, data: bytes) -> None:
        request.close_connection = True
        for byte in data:
            try:
                request.wfile.write(bytes([byte]))
            except OSError:
                return
            time.sleep(self.drip_seconds)

    def _forward(self, request: BaseHTTPRequestHandler) -> tuple[int, Mapping[str, str], bytes]:
        connection = http.client.HTTPConnection(self.target, timeout=20)
        sent = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        forwarded = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        connection.request(request.command, request.path, body=sent or None, headers=forwarded)
        answer = connection.getresponse()
        body = answer.read()
        headers = {name: value for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP}
        connection.close()
        return answer.status, headers, body
