"""A pool of child processes that do jobs under limits (infra.limited.policy).

A few children per process are kept and reused (a start costs a tenth of a second, a job well under a millisecond).
One that exceeds its limits ends and is replaced; other jobs go on meanwhile.
"""

import atexit
import json
import logging
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import Fault, Problem
from infra.limited.policy import BUSY, IN_REQUEST, IN_WORKER, SNIPPETS, START_SECONDS, Limits, Patience

logger = logging.getLogger(__name__)

MAX_PER_JOB = 50
PACKAGE_PARENT = Path(__file__).resolve().parents[2]
# One thread each: a child is one job's, and libraries that start a thread a core only take address space here.
ENVIRONMENT = {
    "PYTHONPATH": str(PACKAGE_PARENT),
    "PYTHONDONTWRITEBYTECODE": "1",
    "MALLOC_ARENA_MAX": "2",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    # Others reserve a gigabyte of addresses at once.
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}


def problem_from_dict(document: Mapping[str, Any]) -> Problem:
    """Rebuild the problem that a child reported (`infra.limited.child.problem_as_dict`)."""
    faults = [Fault(**fault) for fault in document.get("faults", ())]
    return Problem(document["code"], document["detail"], faults=faults, **document.get("members", {}))


@dataclass
class _Process:
    """What is the same for all pools of a process."""

    patience: Patience = IN_REQUEST


_process = _Process()


def wait_like_a_worker() -> None:
    """Have as much patience in this process as a worker has."""
    _process.patience = IN_WORKER


class ExceededError(Exception):
    """A job used up its limit of processor time, memory or output."""


class BusyError(Exception):
    """The machine had no time for a job, or ended its child: the job is not to blame."""


class BrokenJobError(Exception):
    """A job raised what it should not: a fault of ours, with the child's traceback."""


class _Child:
    """One child and its two pipes; used by one thread at a time."""

    def __init__(self, limits: Limits, modules: Sequence[str]) -> None:
        self._limits = limits
        self._is_ready = False
        self.process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "infra.limited.child", str(limits.memory_bytes), *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=PACKAGE_PARENT,
            env=ENVIRONMENT,
        )

    def run(self, job: bytes, seconds: float) -> tuple[dict[str, Any], bool]:
        """Run a job; return its answer and whether the child retires. Raises ExceededError or BusyError, after which
        the child is of no use."""
        try:
            if not self._is_ready:
                self._read_answer(START_SECONDS)
                self._is_ready = True
            self._write(struct.pack(">I", len(job)) + job)
            return self._read_answer(seconds)
        except TimeoutError:
            raise BusyError("The machine is too busy for this.") from None
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise self._cause_of_death() from None

    def _cause_of_death(self) -> Exception:
        status = self.process.wait()
        if not self._is_ready:
            return BusyError(f"A child process did not start (status {status}).")
        if status == -signal.SIGPROF:
            return ExceededError(f"{self._limits.processor_seconds:g} s of processor time")
        if status in (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT):
            # By the system, which had no memory left, or by an operator.
            return BusyError("The machine ended the child process.")
        # A library that gets no memory ends the process in its own way.
        return ExceededError(f"{self._limits.memory_bytes // 2**20} MB of memory")

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()

    def _write(self, data: bytes) -> None:
        assert self.process.stdin is not None  # noqa: S101 - for the type checker: opened as PIPE
        # The child reads a whole job before it starts on it, so this never waits for a job.
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def _read_answer(self, seconds: float) -> tuple[dict[str, Any], bool]:
        deadline = time.monotonic() + seconds
        size = struct.unpack(">I", self._read(4, deadline))[0]
        message = self._read(size, deadline)
        answer: dict[str, Any] = json.loads(message[1:])
        return answer, bool(message[0])

    def _read(self, size: int, deadline: float) -> bytes:
        assert self.process.stdout is not None  # noqa: S101 - for the type checker: opened as PIPE
        descriptor = self.process.stdout.fileno()
        # `poll` and not `select`, which cannot watch the 1,025th open file of a busy server.
        readable = select.poll()
        readable.register(descriptor, select.POLLIN)
        received = bytearray()
        while len(received) < size:
            if not readable.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise TimeoutError
            chunk = os.read(descriptor, min(size - len(received), 1 << 20))
            if not chunk:
                raise EOFError
            received += chunk
        return bytes(received)


# Those of this process that have children.
_pools: "set[LimitedPool]" = set()


def _forget_children() -> None:
    """Pipes must not be shared with a forked child: two processes would read each other's answers."""
    for pool in _pools:
        pool._reset()
    _pools.clear()


def _end_children() -> None:
    for pool in list(_pools):
        pool.close()


os.register_at_fork(after_in_child=_forget_children)
atexit.register(_end_children)


class LimitedPool:
    """At most `size` children, started when first needed; one owner (a project) never holds all of them.

    `modules` are imported by each child before its first job; `patience` is the process's own where none is given."""

    def __init__(
        self,
        size: int,
        limits: Limits = SNIPPETS,
        *,
        modules: Sequence[str] = (),
        patience: Patience | None = None,
    ) -> None:
        self._size, self._limits, self._modules = size, limits, modules
        self._own_patience = patience
        self._reset()

    def call(
        self,
        job: Callable[..., Any],
        arguments: Mapping[str, Any],
        *,
        owner: object = None,
        code: str = "template.too_expensive",
        subject: str = "The template",
    ) -> Any:
        """Call a module's function in a child, with JSON in and out; its Problems are raised here.

        Raises a Problem with `code` where the job exceeds a limit, and `render.busy` where the machine has no time for
        it: try again.
        """
        name = f"{job.__module__}:{job.__qualname__}"
        limits = {"processor_seconds": self._limits.processor_seconds, "answer_bytes": self._limits.answer_bytes}
        message = json.dumps({"job": name, "arguments": arguments, **limits}).encode()
        try:
            answer = self._run(message, owner)
        except ExceededError as error:
            raise Problem(code, f"{subject} needs more than {error}.") from None
        except BusyError as error:
            logger.warning("limited.busy %s %s", name, error)
            raise Problem(BUSY, f"{error} Try again.") from None
        if "problem" in answer:
            raise problem_from_dict(answer["problem"])
        if "broken" in answer:
            raise BrokenJobError(f"{name}:\n{answer['broken']}")
        if "exceeded" in answer:
            raise Problem(code, f"{subject} needs too much {answer['exceeded']}.")
        return answer["result"]

    def call_many(
        self,
        job: Callable[..., Any],
        every: Sequence[Any],
        arguments: Mapping[str, Any],
        *,
        owner: object = None,
        code: str = "template.too_expensive",
        subject: str = "The template",
    ) -> list[Any | Problem]:
        """Call a job of many things (`every`, infra.limited.batches.do_each) until all are done. Each gets its result
        or its problem; one that exceeds a limit takes no other along."""
        answers: list[Any | Problem] = []
        how: dict[str, Any] = {"owner": owner, "code": code, "subject": subject}
        alone = 0
        while len(answers) < len(every):
            batch = every[len(answers) : len(answers) + (1 if alone else MAX_PER_JOB)]
            alone = max(0, alone - 1)
            try:
                results = self.call(job, {**arguments, "every": list(batch)}, **how)
            except Problem as problem:
                if problem.code != code:
                    raise
                if len(batch) == 1:
                    answers.append(problem)
                else:
                    # One of them used up the limits, so each is done by itself.
                    alone = len(batch)
            else:
                answers += [
                    result["result"] if "result" in result else problem_from_dict(result["problem"])
                    for result in results
                ]
        return answers

    def warm(self) -> None:
        """Start all children now, so that they have imported their modules before the first job."""
        with self._changed:
            self._idle[:] = [child or self._start() for child in self._idle]

    def close(self) -> None:
        """End all idle children; the pool starts new ones when it is used again."""
        with self._changed:
            while self._idle:
                if child := self._idle.pop():
                    child.end()
        self._reset()
        _pools.discard(self)

    @property
    def _patience(self) -> Patience:
        return self._own_patience or _process.patience

    def _start(self) -> _Child:
        _pools.add(self)
        return _Child(self._limits, self._modules)

    def _reset(self) -> None:
        self._changed = threading.Condition()
        # A None stands for a child that has not been started.
        self._idle: list[_Child | None] = [None] * self._size
        self._in_use: Counter[object] = Counter()

    def _run(self, message: bytes, owner: object) -> dict[str, Any]:
        child = self._acquire(owner)
        try:
            if child is None or not child.is_alive():
                if child:
                    child.end()
                child = self._start()
            answer, is_retiring = child.run(message, self._patience.answer_seconds)
        except BaseException:
            child = self._replacement_of(child)
            raise
        else:
            if is_retiring:
                child = self._replacement_of(child)
            return answer
        finally:
            self._release(child, owner)

    def _replacement_of(self, child: _Child | None) -> _Child | None:
        """End a child and start the next: it imports its modules while nobody waits for it."""
        if child is None:
            return None
        child.end()
        return self._start()

    def _acquire(self, owner: object) -> _Child | None:
        """Return a free child, or None for one to start; BusyError where none gets free."""
        limit = max(1, self._size - 1)
        with self._changed:
            is_free = self._changed.wait_for(
                lambda: self._idle and self._in_use[owner] < limit, self._patience.free_seconds
            )
            if not is_free:
                raise BusyError("All child processes are busy with other work.")
            self._in_use[owner] += 1
            return self._idle.pop()

    def _release(self, child: _Child | None, owner: object) -> None:
        with self._changed:
            self._in_use[owner] -= 1
            if not self._in_use[owner]:
                del self._in_use[owner]
            self._idle.append(child)
            self._changed.notify_all()
