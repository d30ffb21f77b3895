"""A first start on a busy machine, and what an instance costs when nobody uses it.

    python benchmarks/busy_start.py

One endless loop a core takes half of the machine while an instance starts from nothing. Printed: when it was ready, how
the demo's runs ended, what was said to be too expensive (nothing should be), and, with the loops gone, the share of one
core that the instance takes two minutes after it was ready. Times are this machine's; the outcomes should hold on any.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PORT = 8097
ADDRESS = f"http://127.0.0.1:{PORT}"
READY_SECONDS = 900
DONE_SECONDS = 900
IDLE_AFTER_SECONDS = 120
MEASURED_SECONDS = 60
TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def busy_loops() -> Iterator[None]:
    """Keep every core busy, at the usual priority."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def session_seconds(leader: int) -> float:
    """Return the processor time of all living processes that a supervisor has started, in seconds."""
    parents = {}
    ticks = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, ValueError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(fields[1])
                ticks[int(entry.name)] = int(fields[11]) + int(fields[12])
    own = {leader}
    while grown := {process for process, parent in parents.items() if parent in own} - own:
        own |= grown
    return sum(ticks.get(process, 0) for process in own) / TICKS


def runs_of(home: Path) -> list[dict[str, object]]:
    token = json.loads((home / "demo.json").read_text())["token"]
    headers = {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"{ADDRESS}/api/v1/evaluations", headers=headers)  # noqa: S310 - our own address
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - our own address
        runs: list[dict[str, object]] = json.load(answer)["results"]
    return runs


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="cuebook-busy-") as folder:
        home, output = Path(folder, "home"), Path(folder, "up.log")
        command = [sys.executable, "manage.py", "up", "--port", str(PORT), "--home", str(home)]
        began = time.monotonic()
        with output.open("wb") as log:
            supervisor = subprocess.Popen(  # noqa: S603 - our own command
                command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            return measure(home, output, supervisor, began)
        finally:
            supervisor.send_signal(signal.SIGINT)
            supervisor.wait(60)


def measure(home: Path, output: Path, supervisor: "subprocess.Popen[bytes]", began: float) -> int:
    with busy_loops():
        while "\nready " not in output.read_text():
            if supervisor.poll() is not None or time.monotonic() - began > READY_SECONDS:
                print(f"Not ready:\n{output.read_text()}")
                return 1
            time.sleep(0.5)
        ready = time.monotonic()
        print(f"ready beside a loop a core:        {ready - began:6.1f} s")
        while any(run["state"] in ("pending", "running") for run in runs_of(home)):
            if time.monotonic() - ready > DONE_SECONDS:
                break
            time.sleep(2)
        runs = runs_of(home)
        print(f"runs ended after ready:            {time.monotonic() - ready:6.1f} s")
    for run in runs:
        print(f"  run {run['id']}: {run['state']}, {run['answered']} answered, {run['failed']} failed")
    logs = "".join(path.read_text(errors="replace") for path in (home / "log").glob("*.log"))
    expensive = len(re.findall("too_expensive", logs))
    print(f"said to be too expensive:          {expensive:6d}")
    print(f"a busy machine was told of:        {len(re.findall('limited.busy', logs)):6d} times (tried again)")
    time.sleep(max(0.0, IDLE_AFTER_SECONDS - (time.monotonic() - ready)))
    before = session_seconds(supervisor.pid)
    time.sleep(MEASURED_SECONDS)
    share = (session_seconds(supervisor.pid) - before) / MEASURED_SECONDS
    print(f"processor two minutes after ready: {share:6.1%} of a core, without the loops")
    is_good = all(run["state"] == "done" and not run["failed"] for run in runs) and not expensive and share < 0.05
    print("all as it should be" if is_good else "NOT as it should be")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
