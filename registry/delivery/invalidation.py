"""Invalidation of the response cache: a web process listens for the database's notifications on its own connection."""

import logging
import os
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

import psycopg
from django.conf import settings
from psycopg import sql

from registry.delivery.fetch_recorder import FetchRecorder
from registry.delivery.wsgi import TRUSTED_SECONDS
from registry.models.notify_triggers import CHANNEL, KEYS_PREFIX

logger = logging.getLogger(__name__)

# How often a listener notifies itself: when that arrives, all earlier notifications have arrived.
HEARTBEAT_SECONDS = 2.0
MIN_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.05, 1.0
# A process's first request waits at most this long for the listener: responses asked for before are not cached.
OPENING_SECONDS = 1.0
# Prefix of the notifications that a listener sends to itself.
OWN_PREFIX = "~"
USABLE_KEYS = """
SELECT id FROM registry_apikey
WHERE id = ANY(%s) AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
"""


class StaleListenerError(Exception):
    """The connection stands, but notifications do not arrive."""


class Invalidated(Protocol):
    """What a listener keeps current: registry.delivery.response_cache says what each verb does."""

    def invalidate(
        self, project: int | None = None, *, drop: bool = False, valid_until: float | None = None
    ) -> None: ...

    def readers(self) -> list[int]: ...

    def retain_readers(self, keys: set[int]) -> None: ...


class Listener:
    """A thread that receives notifications and invalidates the cache. It starts with the first request of a process,
    after servers have forked, and starts the recorder of fetches."""

    def __init__(self, cache: Invalidated, recorder: FetchRecorder) -> None:
        self._cache = cache
        self._recorder = recorder
        # Called every few seconds while the thread lives, whether or not notifications arrive.
        self.on_heartbeat: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._process = 0
        self._current_until = float("-inf")
        self._is_open = threading.Event()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._name = OWN_PREFIX + secrets.token_hex(8)

    def current_until(self) -> float:
        """Return until when all changes are known to have been received (`time.monotonic()`). Starts the thread where
        this process has none yet."""
        if self._process != os.getpid():
            self._begin()
        return self._current_until

    def is_listening(self) -> bool:
        """Return whether changes are being received now."""
        return time.monotonic() - self.current_until() < TRUSTED_SECONDS

    def stop(self) -> None:
        """Stop listening and recording; returns when the thread has ended."""
        self._ended.set()
        self._recorder.stop()
        if self._thread is not None and self._process == os.getpid():
            self._thread.join(2 * HEARTBEAT_SECONDS)

    def _begin(self) -> None:
        with self._lock:
            if self._process == os.getpid():
                return
            # The cached responses were those of the parent process.
            self._current_until = float("-inf")
            self._is_open.clear()
            self._cache.invalidate(valid_until=self._current_until)
            self._process = os.getpid()
            self._thread = threading.Thread(target=self._listen, name="delivery-listener", daemon=True)
            self._thread.start()
            self._recorder.begin()
        self._is_open.wait(OPENING_SECONDS)

    def _listen(self) -> None:
        pause = MIN_PAUSE_SECONDS
        while not self._ended.is_set():
            try:
                with connect() as connection:
                    self._receive(connection)
            except Exception as error:
                # Whatever it is, a thread that ends here would leave the process without invalidation for good.
                if self.is_listening():
                    pause = MIN_PAUSE_SECONDS
                    logger.warning("delivery.stale_listener %s", (str(error) or type(error).__name__).splitlines()[0])
            self.on_heartbeat()
            self._ended.wait(pause)
            pause = min(MAX_PAUSE_SECONDS, pause * 2)

    def _receive(self, connection: "psycopg.Connection[Any]") -> None:
        connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
        # Notifications sent while this process did not listen are lost: everything cached is outdated, and responses of
        # keys that were revoked meanwhile are dropped.
        self._cache.invalidate(valid_until=self._current_until)
        usable = connection.execute(USABLE_KEYS, [self._cache.readers()]).fetchall()
        self._cache.retain_readers({key for (key,) in usable})
        notified_at = self._notify_self(connection)
        while not self._ended.is_set():
            if time.monotonic() - max(notified_at, self._current_until) > TRUSTED_SECONDS:
                raise StaleListenerError("Notifications do not arrive.")
            for notification in connection.notifies(timeout=HEARTBEAT_SECONDS, stop_after=1):
                if notification.payload == self._name:
                    self._current_until = notified_at
                    self._is_open.set()
                    self.on_heartbeat()
                elif not notification.payload.startswith(OWN_PREFIX):
                    self._invalidate(notification.payload)
            if time.monotonic() - notified_at >= HEARTBEAT_SECONDS and self._current_until >= notified_at:
                notified_at = self._notify_self(connection)

    def _invalidate(self, payload: str) -> None:
        is_about_keys, project = payload.startswith(KEYS_PREFIX), payload.removeprefix(KEYS_PREFIX)
        project_id = int(project) if project.isascii() and project.isdigit() else None
        self._cache.invalidate(project_id, drop=is_about_keys)

    def _notify_self(self, connection: "psycopg.Connection[Any]") -> float:
        """Send a notification to this listener; returns when."""
        now = time.monotonic()
        connection.execute("SELECT pg_notify(%s, %s)", [CHANNEL, self._name])
        return now


def connect() -> "psycopg.Connection[Any]":
    """Open a connection that notices soon when the other end is gone or hangs."""
    database = settings.DATABASES["default"]
    ours = {"pool", "isolation_level", "server_side_binding", "assume_role"}
    options = {name: value for name, value in database.get("OPTIONS", {}).items() if name not in ours}
    parts = {
        "dbname": database["NAME"],
        "user": database["USER"],
        "password": database["PASSWORD"],
        "host": database["HOST"],
        "port": database["PORT"],
    }
    usual = {"connect_timeout": 3, "tcp_user_timeout": 4_000, "keepalives_idle": 5, "application_name": "delivery"}
    present = {name: value for name, value in parts.items() if value}
    connection = psycopg.connect(**{**usual, **options, **present}, autocommit=True)
    connection.execute("SET statement_timeout = '4s'; SET lock_timeout = '2s'")
    return connection
