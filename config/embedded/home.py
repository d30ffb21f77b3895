"""The directory of one embedded instance, with its data, sockets, logs and secrets.

<home>/instance.json   while it is up: process id, address, database and broker addresses
<home>/secrets.json    created once: the keys that sign sessions and encrypt provider keys
<home>/demo.json       the demo users, their passwords and the demo API key
<home>/postgres, broker, run, log
"""

import base64
import fcntl
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from infra.private_files import read_json, write_private_json


class HomeInUseError(Exception):
    """Another supervisor holds this home."""


@dataclass(frozen=True)
class Instance:
    """The process id and addresses of a running instance, so that commands can connect to it."""

    pid: int
    address: str
    database_url: str
    broker_url: str
    sandbox_url: str = ""
    gateway_url: str = ""
    local_url: str = ""


@dataclass(frozen=True)
class Secrets:
    secret_key: str
    encryption_key: str


class Home:
    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.log = self.root / "log"
        self.run = self.root / "run"
        self.instance_file = self.root / "instance.json"
        self.demo_file = self.root / "demo.json"
        self._secrets_file = self.root / "secrets.json"

    def prepare(self) -> None:
        """Create the directories; the mode of existing ones is not changed."""
        self.root.mkdir(parents=True, exist_ok=True)
        # Logs have names and prompts' errors; sockets have modes of their own.
        self.log.mkdir(mode=0o700, exist_ok=True)
        self.run.mkdir(exist_ok=True)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold this home for one supervisor; the kernel lets go when the process dies, however it dies."""
        with (self.root / "lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise HomeInUseError(self.root) from None
            yield

    def secrets(self) -> Secrets | None:
        """Return the instance's keys, or None before its first start."""
        stored = read_json(self._secrets_file)
        return Secrets(**stored) if stored else None

    def ensure_secrets(self) -> Secrets:
        """Return the instance's keys; they are created at the first start."""
        existing = self.secrets()
        if existing:
            return existing
        created = Secrets(
            secret_key=secrets.token_urlsafe(48),
            encryption_key=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        )
        write_private_json(self._secrets_file, asdict(created))
        return created

    def instance(self) -> Instance | None:
        """Return the running instance, or None while none is up."""
        stored = read_json(self.instance_file)
        return Instance(**stored) if stored else None

    def announce(self, instance: Instance) -> None:
        write_private_json(self.instance_file, asdict(instance))

    def withdraw(self) -> None:
        self.instance_file.unlink(missing_ok=True)
