"""What was answered from memory, written down now and then: fetches of versions, and uses of keys."""

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

# A key, and the versions that it got in one answer.
Fetch = tuple[int, tuple[int, ...]]

GATHER_SECONDS, WRITE_SECONDS = 1.0, 5.0
COUNT = """
INSERT INTO registry_fetchcount (version_id, hour, count, last_at)
SELECT found.version, date_trunc('hour', now()), found.count, now()
FROM unnest(%s::bigint[], %s::bigint[]) AS found(version, count)
JOIN registry_promptversion ON registry_promptversion.id = found.version
ON CONFLICT (version_id, hour) DO UPDATE
SET count = registry_fetchcount.count + excluded.count, last_at = excluded.last_at
"""
# In order, and not those that another process is writing: two of them must not wait for each other.
USED = """
WITH due AS (
    SELECT id FROM registry_apikey
    WHERE id = ANY(%s) AND (last_used_at IS NULL OR last_used_at < now() - %s)
    ORDER BY id FOR UPDATE SKIP LOCKED
)
UPDATE registry_apikey SET last_used_at = now() FROM due WHERE registry_apikey.id = due.id
"""


class Counting:
    """A thread that gathers what was fetched and writes it every few seconds; what cannot be written is kept. A server
    that stops cleanly loses nothing, a killed one what it had not written."""

    def __init__(self, fetched: "deque[Fetch]", connect: "Callable[[], psycopg.Connection[Any]]") -> None:
        self._fetched = fetched
        self._connect = connect
        self._lock = threading.Lock()
        self._unwritten: Counter[int] = Counter()
        self._used: set[int] = set()
        self._is_failing = False
        self._ended = threading.Event()
        self._at_exit: Finalize | None = None

    def begin(self) -> None:
        """In this process; its parent's counts are its parent's."""
        self._lock = threading.Lock()
        self._fetched.clear()
        self._unwritten.clear()
        self._used.clear()
        threading.Thread(target=self._count, name="delivery-counting", daemon=True).start()
        atexit.register(self.write)
        # A server's worker is a child of multiprocessing, which ends without what atexit has.
        self._at_exit = Finalize(None, self.write, exitpriority=10)

    def stop(self) -> None:
        """Count no more, and write nothing at exit."""
        self._ended.set()
        atexit.unregister(self.write)
        if self._at_exit is not None:
            self._at_exit.cancel()

    def write(self) -> None:
        """Write down what is there."""
        with self._lock:
            self._gather()
            if not self._unwritten and not self._used:
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

    def _count(self) -> None:
        written = time.monotonic()
        while not self._ended.wait(GATHER_SECONDS):
            try:
                if time.monotonic() - written >= WRITE_SECONDS:
                    written = time.monotonic()
                    self.write()
                else:
                    with self._lock:
                        self._gather()
            except Exception:
                # A thread that ended here would count no more, and what is to be counted would pile up.
                logger.exception("delivery.uncounted")

    def _gather(self) -> None:
        fetched = [self._fetched.popleft() for _ in range(len(self._fetched))]
        # One answer was given many times: it is counted as one object, and what is in it once.
        times = Counter(map(id, fetched))
        for which, (key, versions) in {id(one): one for one in fetched}.items():
            self._used.add(key)
            for version in versions:
                self._unwritten[version] += times[which]

    def _write_to(self, connection: "psycopg.Connection[Any]") -> None:
        if self._unwritten:
            ordered = sorted(self._unwritten.items())
            connection.execute(COUNT, [[version for version, _ in ordered], [count for _, count in ordered]])
            self._unwritten.clear()
        connection.execute(USED, [sorted(self._used), NOTE_USE_EVERY])
        self._used.clear()
