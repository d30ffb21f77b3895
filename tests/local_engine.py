"""A real local engine in a process of its own, with a tiny model."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import openai

from config.embedded.supervisor import free_port

ROOT = Path(__file__).resolve().parents[1]
KEY = "the-engine's-key"
START_SECONDS = 120


class RefusedError(Exception):
    """The engine refused a request, with a status and in words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status, self.message = status, message


@dataclass
class Engine:
    """A running engine; `restart` ends it as a crash would and starts another on the same folder."""

    model: Path
    folder: Path
    slots: int = 2
    context: int = 256
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @cached_property
    def openai(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=self.url, api_key=KEY, max_retries=0, timeout=120)

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "engine.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "evaluations.local", "--port", str(self.port)),
                    *("--folder", str(self.folder), "--model", str(self.model)),
                    *("--slots", str(self.slots), "--context", str(self.context), "--threads", "1"),
                ],
                cwd=ROOT,
                env={**os.environ, "CUEBOOK_LOCAL_KEY": KEY},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                self.get("/v1/models")
                return
            except (urllib.error.URLError, ConnectionError):
                log_text = (self.folder / "engine.log").read_text()
                assert self.process.poll() is None, log_text
                assert time.monotonic() < until, log_text
                time.sleep(0.1)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(how)
        self.process.wait(60)
        self.openai.close()
        del self.openai

    def restart(self) -> None:
        self.stop(signal.SIGKILL)
        self.start()

    def get(self, path: str) -> Any:
        return self._ask(path, None)

    def post(self, path: str, document: Mapping[str, Any]) -> Any:
        return self._ask(path, document)

    def _ask(self, path: str, document: Mapping[str, Any] | None) -> Any:
        return self.send(path, None if document is None else json.dumps(document).encode())

    def send(self, path: str, data: bytes | None, content_type: str = "application/json") -> Any:
        """Send a body as it is. RefusedError where the engine refuses it."""
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": content_type}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise RefusedError(error.code, json.load(error)["error"]["message"]) from None

    def upload(self, examples: list[dict[str, Any]]) -> str:
        data = "".join(json.dumps(example) + "\n" for example in examples).encode()
        return self.openai.files.create(file=("train.jsonl", data), purpose="fine-tune").id

    def tune(self, examples: list[dict[str, Any]], *, validation: str | None = None, **settings: Any) -> str:
        method = {"type": "supervised", "supervised": {"hyperparameters": settings}}
        body = {"model": "tiny", "training_file": self.upload(examples), "method": method, "suffix": "test"}
        job = self.post("/v1/fine_tuning/jobs", {**body, "validation_file": validation})
        return str(job["id"])

    def job(self, key: str) -> Any:
        return self.get(f"/v1/fine_tuning/jobs/{key}")

    def wait(self, key: str, *statuses: str, seconds: float = 180) -> Any:
        until = time.monotonic() + seconds
        while (job := self.job(key))["status"] not in (statuses or ("succeeded", "failed", "cancelled")):
            assert time.monotonic() < until, self.get(f"/v1/fine_tuning/jobs/{key}/events")
            time.sleep(0.05)
        return job

    def messages(self, key: str) -> list[str]:
        """Return what a job said, the oldest first."""
        events = self.get(f"/v1/fine_tuning/jobs/{key}/events")["data"]
        return [event["message"] for event in reversed(events)]

    def children(self, part: str) -> list[int]:
        """Return the processes of this engine whose command line has this text."""
        rows = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if part in command and (str(self.folder) in command or str(self.model) in command):
                rows.append(int(path.parent.name))
        return rows


@contextmanager
def running_engine(model: Path, folder: Path, **settings: Any) -> Iterator[Engine]:
    engine = Engine(model, folder, **settings)
    try:
        engine.start()
        yield engine
    finally:
        engine.stop()


def examples(count: int, answer: str = "ab") -> list[dict[str, Any]]:
    """Chats that all have one answer, which is soon learned."""
    return [
        {
            "messages": [
                {"role": "user", "content": f"Question {number}"},
                {"role": "assistant", "content": answer},
            ]
        }
        for number in range(count)
    ]
