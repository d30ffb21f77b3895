"""Workers and beat tell that they work; who falls silent is known to /readyz, to operators, and to the supervisor."""

import socket
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.utils import timezone

from config.embedded import supervisor as supervising
from config.embedded.home import Home
from config.embedded.processes import Child
from config.embedded.supervisor import Supervisor
from registry.models import ProcessHeartbeat, ProcessKind
from registry.operations import heartbeats
from tests.http_server import Handler, serve


def record(name: str, kind: ProcessKind, *queues: str, unresponsive: bool = False) -> None:
    heartbeats.record(name, kind, queues=queues, started_at=timezone.now())
    if unresponsive:
        lapsed = timezone.now() - heartbeats.UNRESPONSIVE_AFTER - timedelta(seconds=1)
        ProcessHeartbeat.objects.filter(name=name).update(heartbeat_at=lapsed)


def test_readiness_says_who_works_and_who_is_unresponsive(db: None):
    record("worker@host", ProcessKind.WORKER, "celery")
    record("long@host", ProcessKind.WORKER, "long", unresponsive=True)
    record("beat@host", ProcessKind.BEAT)

    answer = Client().get("/readyz")

    assert answer.json() == {
        "database": True,
        "broker": answer.json()["broker"],
        "queues": {"celery": True, "long": False, "playground": False},
        "beat": True,
        "unresponsive": ["long@host"],
    }
    # Prompts are fetched without workers: no web process is taken away for them.
    assert answer.status_code == (200 if answer.json()["broker"] else 503)


def test_what_was_silent_for_a_day_is_forgotten(db: None):
    record("old@host", ProcessKind.WORKER, "celery")
    record("new@host", ProcessKind.WORKER, "celery")
    ProcessHeartbeat.objects.filter(name="old@host").update(heartbeat_at=timezone.now() - timedelta(days=2))

    heartbeats.clear_old()

    assert list(ProcessHeartbeat.objects.values_list("name", flat=True)) == ["new@host"]


class Readiness(Handler):
    """The web process, which knows that one worker is silent."""

    def get(self) -> None:
        self.answer({"unresponsive": [f"long@{socket.gethostname()}", "worker@elsewhere"]})


def test_a_worker_that_runs_and_does_no_work_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(supervising, "LIVENESS_SECONDS", 0.1)
    monkeypatch.setattr(supervising, "UNRESPONSIVE_SECONDS", 1.0)
    children = [Child(name, ["sleep", "600"], log=tmp_path / name) for name in ("worker-long", "worker")]
    for child in children:
        child.start()
    before = [child.pid for child in children]

    with serve(Readiness) as port:
        supervisor = Supervisor(Home(tmp_path), port=port, gateway_port=None, prepare=lambda _environment: None)
        watching = threading.Thread(target=supervisor._watch, args=(children,))
        watching.start()
        deadline = time.monotonic() + 50
        while "starting it again" not in capsys.readouterr().err and time.monotonic() < deadline:
            time.sleep(0.05)
        supervisor._stopping = True
        watching.join()
    after = [child.pid for child in children]
    for child in children:
        child.stop()

    assert after[0] != before[0]
    assert after[1] == before[1]
