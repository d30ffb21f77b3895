"""Child processes that never outlive the supervisor."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from config.embedded.accounts import Account
from config.lifeline import die_with_parent

LOG_TAIL_LINES = 15


class ChildError(Exception):
    """A child process did not start or ended unexpectedly; the message has the end of its log."""


class Child:
    """One supervised process with its log file and the signal that stops it cleanly.

    `death_signal` is what the kernel sends it when the supervisor is killed: by default the same.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        directory: Path = Path("/"),
        account: Account | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        stop_seconds: float = 15,
        death_signal: signal.Signals | None = None,
    ) -> None:
        self.name = name
        self.command = [str(part) for part in command]
        self.log = log
        self._environment = dict(environment) if environment is not None else None
        self._directory = directory
        self._account = account
        self._stop_signal = stop_signal
        self._stop_seconds = stop_seconds
        self._death_signal = death_signal or stop_signal
        self._process: subprocess.Popen[bytes] | None = None
        self._stop_requested = False

    def start(self) -> None:
        """Start in a session of its own, so that Ctrl-C reaches the supervisor alone and it decides the order."""
        self._end_session()
        self._stop_requested = False
        account = self._account
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the commands are ours
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                cwd=self._directory,
                start_new_session=True,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
                preexec_fn=die_with_parent(self._death_signal),
            )

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ChildError(f"{self.name} was not started.")
        return self._process.pid

    def exit_code(self) -> int | None:
        """The exit code once the process has ended, None while it runs."""
        return self._process.poll() if self._process else None

    def request_stop(self) -> None:
        """Send the stop signal without waiting, so that several processes can stop at the same time."""
        if self._process is not None and self._process.poll() is None and not self._stop_requested:
            self._stop_requested = True
            self._process.send_signal(self._stop_signal)

    def stop(self) -> None:
        """Ask, wait, then end the whole session; safe to call twice."""
        if self._process is not None and self._process.poll() is None:
            self.request_stop()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(self._stop_seconds)
        self._end_session()

    def _end_session(self) -> None:
        """End what is left of the child's session: the workers of a server that was itself killed."""
        if self._process is None:
            return
        # No process is left in the session.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def wait_until(self, ready: Callable[[], bool], *, seconds: float) -> None:
        """Return when `ready()` is true; ChildError with the end of the log where the child ends or time does."""
        deadline = time.monotonic() + seconds
        while not ready():
            if self.exit_code() is not None:
                raise ChildError(f"{self.name} ended with code {self.exit_code()}.\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise ChildError(f"{self.name} was not ready after {seconds:.0f} s.\n{self.log_tail()}")
            time.sleep(0.03)

    def log_tail(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join([f"The end of {self.log}:", *(f"  {line}" for line in lines[-LOG_TAIL_LINES:])])
