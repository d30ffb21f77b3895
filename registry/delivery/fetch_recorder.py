"""A recorder of what was answered from memory: fetches of versions and uses of keys, written in batches."""

import atexit
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from multiprocessing.util import Finalize
from typing import Any

import psycopg

from registry.accounts.api_keys import NOTE_USE_EVERY

logger = logging.getLogger(__name__)

# A key, and the versions in one response to it.
Fetch = tuple[int, tuple[int, ...]]

COLLECT_SECONDS, WRITE_SECONDS = 1.0, 5.0
COUNT_FETCHES = """
INSERT INTO registry_fetchcount (version_id, hour, count, last_at)
SELECT fetched.version, date_trunc('hour', now()), fetched.count, now()
FROM unnest(%s::bigint[], %s::bigint[]) AS fetched(version, count)
JOIN registry_promptversion ON registry_promptversion.id = fetched.version
ON CONFLICT (version_id, hour) DO UPDATE
SET count = registry_fetchcount.count + excluded.count, last_at = excluded.last_at
"""
# In order, and skipping rows that another process is writing: two processes must not wait for each other.
RECORD_KEY_USE = """
WITH due AS (
    SELECT id FROM registry_apikey
    WHERE id = ANY(%s) AND (last_used_at IS NULL OR last_used_at < now() - %s)
    ORDER BY id FOR UPDATE SKIP LOCKED
)
UPDATE registry_apikey SET last_used_at = now() FROM due WHERE registry_apikey.id = due.id
"""


class FetchRecorder:
    """A thread that collects fetches and writes them every few seconds; what cannot be written is kept. A server that
    stops cleanly loses nothing, a killed one what it had not written."""

    def __init__(self, fetched: "deque[Fetch]", connect: "Callable[[], psycopg.Connection[Any]]") -> None:
        self._fetched = fetched
        self._connect = connect
        self._lock = threading.Lock()
        self._unwritten: Counter[int] = Counter()
        self._used_keys: set[int] = set()
        self._is_failing = False
        self._ended = threading.Event()
        self._at_exit: Finalize | None = None

    def begin(self) -> None:
        """Start in this process; the counts of its parent stay with the parent."""
        self._lock = threading.Lock()
        self._fetched.clear()
        self._unwritten.clear()
        self._used_keys.clear()
        threading.Thread(target=self._run, name="delivery-counting", daemon=True).start()
        atexit.register(self.write)
        # A server's worker is a child of multiprocessing, which ends without what atexit has.
        self._at_exit = Finalize(None, self.write, exitpriority=10)

    def stop(self) -> None:
        """Stop counting, and write nothing at exit."""
        self._ended.set()
        atexit.unregister(self.write)
        if self._at_exit is not None:
            self._at_exit.cancel()

    def write(self) -> None:
        """Write what was collected."""
        with self._lock:
            self._collect()
            if not self._unwritten and not self._used_keys:
                return
            try:
                with self._connect() as connection:
                    self._write_to(connection)
            except psycopg.Error as error:
                if not self._is_failing:
                    logger.warning("delivery.uncounted %s", error)
                self._is_failing = True
            else:
                self._is_failing = False

    def _run(self) -> None:
        written = time.monotonic()
        while not self._ended.wait(COLLECT_SECONDS):
            try:
                if time.monotonic() - written >= WRITE_SECONDS:
                    written = time.monotonic()
                    self.write()
                else:
                    with self._lock:
                        self._collect()
            except Exception:
                # A thread that ended here would count nothing more, and fetches would pile up.
                logger.exception("delivery.uncounted")

    def _collect(self) -> None:
        fetched = [self._fetched.popleft() for _ in range(len(self._fetched))]
        # One cached response is given many times: its object is counted, and its contents are read once.
        times = Counter(map(id, fetched))
        for fetch_id, (key, versions) in {id(fetch): fetch for fetch in fetched}.items():
            self._used_keys.add(key)
            for version in versions:
                self._unwritten[version] += times[fetch_id]

    def _write_to(self, connection: "psycopg.Connection[Any]") -> None:
        if self._unwritten:
            ordered = sorted(self._unwritten.items())
            connection.execute(COUNT_FETCHES, [[version for version, _ in ordered], [count for _, count in ordered]])
            self._unwritten.clear()
        connection.execute(RECORD_KEY_USE, [sorted(self._used_keys), NOTE_USE_EVERY])
        self._used_keys.clear()
