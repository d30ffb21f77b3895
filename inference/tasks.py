"""Tasks of the workers; each loads by id, calls one function, and has its limits."""

from inference.calls import log as call_log
from inference.monitoring import monitors
from inference.texts import policy as text_policy
from infra.queues import SHORT, task

HOUR = 3_600
MAX_LOOKED_AT = 50


@task(name="inference.tasks.look_at_monitors", queue=SHORT, time_limit=300, soft_time_limit=280)
def look_at_monitors() -> None:
    """Compute the figures of monitors that are due."""
    for monitor in monitors.due_monitors()[:MAX_LOOKED_AT]:
        monitors.look(monitor)


@task(name="inference.tasks.add_up_days", queue=SHORT, time_limit=HOUR, soft_time_limit=HOUR - 60)
def add_up_days() -> None:
    """Add up the days of live calls that are over, and delete calls and texts that are old."""
    call_log.roll_up()
    call_log.clear_old()
    text_policy.clear_old()
