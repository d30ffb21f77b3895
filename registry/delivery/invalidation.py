"""A web process's ear at the database: what has changed, over a connection of its own."""

import logging
import os
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
from django.conf import settings
from psycopg import sql

from registry.delivery.fetch_recorder import Counting
from registry.delivery.response_cache import Table
from registry.delivery.wsgi import TRUSTED_SECONDS
from registry.models.notify_triggers import CHANNEL, KEYS

logger = logging.getLogger(__name__)

# How often it says something to itself: who hears that has heard all that was said before.
BEAT_SECONDS = 2.0
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
# A process's first request waits so long at most for the ear to be open: what was asked for before is not kept.
OPENING_SECONDS = 1.0
# Before what a listener says to itself.
SELF = "~"
USABLE = """
SELECT id FROM registry_apikey
WHERE id = ANY(%s) AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
"""


class DeafError(Exception):
    """The connection stands, and what is said does not arrive."""


class Listener:
    """A thread that hears of changes and tells the table. It begins with the first request of a process, after servers
    have forked, and so does the counting."""

    def __init__(self, table: Table, counting: Counting) -> None:
        self._table = table
        self._counting = counting
        # Called every few seconds while the thread lives, heard or deaf.
        self.on_beat: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._process = 0
        self._told_at = float("-inf")
        self._is_open = threading.Event()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._name = SELF + secrets.token_hex(8)

    def told_at(self) -> float:
        """Until when all changes are known to have been heard (`time.monotonic()`). Begins to listen where nobody does
        yet."""
        if self._process != os.getpid():
            self._begin()
        return self._told_at

    def is_told(self) -> bool:
        """Whether changes are heard of now."""
        return time.monotonic() - self.told_at() < TRUSTED_SECONDS

    def stop(self) -> None:
        """Listen and count no more; returns when nobody does."""
        self._ended.set()
        self._counting.stop()
        if self._thread is not None and self._process == os.getpid():
            self._thread.join(2 * BEAT_SECONDS)

    def _begin(self) -> None:
        with self._lock:
            if self._process == os.getpid():
                return
            # What was there came from another process's life.
            self._told_at = float("-inf")
            self._is_open.clear()
            self._table.forget(right_until=self._told_at)
            self._process = os.getpid()
            self._thread = threading.Thread(target=self._listen, name="delivery-listener", daemon=True)
            self._thread.start()
            self._counting.begin()
        self._is_open.wait(OPENING_SECONDS)

    def _listen(self) -> None:
        pause = FIRST_PAUSE
        while not self._ended.is_set():
            try:
                with connect() as connection:
                    self._hear(connection)
            except Exception as error:
                # Whatever it is, a thread that ends here would leave the process deaf for good.
                if self.is_told():
                    pause = FIRST_PAUSE
                    logger.warning("delivery.deaf %s", (str(error) or type(error).__name__).splitlines()[0])
            self.on_beat()
            self._ended.wait(pause)
            pause = min(LONGEST_PAUSE, pause * 2)

    def _hear(self, connection: "psycopg.Connection[Any]") -> None:
        connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
        # What was told while nobody listened is lost: everything is asked for anew, and nothing that a key could read
        # which was revoked meanwhile is given at all.
        self._table.forget(right_until=self._told_at)
        usable = connection.execute(USABLE, [self._table.readers()]).fetchall()
        self._table.keep_readers({key for (key,) in usable})
        said_at = self._say(connection)
        while not self._ended.is_set():
            if time.monotonic() - max(said_at, self._told_at) > TRUSTED_SECONDS:
                raise DeafError("What is said to the database does not come back.")
            for told in connection.notifies(timeout=BEAT_SECONDS, stop_after=1):
                if told.payload == self._name:
                    self._told_at = said_at
                    self._is_open.set()
                    self.on_beat()
                elif not told.payload.startswith(SELF):
                    self._pass_on(told.payload)
            if time.monotonic() - said_at >= BEAT_SECONDS and self._told_at >= said_at:
                said_at = self._say(connection)

    def _pass_on(self, payload: str) -> None:
        is_about_keys, project = payload.startswith(KEYS), payload.removeprefix(KEYS)
        known = int(project) if project.isascii() and project.isdigit() else None
        self._table.forget(known, for_good=is_about_keys)

    def _say(self, connection: "psycopg.Connection[Any]") -> float:
        """Say one's own name; when that was."""
        now = time.monotonic()
        connection.execute("SELECT pg_notify(%s, %s)", [CHANNEL, self._name])
        return now


def connect() -> "psycopg.Connection[Any]":
    """A connection of its own, that notices soon when the other end is gone or does not move."""
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
    connection = psycopg.connect(**{**usual, **options, **given}, autocommit=True)
    connection.execute("SET statement_timeout = '4s'; SET lock_timeout = '2s'")
    return connection
