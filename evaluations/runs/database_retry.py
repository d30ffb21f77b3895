"""Retries of database access while a run is worked on: paid answers must not be lost where the database is away."""

import logging
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from django.db import InterfaceError, OperationalError, connection

from evaluations.models import Run

logger = logging.getLogger(__name__)

# The time for which a database that is away is waited for.
MAX_WAIT_SECONDS = 120.0
PAUSE_SECONDS = 0.5
T = TypeVar("T")


def retry_database(run: Run, do: Callable[[], T]) -> T:
    """Call `do`, and call it again where the database is away, for some minutes."""
    for pause in _pauses():
        try:
            return do()
        except (OperationalError, InterfaceError) as error:
            logger.warning("run.database_away run=%s %s", run.pk, error)
            connection.close()
            time.sleep(pause)
    return do()


def _pauses() -> Iterator[float]:
    until = time.monotonic() + MAX_WAIT_SECONDS
    while time.monotonic() < until:
        yield PAUSE_SECONDS
