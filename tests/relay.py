"""A relay between a process and a server: what goes through it can be cut off, as a network or a server can."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Relay:
    """Passes connections on to a Unix socket or an address, as long as it is open."""

    def __init__(self, target: str | tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._connections: set[socket.socket] = set()
        self._is_open = True
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End all connections, and refuse new ones."""
        self._is_open = False
        for connection in list(self._connections):
            _end(connection)

    def mend(self) -> None:
        self._is_open = True

    def close(self) -> None:
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self._is_open:
                _end(client)
                continue
            if isinstance(self._target, str):
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._target)
            else:
                server = socket.create_connection(self._target)
            self._connections |= {client, server}
            for source, other in ((client, server), (server, client)):
                threading.Thread(target=self._pass_on, args=(source, other), daemon=True).start()

    def _pass_on(self, source: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                other.sendall(data)
        for connection in (source, other):
            _end(connection)
            self._connections.discard(connection)


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


@contextmanager
def relay(target: str | tuple[str, int]) -> Iterator[Relay]:
    """Run a relay until the end of the test."""
    running = Relay(target)
    try:
        yield running
    finally:
        running.close()
