"""The child process that does jobs under limits. Started by infra.limited.pool.

It reads jobs from standard input and writes answers to standard output, each a 4-byte big-endian length and JSON. It
never sees Django, the database or a secret: its environment is empty but for the path of this package.
"""

import importlib
import json
import resource
import signal
import struct
import sys
import traceback
from collections.abc import Callable
from typing import Any, BinaryIO

from core.errors import Problem
from infra.limited.policy import RECURSION_LIMIT, RETIRE_BYTES


def run_job(function: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """Do one job; the answer has `result`, or `problem` with what Problem needs to be raised again."""
    try:
        return {"result": function(**arguments)}
    except Problem as problem:
        return {"problem": problem_as_dict(problem)}
    except MemoryError:
        return {"exceeded": "memory"}
    except RecursionError:
        return {"exceeded": "depth"}
    except Exception:
        # A fault of ours: it must not read as the user's.
        return {"broken": traceback.format_exc(limit=-5)}


def problem_as_dict(problem: Problem) -> dict[str, Any]:
    """Return a problem's parts, from which it is raised again in another process."""
    faults = [fault.as_dict() for fault in problem.faults]
    return {"code": problem.code, "detail": problem.detail, "faults": faults, "members": problem.members}


def load_job(name: str) -> Callable[..., Any]:
    """Import a job by its `module:function`; the name is the parent's, never a user's."""
    module, _, function = name.partition(":")
    job: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return job


def serve(jobs: BinaryIO, answers: BinaryIO) -> None:
    """Say that this process is ready, and do jobs until the parent is gone."""
    _write(answers, {"ready": True})
    while header := jobs.read(4):
        job = json.loads(jobs.read(struct.unpack(">I", header)[0]))
        # Imports are ours and not the job's: its time begins after them.
        function = load_job(job["job"])
        # Processor time, to the millisecond. At its end the kernel ends this process, whatever it is in.
        signal.setitimer(signal.ITIMER_PROF, job["processor_seconds"])
        answer = run_job(function, job["arguments"])
        message = _encoded(answer)
        signal.setitimer(signal.ITIMER_PROF, 0)
        if len(message) > job["answer_bytes"]:
            message = _encoded({"exceeded": "output"})
        retiring = peak_bytes() > RETIRE_BYTES
        answers.write(struct.pack(">I?", len(message) + 1, retiring) + message)
        answers.flush()
        if retiring:
            return


def _encoded(answer: dict[str, Any]) -> bytes:
    try:
        return json.dumps(answer).encode()
    except MemoryError:
        return b'{"exceeded": "memory"}'
    except RecursionError:
        return b'{"exceeded": "depth"}'


def _write(answers: BinaryIO, answer: dict[str, Any]) -> None:
    message = json.dumps(answer).encode()
    answers.write(struct.pack(">I?", len(message) + 1, False) + message)
    answers.flush()


def peak_bytes() -> int:
    """Return the peak memory of this process.

    Linux counts it anew from the start of a program in VmHWM; the peak of getrusage goes on from what the parent held
    when it forked, so that a child of a large process would seem large from its birth. macOS counts in bytes.
    """
    if sys.platform == "linux":
        with open("/proc/self/status", encoding="ascii") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main(memory_bytes: int, modules: list[str]) -> None:
    """Import what the jobs need, and serve under limits of memory."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for module in modules:
        importlib.import_module(module)
    sys.setrecursionlimit(RECURSION_LIMIT)
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    serve(sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
