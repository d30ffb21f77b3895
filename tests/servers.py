"""The suite's own PostgreSQL and broker: started before Django reads its settings, stopped with the run.

A pytest plugin (`-p tests.servers`), so that plain `pytest` works too. With DATABASE_URL set nothing is started.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from config.embedded.broker import EmbeddedBroker
from config.embedded.postgres import DATABASE, EmbeddedPostgres

running = ExitStack()
ROOT = Path(__file__).resolve().parent.parent

SETTINGS = {
    "SECRET_KEY": "tests-only-" + "0123456789abcdef" * 4,
    "ENCRYPTION_KEYS": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    "ALLOWED_HOSTS": "testserver,127.0.0.1,localhost",
    "HTTPS": "0",
}
# The folder that all processes of a run share, by environment: they are its children.
SHARED = "CUEBOOK_TESTS"
MIGRATE_SECONDS = 300


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
    os.environ.update(SETTINGS, DATABASE_URL=postgres.url, BROKER_URL=broker.url, **{SHARED: str(home)})
    migrate(home)


def migrate(home: Path) -> None:
    """Begin to migrate the database that the tests' databases are copies of, while tests are collected."""
    ended, output = home / "migrated", home / "migrate.log"
    script = f'"{sys.executable}" manage.py migrate --no-input -v 0 >"{output}" 2>&1; echo $? >"{ended}.partial"'
    migrating = subprocess.Popen(["/bin/sh", "-c", f'{script}; mv "{ended}.partial" "{ended}"'], cwd=ROOT)
    # First in, last out: it is waited for before the server stops.
    running.callback(migrating.wait)


def template() -> str | None:
    """Return the name of the migrated database to copy, once it is migrated; None where the database is not ours."""
    if SHARED not in os.environ:
        return None
    home = Path(os.environ[SHARED])
    deadline = time.monotonic() + MIGRATE_SECONDS
    while not (home / "migrated").exists():
        assert time.monotonic() < deadline, f"Migrating took more than {MIGRATE_SECONDS} s."
        time.sleep(0.1)
    assert (home / "migrated").read_text().strip() == "0", (home / "migrate.log").read_text()
    return DATABASE


def pytest_unconfigure() -> None:
    running.close()
