"""The sandbox as a real server in a thread of the tests' own process: told what goes wrong, asked what it did."""

import asyncio
import json
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from evaluations.sandbox.neighbours import Neighbours
from evaluations.sandbox.protocol import Sandbox


@dataclass(frozen=True)
class Running:
    url: str
    key: str

    def fault(self, kind: str, **how: Any) -> None:
        self._call("POST", "/sandbox/faults", {"kind": kind, **how})

    def mend(self) -> None:
        self._call("DELETE", "/sandbox/faults")

    def calls(self) -> list[dict[str, Any]]:
        """Every call that was charged."""
        found: list[dict[str, Any]] = self._call("GET", "/sandbox/journal")["calls"]
        return found

    def paid_twice(self) -> list[str]:
        """Names of calls that were charged more than once."""
        return [key for key, often in Counter(call["key"] for call in self.calls()).items() if often > 1]

    def jobs(self) -> list[dict[str, Any]]:
        """Every fine-tuning job that there is."""
        found: list[dict[str, Any]] = self._call("GET", "/v1/fine_tuning/jobs")["data"]
        return found

    def files(self) -> list[dict[str, Any]]:
        """Every file that was uploaded."""
        found: list[dict[str, Any]] = self._call("GET", "/v1/files")["data"]
        return found

    def move(self, job: str, status: str) -> None:
        """Give a fine-tuning job a status."""
        self._call("POST", f"/sandbox/jobs/{job}", {"status": status})

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            self.url.removesuffix("/v1") + path,
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read())


@contextmanager
def running(folder: Path, key: str, *, pace: float = 0.0, tuning_pace: float | None = None) -> Iterator[Running]:
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    ports: list[int] = []

    async def serve() -> web.AppRunner:
        runner = web.AppRunner(
            Sandbox(Neighbours(), key=key, folder=folder, pace=pace, tuning_pace=tuning_pace).application(),
            access_log=None,
            shutdown_timeout=0.1,
        )
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ports.append(runner.addresses[0][1])
        return runner

    def work() -> None:
        asyncio.set_event_loop(loop)
        runner = loop.run_until_complete(serve())
        ready.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=work, name="sandbox", daemon=True)
    thread.start()
    assert ready.wait(20), "The sandbox did not start."
    try:
        yield Running(f"http://127.0.0.1:{ports[0]}/v1", key)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
