"""Child processes that never outlive their parent; only Linux can guarantee it."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1
# Bound before any fork: a lookup between fork and exec could deadlock on another thread's lock.
LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(death_signal: signal.Signals, parent: int | None = None) -> Callable[[], None] | None:
    """Return a function that a child calls so that the kernel signals it when its parent dies; None where unsupported.

    `parent` is the process id never to outlive: this process's, unless the caller is itself the child.
    """
    if LIBC is None:
        return None
    prctl, expected = LIBC.prctl, parent or os.getpid()

    def arrange() -> None:
        prctl(PR_SET_PDEATHSIG, death_signal)
        if os.getppid() != expected:  # It died before the line above, and no signal will come.
            os._exit(1)

    return arrange
