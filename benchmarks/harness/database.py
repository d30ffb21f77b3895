"""A PostgreSQL of its own for a benchmark, as durable as in use, with Django set up on it."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import django
from django.core.management import call_command

from config.embedded.postgres import EmbeddedPostgres
from tests.servers import SETTINGS


@contextmanager
def fresh_database() -> Iterator[None]:
    """Start a server in a temporary directory, migrate, and stop it at the end."""
    with tempfile.TemporaryDirectory(prefix="cuebook-benchmark-") as directory:
        home = Path(directory)
        home.chmod(0o755)
        (home / "run").mkdir()
        server = EmbeddedPostgres(home, log=home / "postgres.log")
        try:
            server.start()
            os.environ.update(SETTINGS, DATABASE_URL=server.url, BROKER_URL="redis://127.0.0.1:1/0")
            os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
            django.setup()
            call_command("migrate", verbosity=0)
            yield
        finally:
            server.stop()
