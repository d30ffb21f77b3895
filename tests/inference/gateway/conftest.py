"""The inference service as a process of its own, beside the tests' database and the sandbox."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import openai
import pytest
from django.db import connection

from config.embedded.supervisor import free_port
from inference.models import Call
from registry.accounts import api_keys, permissions
from registry.prompts import versions
from tests.conftest import Stage
from tests.evaluations.conftest import make_model, routing
from tests.sandbox import Running, running

ROOT = Path(__file__).resolve().parents[3]
START_SECONDS = 120
TICKET = "I was charged two times this month"


@dataclass
class GatewayProcess:
    """The running service; `client` is OpenAI's own, unchanged."""

    url: str
    token: str
    spool: Path
    process: "subprocess.Popen[bytes]"
    clients: ExitStack

    @cached_property
    def client(self) -> openai.OpenAI:
        return self.client_of(self.token)

    def client_of(self, token: str) -> openai.OpenAI:
        client = openai.OpenAI(base_url=f"{self.url}/v1", api_key=token, max_retries=0)
        return self.clients.enter_context(client)

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def database_url(host: str = "", port: str = "") -> str:
    """Return the address of the tests' database, or of it behind something else."""
    database = connection.settings_dict
    server = f"host={host or database['HOST']}&port={port or database['PORT'] or 5432}"
    return f"postgresql://{database['USER']}:{database['PASSWORD']}@/{database['NAME']}?{server}"


@contextmanager
def gateway_process(spool: Path, token: str, **environment: str) -> Iterator[GatewayProcess]:
    port = free_port()
    command = [sys.executable, "-m", "granian", "--interface", "asgi", "config.gateway:app", "--host", "127.0.0.1"]
    process = subprocess.Popen(
        [*command, "--port", str(port), "--workers", "1", "--log-level", "warning"],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": database_url(), "SPOOL": str(spool), **environment},
        start_new_session=True,
    )
    clients = ExitStack()
    running_process = GatewayProcess(f"http://127.0.0.1:{port}", token, spool, process, clients)
    try:
        with clients:
            _wait_until_ready(running_process)
            yield running_process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                running_process.kill()


def _wait_until_ready(gateway: GatewayProcess) -> None:
    deadline = time.monotonic() + START_SECONDS
    while reason := _why_not_ready(gateway.url):
        assert gateway.process.poll() is None, "The inference service ended."
        assert time.monotonic() < deadline, f"The inference service is not ready: {reason}"
        time.sleep(0.1)


def _why_not_ready(url: str) -> str:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:
            return "" if answer.status == 200 else f"it answers {answer.status}"
    except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
        return str(error) or type(error).__name__


@pytest.fixture
def live_sandbox(settings: Any, tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path / "sandbox", settings.SANDBOX_KEY) as server:
        settings.SANDBOX_URL = server.url
        yield server


@pytest.fixture
def token(live_stage: Stage) -> str:
    actor = permissions.actor_for_command_line(live_stage.project)
    return api_keys.issue(actor, name="service", scopes=["infer"])[1]


@pytest.fixture
def gateway(live_stage: Stage, live_sandbox: Running, token: str, tmp_path: Path) -> Iterator[GatewayProcess]:
    make_model(live_stage)
    with gateway_process(tmp_path / "spool", token, SANDBOX_URL=live_sandbox.url) as process:
        yield process


@pytest.fixture
def live(live_stage: Stage) -> Any:
    """A prompt that is live in production."""
    version = versions.commit(
        live_stage.edith, live_stage.prompt("support.route"), content=routing(), message="first"
    ).version
    live_stage.release(version)
    return version


def recorded(count: int) -> list[Call]:
    """Wait until so many calls are recorded."""
    deadline = time.monotonic() + 30
    while Call.objects.count() < count and time.monotonic() < deadline:
        time.sleep(0.1)
    calls = list(Call.objects.order_by("at", "id"))
    assert len(calls) == count
    return calls


def code_of(ask: Callable[[], object]) -> str:
    """Return the code of a refusal; empty for an answer."""
    try:
        ask()
    except openai.APIStatusError as error:
        return str(error.code)
    return ""


def until(ask: Callable[[], str], code: str) -> bool:
    """Ask until this comes back; false where it does not within ten seconds."""
    deadline = time.monotonic() + 10
    while ask() != code:
        if time.monotonic() > deadline:
            return False
    return True
