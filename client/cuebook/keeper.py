"""The keeper of a client's memory: the first load, the refreshing thread, and requests for what is not in memory."""

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from cuebook.answers import Document
from cuebook.core.examples import Shot
from cuebook.disk import DiskCopy
from cuebook.errors import CuebookError, IntegrityError, NotFoundError, RefusedError, UnavailableError
from cuebook.memory import Memory
from cuebook.prompt import Prompt
from cuebook.remote import MAX_BATCH, Remote
from cuebook.schedule import RefreshSchedule

# How long a reference that was not found is not asked for again.
MISSING_SECONDS = 5.0
MAX_MISSING = 1_000


class Keeper:
    """The keeper of one client. Threads may share it, and a forked child starts with the parent's memory."""

    def __init__(
        self,
        environment: str,
        remote: Remote,
        disk: DiskCopy | None,
        refresh_seconds: float,
        report: Callable[[Exception], None],
    ) -> None:
        self._environment = environment
        self._remote = remote
        self._disk = disk
        self._report = report
        self._schedule = RefreshSchedule(refresh_seconds)
        self._missing: dict[str, tuple[float, CuebookError]] = {}
        # The reason why the last request to the registry failed.
        self._failure: UnavailableError | None = None
        self._is_closed = False
        self.memory = Memory(environment, self)
        self.after_fork()
        _keepers.add(self)
        # A client that is never closed leaves no connection open.
        weakref.finalize(self, remote.close)

    def after_fork(self) -> None:
        """Reset locks, thread and connections in a child, which has only the memory."""
        self._syncing = threading.Lock()
        self._in_flight: dict[str, threading.Lock] = {}
        # Errors to report once no lock is held: a handler may use the client.
        self._unreported: deque[Exception] = deque()
        self._closing = threading.Event()
        self.is_running = False
        self.memory.after_fork()
        self._remote.forget()

    def run(self) -> None:
        """Load the environment, as far as possible, and start the thread. Concurrent callers wait for the first."""
        if self.is_running:
            return
        with self._syncing:
            if self._is_closed:
                raise UnavailableError("This client is closed.")
            if self.is_running:
                return
            if not self.memory.is_loaded:
                self._load()
            thread = threading.Thread(
                target=_keep_fresh, args=(weakref.ref(self), self._closing), name="cuebook", daemon=True
            )
            thread.start()
            self.is_running = not self._is_closed
        self._report_errors()

    def close(self) -> None:
        self._is_closed = True
        self.is_running = False
        self._closing.set()
        self._remote.close()

    def refresh(self) -> None:
        """Ask the registry for changes. Raises CuebookError."""
        try:
            with self._syncing:
                try:
                    self._sync()
                except CuebookError as error:
                    self.fail(error)
                    raise
                self._succeed()
        finally:
            self._report_errors()

    def wait_seconds(self) -> float:
        """Return the seconds until the next refresh."""
        return self._schedule.wait()

    def fail(self, error: Exception) -> None:
        """Record a failure: the next refresh waits longer; without an answer, no other request is made until then."""
        unavailable = error if isinstance(error, UnavailableError) else None
        self._failure = unavailable
        self._schedule.failed(unavailable.retry_after if unavailable else None)

    def report(self, error: Exception) -> None:
        self._report(error)

    def ask_for(self, reference: str, full_reference: str) -> Prompt:
        """Fetch a version that is not in memory; `full_reference` has the selector too. Of threads that miss the same
        one, only one asks."""
        lock = self._in_flight.setdefault(reference, threading.Lock())
        try:
            with lock:
                return self._ask_alone(reference, full_reference)
        finally:
            self._in_flight.pop(reference, None)

    def ask_for_many(self, full_references: Mapping[str, str]) -> dict[str, Prompt | CuebookError]:
        """Fetch up to MAX_BATCH versions that are not in memory; returns prompts or errors by reference."""
        try:
            self._refuse_while_backing_off()
        except UnavailableError as error:
            return dict.fromkeys(full_references, error)
        try:
            answers = self._remote.versions(list(full_references.values()))
        except CuebookError as error:
            if isinstance(error, UnavailableError):
                self.fail(error)
            return dict.fromkeys(full_references, error)
        return {
            reference: answer if isinstance(answer, CuebookError) else self.memory.keep(reference, answer)
            for reference, answer in zip(full_references, answers, strict=True)
        }

    # The methods of cuebook.prompt.Source.

    def examples(self, pinned: str) -> list[Shot]:
        """Return an example set, from memory if possible."""
        shots = self.memory.examples(pinned)
        if shots is None:
            shots = self._remote.examples(pinned)
            self.memory.keep_examples(pinned, shots)
        return shots

    def has_examples(self, pinned: str) -> bool:
        return self.memory.examples(pinned) is not None

    def render_there(self, name: str, selector: str, variables: Mapping[str, Any]) -> Document:
        """Return the registry's own rendering."""
        return self._remote.render(name, selector, variables)

    def _ask_alone(self, reference: str, full_reference: str) -> Prompt:
        prompt = self.memory.ready.get(reference)
        if prompt is not None:
            return prompt
        until, missing = self._missing.get(reference, (0.0, CuebookError("")))
        if until > time.monotonic():
            raise _again(missing)
        self._refuse_while_backing_off()
        try:
            return self.memory.keep(reference, self._remote.version(full_reference))
        except UnavailableError as error:
            self.fail(error)
            raise
        except RefusedError as error:
            if len(self._missing) >= MAX_MISSING:
                self._missing.clear()
            self._missing[reference] = (time.monotonic() + MISSING_SECONDS, error)
            raise

    def _load(self) -> None:
        """Load the environment from the registry, else from the disk."""
        try:
            self._sync()
        except CuebookError as error:
            self.fail(error)
            self._unreported.append(error)
            # Where the registry answers with a refusal, an older copy does not count.
            if isinstance(error, (UnavailableError, IntegrityError)):
                self._read_disk()
        else:
            self._succeed()

    def _succeed(self) -> None:
        self._failure = None
        self._schedule.succeeded()
        self._write_disk()

    def _sync(self) -> None:
        """Refresh what is live, the other watched references, and the examples."""
        try:
            snapshot = self._remote.snapshot(self._environment, self.memory.tag)
        except NotFoundError as error:
            if error.code == "environment.not_found":
                # Nothing is live in an environment that is gone.
                self.memory.clear()
            raise
        if snapshot is None:
            self.memory.confirm()
        else:
            self.memory.apply(snapshot)
        # What is live is loaded; failures of the rest are reported, and it is asked for again the next time.
        watched = self.memory.watched
        for start in range(0, len(watched), MAX_BATCH):
            with self._collecting_errors():
                self._sync_watched(watched[start : start + MAX_BATCH])
        for pinned in self.memory.missing_examples:
            with self._collecting_errors():
                self.memory.keep_examples(pinned, self._remote.examples(pinned))

    def _sync_watched(self, references: Sequence[str]) -> None:
        full_references = [
            reference if "@" in reference else f"{reference}@{self._environment}" for reference in references
        ]
        for reference, answer in zip(references, self._remote.versions(full_references), strict=True):
            if isinstance(answer, RefusedError):
                self.memory.drop(reference)
            elif isinstance(answer, IntegrityError):
                self._unreported.append(answer)
            else:
                self.memory.keep(reference, answer)

    @contextmanager
    def _collecting_errors(self) -> Iterator[None]:
        try:
            yield
        except CuebookError as error:
            self._unreported.append(error)

    def _report_errors(self) -> None:
        while self._unreported:
            self._report(self._unreported.popleft())

    def _refuse_while_backing_off(self) -> None:
        """Raise the last failure while the client backs off: no caller waits for another one."""
        failure = self._failure
        if failure is not None and self._schedule.is_backing_off:
            raise _again(failure)

    def _read_disk(self) -> None:
        if self._disk is None:
            return
        try:
            saved = self._disk.load()
            if saved is not None:
                self.memory.restore(*saved)
        except (CuebookError, OSError, ValueError, RecursionError) as error:
            self._unreported.append(error)

    def _write_disk(self) -> None:
        if self._disk is None:
            return
        try:
            self._disk.save(self.memory.revision, self.memory.state)
        except (OSError, ValueError, RecursionError) as error:
            self._unreported.append(error)


def _again(error: CuebookError) -> CuebookError:
    """Copy an error: one that several threads raise would collect all their tracebacks."""
    return type(error)(str(error), error.code)


def _keep_fresh(keeper_ref: "weakref.ref[Keeper]", closing: threading.Event) -> None:
    """Refresh until the client is closed, or no longer referenced."""
    while True:
        keeper = keeper_ref()
        if keeper is None:
            return
        wait = keeper.wait_seconds()
        del keeper
        if closing.wait(wait):
            return
        keeper = keeper_ref()
        if keeper is None:
            return
        try:
            keeper.refresh()
        except CuebookError as error:
            keeper.report(error)
        except Exception as error:
            # A bug here or in the server: it is reported, and refreshing goes on.
            keeper.fail(error)
            keeper.report(error)
        del keeper


_keepers: "weakref.WeakSet[Keeper]" = weakref.WeakSet()


def _leave_to_the_parent() -> None:
    for keeper in list(_keepers):
        keeper.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_the_parent)
