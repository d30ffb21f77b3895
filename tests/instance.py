"""A real instance for tests: `manage.py up` in a home of its own, over HTTP, until it is stopped."""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config.embedded.supervisor import free_port
from tests.servers import SHARED
from tests.waiting import soon

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 120


def clean_environment(**extra: str) -> dict[str, str]:
    """Nothing of the suite's own servers: the instance must start its own."""
    kept_variables = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
    # Two cores embed the demo's tickets in half a minute, which every instance would spend beside what is tested.
    return {**kept_variables, "EMBEDDINGS_LOCAL": "0", **extra}


def demo_home(home: Path) -> Path:
    """Make a home in which the demo project is and its runs have ended: a copy of one that is made once in each test
    run, so that not every test with an instance waits for its first start."""
    shared = os.environ.get(SHARED)
    with ExitStack() as stack:
        if shared is None:
            shared = stack.enter_context(tempfile.TemporaryDirectory())
            Path(shared).chmod(0o755)
        prepared = Path(shared) / "demo-home"
        with (Path(shared) / "demo-home.lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if not prepared.exists():
                _prepare(prepared)
        # PostgreSQL's own account must be able to enter.
        for folder in home.parents:
            if folder.stat().st_uid == os.getuid() and folder != Path(folder.anchor):
                folder.chmod(folder.stat().st_mode | 0o055)
        subprocess.run(["/bin/cp", "-a", str(prepared), str(home)], check=True)
    return home


def _prepare(prepared: Path) -> None:
    partial = prepared.with_name("demo-home-partial")
    instance = start(partial)
    runs = "/api/v1/evaluations"
    # A machine that is slow has runs that are still open: then they end in the copies.
    soon(lambda: all(run["state"] == "done" for run in instance.call("GET", runs)[1]["results"]), START_SECONDS)
    assert instance.stop() == 0
    partial.rename(prepared)


@dataclass
class Instance:
    home: Path
    port: int
    process: "subprocess.Popen[bytes]"
    printed: str

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def token(self) -> str:
        return next(iter(re.findall(r"cbk_\w+", self.printed)), "")

    @property
    def passwords(self) -> dict[str, str]:
        """The demo people's, by name."""
        return dict(re.findall(r"^  (editor|reviewer|admin|outsider) +(\S+) ", self.printed, re.MULTILINE))

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        request = urllib.request.Request(
            f"{self.address}{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self.token}", **headers},
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as refused:
            return refused.code, json.loads(refused.read())

    def manage(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=clean_environment(CUEBOOK_HOME=str(self.home)),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


def start(home: Path, *options: str, **environment: str) -> Instance:
    """Start an instance in a home, and return when it is ready."""
    # The inference service takes the next one.
    port = free_port(2)
    home.mkdir(exist_ok=True)
    log = home / "up.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "up", "--port", str(port), "--home", str(home), *options],
            cwd=ROOT,
            env=clean_environment(**environment),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    instance = Instance(home, port, process, "")
    try:
        instance.printed = _printed_when_ready(process, log, port)
    except BaseException:
        # What nobody would stop must not go on beside the other tests.
        instance.stop()
        raise
    return instance


def _printed_when_ready(process: "subprocess.Popen[bytes]", log: Path, port: int) -> str:
    deadline = time.monotonic() + START_SECONDS
    while f"ready http://127.0.0.1:{port}" not in (printed := log.read_text()).splitlines():
        assert process.poll() is None, printed
        assert time.monotonic() < deadline, printed
        time.sleep(0.1)
    return printed
