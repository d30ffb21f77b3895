"""Work for the workers; each task loads by id, calls one function, and has its limits."""

from celery import shared_task

from inference.calls import log as call_log
from inference.monitoring import monitors

HOUR = 3_600
MOST_SWEPT = 50


@shared_task(name="inference.tasks.look_at_monitors", time_limit=300, soft_time_limit=280)
def look_at_monitors() -> None:
    """Look at the figures that people watch."""
    for monitor in monitors.due()[:MOST_SWEPT]:
        monitors.look(monitor)


@shared_task(name="inference.tasks.add_up_days", time_limit=HOUR, soft_time_limit=HOUR - 60)
def add_up_days() -> None:
    """Add up the days of live calls that are over, and delete calls that are old."""
    call_log.roll_up()
    call_log.clear_old()
