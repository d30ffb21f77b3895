"""What keeps a client's memory fresh: the first load, the thread that refreshes, and questions about what is not
held."""

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
from cuebook.pace import Pace
from cuebook.prompt import Prompt
from cuebook.remote import MOST_IN_A_BATCH, Remote

# How long a reference that was not found is not asked for again.
MISSING_SECONDS = 5.0
MOST_MISSING = 1_000


class Keeper:
    """Of one client. Threads may share it, and a forked child goes on with what the parent had in memory."""

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
        self._pace = Pace(refresh_seconds)
        self._missing: dict[str, tuple[float, CuebookError]] = {}
        # Why the registry could not be had when it was asked last.
        self._failure: UnavailableError | None = None
        self._is_closed = False
        self.memory = Memory(environment, self)
        self.after_fork()
        _keepers.add(self)
        # Who forgets to close a client leaves no connection open.
        weakref.finalize(self, remote.close)

    def after_fork(self) -> None:
        """A child has the memory, but neither the thread nor the connections nor whoever held the locks."""
        self._syncing = threading.Lock()
        self._asking: dict[str, threading.Lock] = {}
        # What is told when no lock is held any more: a handler may use the client.
        self._untold: deque[Exception] = deque()
        self._closing = threading.Event()
        self.is_running = False
        self.memory.after_fork()
        self._remote.forget()

    def run(self) -> None:
        """Load the environment, as far as it can be had, and start the thread. Others wait for the first."""
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
        self._tell()

    def close(self) -> None:
        self._is_closed = True
        self.is_running = False
        self._closing.set()
        self._remote.close()

    def refresh(self) -> None:
        """Ask the registry what has changed. Raises CuebookError."""
        try:
            with self._syncing:
                try:
                    self._sync()
                except CuebookError as error:
                    self.fail(error)
                    raise
                self._succeed()
        finally:
            self._tell()

    def wait_seconds(self) -> float:
        """Until the next refresh."""
        return self._pace.wait()

    def fail(self, error: Exception) -> None:
        """The next refresh waits longer; where nobody answered, neither is anything else asked for until then."""
        unavailable = error if isinstance(error, UnavailableError) else None
        self._failure = unavailable
        self._pace.failed(unavailable.retry_after if unavailable else None)

    def report(self, error: Exception) -> None:
        self._report(error)

    def ask_for(self, reference: str, whole: str) -> Prompt:
        """A version that is not held; `whole` has the selector too. Threads that miss the same one wait for each other,
        so that one of them asks."""
        lock = self._asking.setdefault(reference, threading.Lock())
        try:
            with lock:
                return self._ask_alone(reference, whole)
        finally:
            self._asking.pop(reference, None)

    def ask_for_many(self, wholes: Mapping[str, str]) -> dict[str, Prompt | CuebookError]:
        """Up to MOST_IN_A_BATCH versions that are not held, by reference, or why there is none."""
        try:
            self._refuse_while_resting()
        except UnavailableError as error:
            return dict.fromkeys(wholes, error)
        try:
            answers = self._remote.versions(list(wholes.values()))
        except CuebookError as error:
            if isinstance(error, UnavailableError):
                self.fail(error)
            return dict.fromkeys(wholes, error)
        return {
            reference: answer if isinstance(answer, CuebookError) else self.memory.keep(reference, answer)
            for reference, answer in zip(wholes, answers, strict=True)
        }

    # What a prompt asks of where it came from (cuebook.prompt.Source).

    def examples(self, pinned: str) -> list[Shot]:
        """An example set, from memory where it is there."""
        held = self.memory.examples(pinned)
        if held is None:
            held = self._remote.examples(pinned)
            self.memory.keep_examples(pinned, held)
        return held

    def has_examples(self, pinned: str) -> bool:
        return self.memory.examples(pinned) is not None

    def render_there(self, name: str, selector: str, variables: Mapping[str, Any]) -> Document:
        """The registry's own rendering."""
        return self._remote.render(name, selector, variables)

    def _ask_alone(self, reference: str, whole: str) -> Prompt:
        held = self.memory.ready.get(reference)
        if held is not None:
            return held
        until, missing = self._missing.get(reference, (0.0, CuebookError("")))
        if until > time.monotonic():
            raise _again(missing)
        self._refuse_while_resting()
        try:
            return self.memory.keep(reference, self._remote.version(whole))
        except UnavailableError as error:
            self.fail(error)
            raise
        except RefusedError as error:
            if len(self._missing) >= MOST_MISSING:
                self._missing.clear()
            self._missing[reference] = (time.monotonic() + MISSING_SECONDS, error)
            raise

    def _load(self) -> None:
        """The environment from the registry, else from the disk."""
        try:
            self._sync()
        except CuebookError as error:
            self.fail(error)
            self._untold.append(error)
            # Where the registry is there and refuses, nothing counts that it once said.
            if isinstance(error, (UnavailableError, IntegrityError)):
                self._read_disk()
        else:
            self._succeed()

    def _succeed(self) -> None:
        self._failure = None
        self._pace.succeeded()
        self._write_disk()

    def _sync(self) -> None:
        """What is live, what else is watched, and the examples."""
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
        # What is live is there; the rest is told where it cannot be had, and asked for again the next time.
        watched = self.memory.watched
        for start in range(0, len(watched), MOST_IN_A_BATCH):
            with self._telling():
                self._sync_watched(watched[start : start + MOST_IN_A_BATCH])
        for pinned in self.memory.wanted_examples:
            with self._telling():
                self.memory.keep_examples(pinned, self._remote.examples(pinned))

    def _sync_watched(self, references: Sequence[str]) -> None:
        wholes = [one if "@" in one else f"{one}@{self._environment}" for one in references]
        for reference, answer in zip(references, self._remote.versions(wholes), strict=True):
            if isinstance(answer, RefusedError):
                self.memory.drop(reference)
            elif isinstance(answer, IntegrityError):
                self._untold.append(answer)
            else:
                self.memory.keep(reference, answer)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except CuebookError as error:
            self._untold.append(error)

    def _tell(self) -> None:
        while self._untold:
            self._report(self._untold.popleft())

    def _refuse_while_resting(self) -> None:
        """The registry failed a moment ago: nobody waits for it to fail again."""
        failure = self._failure
        if failure is not None and self._pace.is_resting:
            raise _again(failure)

    def _read_disk(self) -> None:
        if self._disk is None:
            return
        try:
            found = self._disk.load()
            if found is not None:
                self.memory.restore(*found)
        except (CuebookError, OSError, ValueError, RecursionError) as error:
            self._untold.append(error)

    def _write_disk(self) -> None:
        if self._disk is None:
            return
        try:
            self._disk.save(self.memory.revision, self.memory.state)
        except (OSError, ValueError, RecursionError) as error:
            self._untold.append(error)


def _again(error: CuebookError) -> CuebookError:
    """The same error anew: one that several threads raise would collect all their tracebacks."""
    return type(error)(str(error), error.code)


def _keep_fresh(keeper_ref: "weakref.ref[Keeper]", closing: threading.Event) -> None:
    """Refresh until the client is closed, or nobody holds it any more."""
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
            # A fault of ours, or of what answered: it is told, and prompts go on being refreshed.
            keeper.fail(error)
            keeper.report(error)
        del keeper


_keepers: "weakref.WeakSet[Keeper]" = weakref.WeakSet()


def _leave_to_the_parent() -> None:
    for keeper in list(_keepers):
        keeper.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_the_parent)
