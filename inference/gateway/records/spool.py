"""Records of calls on disk until the database has them. Pure.

A record is written before the answer's last byte is sent: whoever has the whole answer can rely on it being counted,
also where the process is killed in between. Each process appends to a segment of its own, which it holds by a lock of
the kernel; segments that nobody holds are what is left to record, whoever left them.
"""

import fcntl
import logging
import os
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

logger = logging.getLogger(__name__)
SUFFIX, BEGINNING, REFUSED = ".calls", ".begun", "refused.jsonl"
# A segment is closed, so that it can be recorded, when it has records and so much time has passed.
INTERVAL_SECONDS = 0.5
MAX_PAUSE_SECONDS = 30.0
BATCH = 500

Record = Mapping[str, Any]
# Saves records, and returns those that can never be saved.
Save = Callable[[Sequence[Record]], Sequence[Record]]


class Spool:
    """The spool of a process, in a directory that all processes of this machine share."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def append(self, record: Record) -> None:
        """Write a record; it outlives this process when this returns."""
        line = orjson.dumps(record) + b"\n"
        with self._lock:
            if self._descriptor is None:
                self._descriptor = self._begin_segment()
            length = os.fstat(self._descriptor).st_size
            try:
                view = memoryview(line)
                while view:
                    view = view[os.write(self._descriptor, view) :]
            except OSError:
                # A full disk: the half that was written would take the next record along.
                os.ftruncate(self._descriptor, length)
                raise

    def _begin_segment(self) -> int:
        """Create a segment, under a name that no drain looks for until it is held."""
        name = uuid.uuid4().hex
        beginning = self._directory / f"{name}{BEGINNING}"
        descriptor = os.open(beginning, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        beginning.rename(self._directory / f"{name}{SUFFIX}")
        return descriptor

    def close_segment(self) -> None:
        """Let the segment go that this process appends to: the next record begins another."""
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
            self._descriptor = None

    def _keep_refused(self, records: Sequence[Record]) -> None:
        if records:
            with os.fdopen(
                os.open(self._directory / REFUSED, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab"
            ) as file:
                file.writelines(orjson.dumps(record) + b"\n" for record in records)

    def waiting(self) -> int:
        """Return the bytes that wait to be recorded, of all processes."""
        return sum(path.stat().st_size for path in self._directory.glob(f"*{SUFFIX}") if path.exists())

    def drain(self, save: Save) -> int:
        """Save the records of all segments that nobody holds, and remove them; returns how many there were. Where
        `save` raises, the segment stays. What was saved before a crash is saved again: `save` knows it by its id. What
        it returns can never be saved, and is kept in a file of its own."""
        self.close_segment()
        return sum(self._drain_segment(path, save) for path in sorted(self._directory.glob(f"*{SUFFIX}")))

    def _drain_segment(self, path: Path, save: Save) -> int:
        with _HeldSegment(path) as is_ours:
            if not is_ours:
                return 0
            records = list(_read(path))
            for start in range(0, len(records), BATCH):
                self._keep_refused(save(records[start : start + BATCH]))
            path.unlink()
            return len(records)


class _HeldSegment:
    """Hold a segment; false where another process does, or where it is gone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def __enter__(self) -> bool:
        try:
            self._descriptor = os.open(self._path, os.O_RDONLY)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (FileNotFoundError, BlockingIOError):
            return False
        # Another one may have recorded and removed it between the two.
        return self._path.exists()

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


def _read(path: Path) -> Iterator[Any]:
    for line in path.read_bytes().split(b"\n"):
        if not line:
            continue
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError:
            # Killed while it was written, so that the answer was not whole either.
            logger.warning("spool.torn_record %s", path.name)
            continue
        yield record


class Drain:
    """A thread that records what the spool has, every half second; after a failure with growing pauses."""

    def __init__(self, spool: Spool, save: Save) -> None:
        self._spool, self._save = spool, save
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="call-records", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Record what there is, and stop; what cannot be recorded now waits on disk for the next process."""
        self._ended.set()
        self._thread.join(10)

    def _run(self) -> None:
        pause = INTERVAL_SECONDS
        while not self._ended.wait(pause):
            pause = INTERVAL_SECONDS if self._try() else min(MAX_PAUSE_SECONDS, pause * 2)
        self._try()

    def _try(self) -> bool:
        try:
            self._spool.drain(self._save)
        except Exception as error:
            # Whatever it is, the records are safe, and a thread that ended here would leave them there for good.
            logger.warning("spool.not_recorded %s", (str(error) or type(error).__name__).splitlines()[0])
            return False
        return True
