"""Requests over kept connections to one address, and how long each took: by wrk where it is installed, else by threads.

Bounded: a given number of seconds, loopback only.
"""

import re
import shutil
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from functools import partial
from itertools import count
from urllib.parse import urlsplit

from benchmarks.harness.figures import percentile

UNITS = {"us": 0.001, "ms": 1.0, "s": 1_000.0}


@dataclass(frozen=True)
class Load:
    """Requests a second, and milliseconds that half of them, and all but one in a hundred, stayed within."""

    rate: float
    p50: float
    p99: float
    failed: int


def run(url: str, headers: dict[str, str], *, seconds: float, connections: int) -> Load:
    """Ask as fast as it goes, over so many connections."""
    if urlsplit(url).hostname != "127.0.0.1":
        raise ValueError("Load is sent to this machine alone.")
    wrk = shutil.which("wrk")
    ask = partial(_wrk, wrk) if wrk else _threads
    return ask(url, headers, seconds, connections)


def run_at(rate: float, url: str, headers: dict[str, str], *, seconds: float, connections: int) -> Load:
    """Ask at a fixed rate, over so many connections. A time counts from when the request was due: a server that is late
    with one answer is late with those that wait behind it."""
    if urlsplit(url).hostname != "127.0.0.1":
        raise ValueError("Load is sent to this machine alone.")
    return _threads(url, headers, seconds, connections, rate=rate)


def tool() -> str:
    return "wrk, 1 thread" if shutil.which("wrk") else "Python threads"


def _wrk(program: str, url: str, headers: dict[str, str], seconds: float, connections: int) -> Load:
    named = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    command = [program, "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--latency", *named, url]
    report = subprocess.run(  # noqa: S603 - wrk, found by its name
        command, capture_output=True, text=True, check=True, timeout=seconds + 30
    ).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", report)
    if rate is None:
        raise RuntimeError(report)
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", report)
    return Load(float(rate[1]), _within(report, "50%"), _within(report, "99%"), int(wrong[1]) if wrong else 0)


def _within(report: str, share: str) -> float:
    match = re.search(rf"{share}\s+([\d.]+)(us|ms|s)", report)
    return float(match[1]) * UNITS[match[2]] if match else float("nan")


def _threads(url: str, headers: dict[str, str], seconds: float, connections: int, rate: float | None = None) -> Load:
    parts = urlsplit(url)
    lines = ["", f"Host: {parts.netloc}", *(f"{name}: {value}" for name, value in headers.items())]
    rest = ("\r\n".join(lines) + "\r\n\r\n").encode()
    taken: list[float] = []
    failed = [0]
    start = time.perf_counter()
    end = start + seconds

    def due(turn: int) -> float:
        """When a connection's next request goes: at its turn, or at once."""
        if rate is None:
            return time.perf_counter()
        moment = start + turn / rate
        time.sleep(max(0.0, moment - time.perf_counter()))
        return moment

    def ask(place: int) -> None:
        own = []
        with socket.create_connection((parts.hostname or "", parts.port or 80)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            turns = count(place, connections)
            while (began := due(next(turns))) < end:
                query = f"?{parts.query}" if parts.query else ""
                connection.sendall(f"GET {parts.path}{query} HTTP/1.1".encode() + rest)
                failed[0] += not _answer(connection)
                own.append((time.perf_counter() - began) * 1_000)
        taken.extend(own)

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken.sort()
    return Load(len(taken) / seconds, percentile(taken, 50), percentile(taken, 99), failed[0])


def _answer(connection: socket.socket) -> bool:
    """Read one answer to its end; whether it was well."""
    read = connection.recv(65_536)
    while b"\r\n\r\n" not in read:
        read += connection.recv(65_536)
    head, _, body = read.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    left = (int(length[1]) if length else 0) - len(body)
    while left > 0:
        left -= len(connection.recv(65_536))
    return head.split(b" ", 2)[1] in (b"200", b"304")
