"""One process that starts the private servers, then web, worker and beat, and stops them all in order."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from celery import Celery

from config import environment
from config.embedded.broker import EmbeddedBroker, requeue_unfinished_tasks
from config.embedded.home import Home, Instance
from config.embedded.postgres import EmbeddedPostgres
from config.embedded.processes import Child, ChildError

CHECKOUT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
# Below those of outgoing connections (Linux: 32768, others 49152), above those that services are known by.
PORTS = (15_000, 32_000)
# On a busy machine a start takes minutes.
START_SECONDS = 600
CHECK_SECONDS = 0.5
LIVENESS_SECONDS = 30.0
# A child that ends is started again after a growing pause; one that ran this long starts with a clean record.
RESTART_PAUSE_SECONDS = (0.5, 1, 2, 5, 10, 30)
STABLE_SECONDS = 60
# As registry.operations.heartbeats has it, and the time of a start.
UNRESPONSIVE_SECONDS = 300
CELERY = (sys.executable, "-m", "celery", "--app", "config")
WORKER = ("worker", "--loglevel", "info", "--without-gossip", "--without-mingle")
GRANIAN = (
    *(sys.executable, "-m", "granian", "--interface", "wsgi", "config.wsgi:application", "--host", HOST),
    *("--workers", "1", "--blocking-threads", "64", "--no-ws"),
    *("--respawn-failed-workers", "--workers-kill-timeout", "5", "--log-level", "warning"),
)
GATEWAY = (
    *(sys.executable, "-m", "granian", "--interface", "asgi", "config.gateway:app", "--host", HOST, "--workers", "1"),
    *("--no-ws", "--respawn-failed-workers", "--workers-kill-timeout", "5", "--log-level", "warning"),
)
# Long tasks are not waited for: their rows say what is left to do, and the next start continues them.
QUICK_STOP: dict[str, Any] = {"stop_signal": signal.SIGQUIT, "stop_seconds": 3}


class Supervisor:
    """Runs one instance until SIGINT or SIGTERM; with `after_local_engine` a local engine too, and calls it when that
    answers.

    Start: private servers, `prepare` (migrations and the demo), tasks of a killed worker, then web, the inference
    service, workers and beat.
    Stop: the other way round. A child that ends by itself is started again.
    """

    def __init__(
        self,
        home: Home,
        *,
        port: int,
        gateway_port: int | None,
        prepare: Callable[[dict[str, str]], None],
        after_local_engine: Callable[[dict[str, str]], None] | None = None,
    ) -> None:
        self._home = home
        self._port = port
        # The next one, unless something has it.
        # The next port, where something else listens on it: services that knew it have to be told another.
        self.taken_port = 0 if gateway_port or is_free(port + 1) else port + 1
        self._gateway_port = gateway_port or (free_port() if self.taken_port else port + 1)
        self._prepare = prepare
        self._stopping = False
        self._database_url = environment.secret("DATABASE_URL")
        self._broker_url = environment.secret("BROKER_URL")
        self.address = f"http://{HOST}:{port}"
        self.gateway_address = f"http://{HOST}:{self._gateway_port}"
        self._sandbox_port = 0
        self._local_port = 0
        self._after_local_engine = after_local_engine

    def run(self, on_ready: Callable[[], None]) -> None:
        """Start everything, call `on_ready` when the first request would be answered, and stay until told to stop."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        self._home.prepare()
        with self._home.lock(), ExitStack() as stack:
            refuse_taken_port(self._port)
            refuse_taken_port(self._gateway_port, "--gateway-port")
            self._sandbox_port = free_port()
            if self._after_local_engine:
                self._local_port = free_port()
            say("Starting the database and the broker …")
            children = self._start_servers(stack)
            child_environment = self._announce(stack)
            say("Preparing the database; the first time this takes a while …")
            self._prepare(child_environment)
            say("Starting web, workers and beat …")
            requeue_unfinished_tasks(Celery(broker=self._broker_url))
            programs = self._programs(child_environment)
            for program in programs:
                stack.callback(program.stop)
                program.start()
            for program, address in zip(programs, (self.address, self.gateway_address), strict=False):
                program.wait_until(partial(self._answers, address), seconds=START_SECONDS)
            if self._after_local_engine:
                say("Waiting for the local model …")
                local = next(program for program in programs if program.name == "local")
                local.wait_until(partial(listens, self._local_port), seconds=START_SECONDS)
                self._after_local_engine(child_environment)
            if not self._stopping:
                on_ready()
            self._watch([*children, *programs])
            for program in programs:
                program.request_stop()

    def _start_servers(self, stack: ExitStack) -> list[Child]:
        children = []
        self._home.ensure_secrets()
        if not self._database_url:
            postgres = EmbeddedPostgres(self._home.root, log=self._home.log / "postgres.log")
            stack.callback(postgres.stop)
            postgres.start()
            self._database_url = postgres.url
            children.append(postgres.child)
            if postgres.data.parent != self._home.root:
                sys.stdout.write(
                    f"The database's account cannot reach {self._home.root}; its data is in {postgres.data}.\n"
                )
        if not self._broker_url:
            broker = EmbeddedBroker(self._home.root, log=self._home.log / "broker.log")
            stack.callback(broker.stop)
            broker.start()
            self._broker_url = broker.url
            children.append(broker.child)
        return children

    def _announce(self, stack: ExitStack) -> dict[str, str]:
        """Write the instance file for other commands; returns the environment of our own children."""
        self._home.announce(
            Instance(
                pid=os.getpid(),
                address=self.address,
                database_url=self._database_url,
                broker_url=self._broker_url,
                sandbox_url=f"http://{HOST}:{self._sandbox_port}/v1",
                gateway_url=self.gateway_address,
                local_url=f"http://{HOST}:{self._local_port}/v1" if self._local_port else "",
            )
        )
        stack.callback(self._home.withdraw)
        return {
            **os.environ,
            "CUEBOOK_HOME": str(self._home.root),
            "PYTHONUNBUFFERED": "1",
            "C_FORCE_ROOT": "1",
        }

    def _programs(self, child_environment: dict[str, str]) -> list[Child]:
        """Return web, the inference service, workers, sandbox and beat, in the order in which they start."""

        def program(name: str, *command: str, extra: dict[str, str] | None = None, **how: Any) -> Child:
            log = self._home.log / f"{name}.log"
            environment = {**child_environment, **(extra or {})}
            return Child(name, command, log=log, environment=environment, directory=CHECKOUT, **how)

        def worker(name: str, queue: str, *flags: str, **how: Any) -> Child:
            own = ("--queues", queue, "--hostname", f"{name.removeprefix('worker-')}@%h", *flags)
            # Without a supervisor, broker and database end too, and a worker that shuts down cleanly may wait for ever.
            return program(name, *CELERY, *WORKER, *own, death_signal=signal.SIGKILL, **how)

        sandbox = (sys.executable, "manage.py", "sandbox", "--port", str(self._sandbox_port))
        local = (sys.executable, "manage.py", "local_engine", "--port", str(self._local_port))
        schedule = self._home.run / "beat-schedule"
        return [
            program("web", *GRANIAN, "--port", str(self._port), extra={"DATABASE_POOL_SIZE": "16"}),
            program("gateway", *GATEWAY, "--port", str(self._gateway_port)),
            worker("worker", "celery", "--concurrency", "2", stop_seconds=10),
            worker("worker-long", "long", "--concurrency", "2", **QUICK_STOP),
            # It waits for models, not for the processor: threads suffice, and no user waits behind another.
            worker("worker-playground", "playground", "--pool", "threads", "--concurrency", "8", **QUICK_STOP),
            program("sandbox", *sandbox, death_signal=signal.SIGKILL),
            *([program("local", *local)] if self._local_port else []),
            program("beat", *CELERY, "beat", "--loglevel", "info", "--schedule", str(schedule)),
        ]

    def _answers(self, address: str) -> bool:
        if self._stopping:
            return True
        try:
            with urllib.request.urlopen(f"{address}/readyz", timeout=5) as answer:  # noqa: S310 - our own address
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def _unresponsive(self, children: Sequence[Child]) -> list[Child]:
        """Return the workers and the beat that have not told of themselves for long, as /readyz knows."""
        try:
            with urllib.request.urlopen(f"{self.address}/readyz", timeout=5) as answer:  # noqa: S310 - our own address
                names = set(json.load(answer).get("unresponsive", ()))
        except (urllib.error.URLError, ConnectionError, TimeoutError, ValueError):
            return []
        # The database may know workers of other machines, too.
        host = socket.gethostname()
        return [child for child in children if f"{child.name.removeprefix('worker-')}@{host}" in names]

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _watch(self, children: list[Child]) -> None:
        failures = dict.fromkeys(children, 0)
        started = dict.fromkeys(children, time.monotonic())
        restart_at = dict.fromkeys(children, 0.0)
        looked_at = time.monotonic()
        while not self._stopping:
            now = time.monotonic()
            if now - looked_at > LIVENESS_SECONDS:
                looked_at = now
                for child in self._unresponsive(children):
                    # It ran for as long as silence takes, so this is a new silence and not the one before its start.
                    if now - started[child] > UNRESPONSIVE_SECONDS:
                        sys.stderr.write(f"{child.name} runs but does no work; starting it again ({child.log}).\n")
                        child.stop()
                        started[child] = now
                        child.start()
            for child in children:
                if child.exit_code() is None:
                    continue
                if not restart_at[child]:
                    if now - started[child] > STABLE_SECONDS:
                        failures[child] = 0
                    pause = RESTART_PAUSE_SECONDS[min(failures[child], len(RESTART_PAUSE_SECONDS) - 1)]
                    sys.stderr.write(
                        f"{child.name} ended with code {child.exit_code()}; again in {pause} s ({child.log}).\n"
                    )
                    restart_at[child] = now + pause
                elif now >= restart_at[child]:
                    failures[child] += 1
                    restart_at[child] = 0.0
                    started[child] = now
                    child.start()
            time.sleep(CHECK_SECONDS)


def say(sentence: str) -> None:
    """Tell what is being done: on a slow machine each step takes a minute."""
    sys.stdout.write(f"{sentence}\n")
    sys.stdout.flush()


def run_command(child_environment: dict[str, str], *arguments: str) -> None:
    """Run `manage.py <arguments>` against the instance; ChildError with its output where it fails."""
    result = subprocess.run(  # noqa: S603 - our own commands
        [sys.executable, "manage.py", *arguments],
        env=child_environment,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
    )
    if result.returncode:
        raise ChildError(f"manage.py {arguments[0]} failed.\n{result.stderr.strip() or result.stdout.strip()}")


def free_port(count: int = 1) -> int:
    """Return a port that nothing listens on at the moment, nor on the `count` - 1 after it.

    It is none of those that the system gives to outgoing connections: one of those would take it before it is used."""
    while True:
        port = random.randrange(*PORTS)  # noqa: S311 - no secret
        if all(is_free(port + place) for place in range(count)):
            return port


def listens(port: int) -> bool:
    """Return whether a server listens on the port."""
    try:
        socket.create_connection((HOST, port), timeout=5).close()
    except OSError:
        return False
    return True


def is_free(port: int) -> bool:
    """Return whether nothing listens on the port at the moment."""
    try:
        refuse_taken_port(port)
    except (ChildError, OverflowError):
        return False
    return True


def refuse_taken_port(port: int, option: str = "--port") -> None:
    """Raise ChildError where something else listens on the port, before anything is started."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ChildError(
                f"Port {port} on {HOST} cannot be used ({error.strerror}). Choose another: manage.py up {option} N"
            ) from error
