"""A llama.cpp server for one base and its adapters: started, watched, and replaced without cutting a call short."""

import asyncio
import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from evaluations.local.lifeline import KEY_VARIABLE

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
# A start takes seconds; beside much other work, minutes.
START_SECONDS = 600.0
CHECK_SECONDS = 0.1
RESTART_SECONDS = 1.0
MAX_STARTS = 3
LOG_TAIL_CHARACTERS = 500
# The checkout, from which modules are run.
ROOT = Path(__file__).resolve().parents[2]


class EngineError(Exception):
    """llama.cpp did not start, and the end of what it said."""


@dataclass(frozen=True)
class Adapter:
    """A tuned model: a base with this file beside it."""

    model: str
    path: Path


@dataclass(frozen=True)
class ServerSettings:
    """How a base is served. `context`: tokens of a slot."""

    path: Path
    key: str
    log: Path
    slots: int = 2
    context: int = 4096
    threads: int = 2


class LlamaProcess:
    """One process of llama.cpp, which has the adapters that there were at its start."""

    def __init__(self, settings: ServerSettings, adapters: Sequence[Adapter]) -> None:
        self._settings = settings
        self.adapters = tuple(adapters)
        self.url = ""
        self._process: asyncio.subprocess.Process | None = None
        self._in_flight = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    async def start(self) -> None:
        """Start it, and wait until it answers. EngineError where it ends instead."""
        settings = self._settings
        port = _free_port()
        arguments = ["--port", str(port), "--slots", str(settings.slots), "--context", str(settings.context)]
        arguments += ["--threads", str(settings.threads)]
        for adapter in self.adapters:
            arguments += ["--adapter", str(adapter.path)]
        with settings.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "evaluations.local.llama_process", str(settings.path), *arguments),
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, KEY_VARIABLE: settings.key},
            )
        self.url = f"http://{HOST}:{port}"
        until = time.monotonic() + START_SECONDS
        async with aiohttp.ClientSession() as session:
            while time.monotonic() < until and self._process.returncode is None:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with session.get(f"{self.url}/health", timeout=aiohttp.ClientTimeout(total=5)) as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(CHECK_SECONDS)
        await self.stop()
        raise EngineError(f"llama.cpp did not start: {self._log_tail()}")

    async def wait(self) -> None:
        """Wait until the process ends, however it does."""
        assert self._process is not None  # noqa: S101 - it was started
        await self._process.wait()

    @asynccontextmanager
    async def call(self) -> AsyncIterator[None]:
        """Count a call that is in flight."""
        self._in_flight += 1
        self._is_idle.clear()
        try:
            yield
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._is_idle.set()

    async def drain_and_stop(self) -> None:
        """End it after its last call."""
        await self._is_idle.wait()
        await self.stop()

    async def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    def _log_tail(self) -> str:
        return self._settings.log.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL_CHARACTERS:].strip()


class LlamaServer:
    """The processes of one base: one that answers, and for the time of a change another that takes over. `adapters`
    returns those that there are, whenever a process starts."""

    def __init__(self, settings: ServerSettings, adapters: Callable[[], Sequence[Adapter]]) -> None:
        self.settings = settings
        self._adapters = adapters
        self._current: LlamaProcess | None = None
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_stopping = False

    @property
    def url(self) -> str:
        """Where it answers at the moment."""
        return self._current.url if self._current else ""

    @property
    def adapters(self) -> Sequence[Adapter]:
        """The adapters that are answered with at the moment."""
        return self._current.adapters if self._current else ()

    async def start(self) -> None:
        """Begin to answer. The base answers also where its adapters keep llama.cpp from starting, and then alone."""
        async with self._lock:
            try:
                process = await self._started(self._adapters())
            except EngineError:
                log.exception("not with the adapters")
                process = await self._started(())
            self._switch_to(process)

    async def reload(self) -> None:
        """Answer with the adapters of now. Calls in flight are ended by the process that began them. EngineError: it
        goes on answering as it did."""
        async with self._lock:
            self._switch_to(await self._started(self._adapters()))

    def _switch_to(self, process: LlamaProcess) -> None:
        before, self._current = self._current, process
        self._in_background(self._watch(process))
        if before:
            self._in_background(before.drain_and_stop())

    async def _started(self, adapters: Sequence[Adapter]) -> LlamaProcess:
        """Return a process that answers; one whose port was taken meanwhile, or that was killed, is tried again."""
        for _ in range(MAX_STARTS - 1):
            with contextlib.suppress(EngineError):
                return await self._started_once(adapters)
        return await self._started_once(adapters)

    async def _started_once(self, adapters: Sequence[Adapter]) -> LlamaProcess:
        process = LlamaProcess(self.settings, adapters)
        await process.start()
        return process

    async def stop(self) -> None:
        self._is_stopping = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._current:
            await self._current.stop()

    @asynccontextmanager
    async def call(self, tuned: str = "") -> AsyncIterator[tuple[str, Mapping[str, object]]]:
        """Yield where a call is sent, and what is added to its body: which adapter it turns on, none for the base."""
        process = self._current
        if process is None:
            raise EngineError("llama.cpp does not run.")
        if tuned and tuned not in [adapter.model for adapter in process.adapters]:
            # The base would answer under its name.
            raise EngineError(f"{tuned} is not served at the moment.")
        async with process.call():
            scales = [
                {"id": index, "scale": 1.0 if adapter.model == tuned else 0.0}
                for index, adapter in enumerate(process.adapters)
            ]
            yield process.url, {"lora": scales} if scales else {}

    async def _watch(self, process: LlamaProcess) -> None:
        """Start again what ends by itself."""
        await process.wait()
        while process is self._current and not self._is_stopping:
            await asyncio.sleep(RESTART_SECONDS)
            async with self._lock:
                # Another with newer adapters may have taken over while this waited.
                if process is self._current:
                    with contextlib.suppress(EngineError):
                        self._switch_to(await self._started(self._adapters()))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _free_port() -> int:
    """Return a port that nothing listens on at the moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
