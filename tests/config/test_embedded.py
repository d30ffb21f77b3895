"""The private servers: long paths, half-made clusters, and tasks that a killed worker had taken."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
import redis
from celery import Celery
from django.test import Client
from kombu import Connection

from config.embedded.broker import EmbeddedBroker, requeue_unfinished_tasks
from config.embedded.postgres import EmbeddedPostgres
from config.embedded.processes import Child, ChildError

ROOT = Path(__file__).resolve().parents[2]
TAKE_AND_DIE = """
import os, sys
from kombu import Connection
with Connection(sys.argv[1]) as connection:
    assert connection.SimpleQueue("work").get(timeout=5).payload == "the task"
    os._exit(9)
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """A home whose path is far too long for a unix socket."""
    base = Path(tempfile.mkdtemp(prefix="cuebook-"))
    base.chmod(0o755)
    home = base / ("a-long-name-" * 10)
    (home / "run").mkdir(parents=True)
    yield home
    shutil.rmtree(base)


@pytest.fixture
def broker(home: Path) -> Iterator[EmbeddedBroker]:
    broker = EmbeddedBroker(home, log=home / "broker.log")
    broker.start()
    yield broker
    broker.stop()


def test_a_task_that_a_killed_worker_had_taken_is_given_back(broker: EmbeddedBroker):
    with Connection(broker.url) as connection:
        connection.SimpleQueue("work").put("the task")
    died = subprocess.run([sys.executable, "-c", TAKE_AND_DIE, broker.url], cwd=ROOT, timeout=30)
    assert died.returncode == 9
    with Connection(broker.url) as connection, pytest.raises(Empty):
        connection.SimpleQueue("work").get(block=False)

    assert requeue_unfinished_tasks(Celery(broker=broker.url)) == 1

    with Connection(broker.url) as connection:
        message = connection.SimpleQueue("work").get(timeout=5)
        assert message.payload == "the task"
        message.ack()
    assert requeue_unfinished_tasks(Celery(broker=broker.url)) == 0


def test_the_queue_survives_a_killed_broker(broker: EmbeddedBroker):
    with Connection(broker.url) as connection:
        connection.SimpleQueue("kept").put("the task")
    # "everysec" promises what is older than a second; on a slow disk the broker holds back its writes that long.
    # WAITAOF waits for its own connection's writes, and those before them: so this connection writes as well.
    with redis.Redis(unix_socket_path=str(broker.socket), single_connection_client=True) as client:
        client.set("written", "after the task")
        assert client.waitaof(1, 0, 20_000)[0] == 1
    os.kill(broker.child.pid, signal.SIGKILL)
    while broker.child.exit_code() is None:
        time.sleep(0.05)

    broker.start()

    with Connection(broker.url) as connection:
        assert connection.SimpleQueue("kept").get(timeout=5).payload == "the task"


def test_postgresql_starts_below_a_long_path_and_cleans_up_its_socket(home: Path):
    server = EmbeddedPostgres(home, log=home / "postgres.log", throw_away=True)
    sockets = Path(server.url.partition("host=")[2].partition("&")[0].replace("%2F", "/"))
    assert len(str(sockets)) < 40

    server.start()
    assert server.answers()
    server.stop()

    assert not server.answers()
    assert not sockets.exists()


def test_a_half_made_cluster_is_made_again(home: Path):
    server = EmbeddedPostgres(home, log=home / "postgres.log", throw_away=True)
    partial = server.data.with_name("postgres.partial")
    partial.mkdir(parents=True)
    (partial / "PG_VERSION").write_text("18\n")

    server.start()
    server.stop()

    assert (server.data / "global").exists()


def test_a_server_that_does_not_start_says_why(home: Path):
    child = Child("A server", ["/bin/sh", "-c", "echo the reason; exit 3"], log=home / "log")
    child.start()

    with pytest.raises(ChildError, match=r"(?s)A server ended with code 3.*the reason"):
        child.wait_until(lambda: False, seconds=10)


def test_health_is_answered_whatever_the_host(db: None):
    client = Client()

    assert client.get("/healthz", headers={"Host": "10.0.0.7"}).status_code == 200
    checks = client.get("/readyz", headers={"Host": "10.0.0.7"}).json()
    assert (checks["database"], checks["broker"]) == (True, True)


def test_readiness_says_what_is_missing(db: None, settings: object):
    settings.BROKER_URL = "redis://127.0.0.1:1/0"  # type: ignore[attr-defined]

    response = Client().get("/readyz")

    checks = response.json()
    assert (response.status_code, checks["database"], checks["broker"]) == (503, True, False)


def test_metrics_count_requests(db: None, settings: Any):
    settings.PRODUCTION = False
    client = Client()
    client.get("/login/")

    assert 'cuebook_request_seconds_count{area="pages",status="2xx"}' in client.get("/metrics").content.decode()
