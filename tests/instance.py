"""A real instance for tests: `manage.py up` in a home of its own, over HTTP, until it is stopped."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 120


def clean_environment(**extra: str) -> dict[str, str]:
    """Nothing of the suite's own servers: the instance must start its own."""
    kept_variables = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
    # Two cores embed the demo's tickets in half a minute, which every instance would spend beside what is tested.
    return {**kept_variables, "EMBEDDINGS_LOCAL": "0", **extra}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
    port = free_port()
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
    deadline = time.monotonic() + START_SECONDS
    while f"ready http://127.0.0.1:{port}" not in (printed := log.read_text()).splitlines():
        assert process.poll() is None, printed
        assert time.monotonic() < deadline, printed
        time.sleep(0.1)
    return Instance(home, port, process, printed)
