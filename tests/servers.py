"""The suite's own PostgreSQL and broker: started before Django reads its settings, stopped with the run.

A pytest plugin (`-p tests.servers`), so that plain `pytest` works too. With DATABASE_URL set nothing is started.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from config.embedded.broker import EmbeddedBroker
from config.embedded.postgres import EmbeddedPostgres

running = ExitStack()

SETTINGS = {
    "SECRET_KEY": "tests-only-" + "0123456789abcdef" * 4,
    "ENCRYPTION_KEYS": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    "ALLOWED_HOSTS": "testserver,127.0.0.1,localhost",
    "HTTPS": "0",
}


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests() -> Iterator[None]:
    # A wrapper runs before pytest-django's own hook, which imports the settings.
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    if not is_worker and "DATABASE_URL" not in os.environ:
        start()
    return (yield)


def start() -> None:
    home = Path(tempfile.mkdtemp(prefix="cuebook-tests-"))
    running.callback(shutil.rmtree, home, ignore_errors=True)
    # PostgreSQL's own account must be able to enter.
    home.chmod(0o755)
    (home / "run").mkdir()
    postgres = EmbeddedPostgres(home, log=home / "postgres.log", throw_away=True)
    running.callback(postgres.stop)
    postgres.start()
    broker = EmbeddedBroker(home, log=home / "broker.log")
    running.callback(broker.stop)
    broker.start()
    os.environ.update(SETTINGS, DATABASE_URL=postgres.url, BROKER_URL=broker.url)


def pytest_unconfigure() -> None:
    running.close()
