"""The sandbox as a real server in a thread of the tests, which set its faults and read its journal."""

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
from evaluations.sandbox.server import Sandbox


@dataclass(frozen=True)
class Running:
    url: str
    key: str

    def fault(self, kind: str, **how: Any) -> None:
        self._call("POST", "/sandbox/faults", {"kind": kind, **how})

    def fix(self) -> None:
        self._call("DELETE", "/sandbox/faults")

    def calls(self) -> list[dict[str, Any]]:
        """Every call that was charged."""
        recorded: list[dict[str, Any]] = self._call("GET", "/sandbox/journal")["calls"]
        return recorded

    def paid_twice(self) -> list[str]:
        """Names of calls that were charged more than once."""
        return [key for key, often in Counter(call["key"] for call in self.calls()).items() if often > 1]

    def jobs(self) -> list[dict[str, Any]]:
        """Every fine-tuning job that there is."""
        job_rows: list[dict[str, Any]] = self._call("GET", "/v1/fine_tuning/jobs")["data"]
        return job_rows

    def files(self) -> list[dict[str, Any]]:
        """Every file that was uploaded."""
        file_rows: list[dict[str, Any]] = self._call("GET", "/v1/files")["data"]
        return file_rows

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
def running(
    folder: Path, key: str, *, time_scale: float = 0.0, tuning_time_scale: float | None = None
) -> Iterator[Running]:
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    ports: list[int] = []

    async def serve() -> web.AppRunner:
        runner = web.AppRunner(
            Sandbox(
                Neighbours(), key=key, folder=folder, time_scale=time_scale, tuning_time_scale=tuning_time_scale
            ).application(),
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
