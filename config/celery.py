"""The worker application; tasks live in each app's `tasks.py`."""

import os
import signal

from billiard.process import current_process
from celery import Celery
from celery.signals import worker_process_init

from config.lifeline import die_with_parent

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("cuebook")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_process_init.connect
def end_with_the_worker(**_details: object) -> None:
    """End pool processes with their worker: they would go on with tasks that the broker gives to another worker."""
    arrange = die_with_parent(signal.SIGKILL, parent=current_process()._parent_pid)  # type: ignore[attr-defined]
    if arrange:
        arrange()
