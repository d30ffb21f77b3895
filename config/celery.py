"""The worker application; tasks live in each app's `tasks.py`."""

import logging
import os
import signal

from billiard.process import current_process
from celery import Celery
from celery.signals import beat_init, worker_init, worker_process_init
from kombu.exceptions import OperationalError

from config import heartbeats as _heartbeats  # noqa: F401 - connects to signals
from config.lifeline import die_with_parent
from infra.limited.pool import wait_like_a_worker

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

logger = logging.getLogger(__name__)
# What is looked after at least this often is looked after when beat starts, too.
OFTEN_SECONDS = 60

app = Celery("cuebook")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_init.connect
def be_patient(**_details: object) -> None:
    """Wait for a busy machine as long as it takes: nobody looks at a page meanwhile."""
    wait_like_a_worker()


@worker_process_init.connect
def end_with_the_worker(**_details: object) -> None:
    """End pool processes with their worker: they would go on with tasks that the broker gives to another worker."""
    arrange = die_with_parent(signal.SIGKILL, parent=current_process()._parent_pid)  # type: ignore[attr-defined]
    if arrange:
        arrange()


@beat_init.connect
def look_at_once(**_details: object) -> None:
    """Start what waits when beat starts: its first round would come an interval later, and a demo's runs with it."""
    for entry in app.conf.beat_schedule.values():
        if entry["schedule"] <= OFTEN_SECONDS:
            try:
                app.send_task(entry["task"], retry=False)
            except OperationalError as error:
                logger.warning("task.not_sent %s %s", entry["task"], error)
