"""Heartbeats of this process, if it is a worker or beat (registry.operations.heartbeats)."""

import logging
import socket
import time
from datetime import UTC, datetime
from typing import Any

from celery.signals import after_task_publish, beat_init, celeryd_after_setup, heartbeat_sent, worker_shutdown
from django.db import Error as DatabaseError
from django.db import connection

logger = logging.getLogger(__name__)


class Pulse:
    """The heartbeats of one process: one row, written now and then by whoever shows that the process works."""

    def __init__(self) -> None:
        self.name = ""
        self._kind = ""
        self._queues: list[str] = []
        self._started_at = datetime.now(UTC)
        self._heartbeat_at = 0.0

    def be(self, name: str, kind: str, queues: list[str]) -> None:
        self.name, self._kind, self._queues, self._heartbeat_at = name, kind, queues, 0.0
        self._started_at = datetime.now(UTC)

    def beat(self) -> None:
        """Write the heartbeat where it is due. Without a database the next one may come through."""
        # Models can be imported only when Django is set up.
        from registry.models import ProcessKind  # noqa: PLC0415
        from registry.operations import heartbeats  # noqa: PLC0415

        now = time.monotonic()
        if not self.name or now - self._heartbeat_at < heartbeats.HEARTBEAT_SECONDS:
            return
        self._heartbeat_at = now
        try:
            heartbeats.record(self.name, ProcessKind(self._kind), queues=self._queues, started_at=self._started_at)
        except DatabaseError as error:
            logger.warning("heartbeat.not_written %s", error)
        finally:
            # A worker forks: its children must not share a connection.
            connection.close()

    def end(self) -> None:
        from registry.operations import heartbeats  # noqa: PLC0415

        try:
            heartbeats.remove(self.name)
        except DatabaseError as error:
            logger.warning("heartbeat.not_removed %s", error)
        finally:
            connection.close()


pulse = Pulse()


@celeryd_after_setup.connect
def be_worker(sender: str, instance: Any, **_details: object) -> None:
    pulse.be(sender, "worker", list(instance.app.amqp.queues.consume_from))


@beat_init.connect
def be_beat(**_details: object) -> None:
    pulse.be(f"beat@{socket.gethostname()}", "beat", [])


@heartbeat_sent.connect
def beat_of_worker(**_details: object) -> None:
    """The consumer's loop goes round."""
    pulse.beat()


@after_task_publish.connect
def beat_of_beat(**_details: object) -> None:
    """Beat has sent a task. A worker sends tasks too, and beats by its loop alone."""
    if pulse.name.startswith("beat@"):
        pulse.beat()


@worker_shutdown.connect
def end_of_worker(**_details: object) -> None:
    pulse.end()
