"""A web process's ear at the database: what has changed, and what was fetched, over one connection of its own."""

import atexit
import logging
import os
import threading
import time
from collections import Counter, deque
from multiprocessing.util import Finalize
from typing import Any, Protocol

import psycopg
from django.conf import settings
from psycopg import sql

from registry.models.telling import CHANNEL, KEYS

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 5.0
# How often it looks whether the connection still answers, where nothing is told.
BEAT_SECONDS = 2.0
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
COUNT = """
INSERT INTO registry_fetchcount (version_id, hour, count, last_at)
SELECT found.version, date_trunc('hour', now()), found.count, now()
FROM unnest(%s::bigint[], %s::bigint[]) AS found(version, count)
JOIN registry_promptversion ON registry_promptversion.id = found.version
ON CONFLICT (version_id, hour) DO UPDATE
SET count = registry_fetchcount.count + excluded.count, last_at = excluded.last_at
"""


class Forget(Protocol):
    """What is done about a change: of a project or, None, of anything; for good where it is about its keys."""

    def __call__(self, project: int | None, *, for_good: bool = False) -> None: ...


class Listener:
    """A thread that hears of changes and writes down what was fetched. It begins with the first request of a process,
    after servers have forked; `forget` is called with a project's key, or None for everything."""

    def __init__(self, forget: "Forget", counts: "deque[tuple[int, ...]]") -> None:
        self._forget = forget
        self._counts = counts
        self._lock = threading.Lock()
        self._process = 0
        self._unwritten: Counter[int] = Counter()
        self._connected = False
        self._failed = False
        self._ended = threading.Event()
        self._at_exit: Finalize | None = None

    def is_told(self) -> bool:
        """Whether changes are heard of now. Begins to listen where nobody does yet."""
        if self._process != os.getpid():
            self._begin()
        return self._connected

    def is_down(self) -> bool:
        """Whether the last try to reach the database has failed."""
        return self._failed and not self._connected

    def _begin(self) -> None:
        with self._lock:
            if self._process == os.getpid():
                return
            self._connected = self._failed = False
            self._process = os.getpid()
            # What was there came from another process's life.
            self._forget(None)
            threading.Thread(target=self._listen, name="delivery-listener", daemon=True).start()
            atexit.register(self.close)
            # A server's worker is a child of multiprocessing, which ends without what atexit has.
            self._at_exit = Finalize(None, self.close, exitpriority=10)

    def _listen(self) -> None:
        pause = FIRST_PAUSE
        while not self._ended.is_set():
            try:
                with connect() as connection:
                    self._hear(connection)
            except psycopg.Error as error:
                if self._connected:
                    logger.warning("delivery.deaf %s", (str(error) or type(error).__name__).splitlines()[0])
                    pause = FIRST_PAUSE
                else:
                    self._failed = True
                self._connected = False
            self._ended.wait(pause)
            pause = min(LONGEST_PAUSE, pause * 2)

    def _hear(self, connection: "psycopg.Connection[Any]") -> None:
        connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
        # What was told while nobody listened is lost: everything is asked for anew.
        self._forget(None)
        self._connected, self._failed = True, False
        flushed = time.monotonic()
        while not self._ended.is_set():
            for told in connection.notifies(timeout=BEAT_SECONDS, stop_after=1):
                is_about_keys, project = told.payload.startswith(KEYS), told.payload.removeprefix(KEYS)
                self._forget(int(project) if project.isdigit() else None, for_good=is_about_keys)
            if time.monotonic() - flushed >= FLUSH_SECONDS or len(self._counts) > 100_000:
                self._flush(connection)
                flushed = time.monotonic()
            elif not self._counts:
                connection.execute("SELECT 1")

    def _flush(self, connection: "psycopg.Connection[Any]") -> None:
        """Write down what was fetched since the last time; what cannot be written is kept for the next."""
        while True:
            try:
                for version in self._counts.popleft():
                    self._unwritten[version] += 1
            except IndexError:
                break
        if not self._unwritten:
            connection.execute("SELECT 1")
            return
        ordered = sorted(self._unwritten.items())
        connection.execute(COUNT, [[version for version, _ in ordered], [count for _, count in ordered]])
        self._unwritten.clear()

    def stop(self) -> None:
        """Listen no more, and write nothing down."""
        self._ended.set()
        atexit.unregister(self.close)
        if self._at_exit is not None:
            self._at_exit.cancel()

    def close(self) -> None:
        """Write down what is left; a server that stops cleanly loses nothing."""
        if self._process != os.getpid() or not (self._counts or self._unwritten):
            return
        try:
            with connect() as connection:
                self._flush(connection)
        except psycopg.Error as error:
            logger.warning("delivery.uncounted %s", error)


def connect() -> "psycopg.Connection[Any]":
    """A connection of its own, that notices soon when the other end is gone."""
    described = settings.DATABASES["default"]
    ours = {"pool", "isolation_level", "server_side_binding", "assume_role"}
    options = {name: value for name, value in described.get("OPTIONS", {}).items() if name not in ours}
    parts = {
        "dbname": described["NAME"],
        "user": described["USER"],
        "password": described["PASSWORD"],
        "host": described["HOST"],
        "port": described["PORT"],
    }
    usual = {"connect_timeout": 3, "tcp_user_timeout": 4_000, "keepalives_idle": 5, "application_name": "delivery"}
    given = {name: value for name, value in parts.items() if value}
    return psycopg.connect(**{**usual, **options, **given}, autocommit=True)
