"""Tasks of the workers; each loads by id, calls one function, and has its limits."""

from inference.calls import feedback, partitions, shadow_pairs, subjects
from inference.experiments import steering
from inference.monitoring import golden, monitors, watches
from inference.texts import policy as text_policy
from inference.usage import rollups, units
from infra.queues import SHORT, task

HOUR = 3_600
MAX_LOOKED_AT = 50


@task(name="inference.tasks.look_at_monitors", queue=SHORT, time_limit=300, soft_time_limit=280)
def look_at_monitors() -> None:
    """Compute the figures of monitors that are due."""
    monitors.look_at_due(MAX_LOOKED_AT)


@task(name="inference.tasks.watch_releases", queue=SHORT, time_limit=600, soft_time_limit=580)
def watch_releases() -> None:
    """Begin to watch new releases, and end the watches that are over."""
    watches.begin()
    watches.end_due()


@task(name="inference.tasks.look_at_golden_sets", queue=SHORT, time_limit=600, soft_time_limit=580)
def look_at_golden_sets() -> None:
    """Begin the runs of the night, and compare those that are over."""
    golden.begin_due()
    golden.settle_done()


@task(name="inference.tasks.look_at_experiments", queue=SHORT, time_limit=300, soft_time_limit=280)
def look_at_experiments() -> None:
    """Act on the figures of experiments that run."""
    steering.look_at_all()


@task(name="inference.tasks.merge_usage", queue=SHORT, time_limit=300, soft_time_limit=280)
def merge_usage() -> None:
    """Merge what live calls come to: deltas to minutes, minutes to hours, hours to days."""
    rollups.merge()


@task(name="inference.tasks.clear_old", queue=SHORT, time_limit=HOUR, soft_time_limit=HOUR - 60)
def clear_old() -> None:
    """Make the next days of the table of calls, and delete calls and texts that are old."""
    text_policy.clear_old()
    feedback.clear_old()
    subjects.clear_old()
    units.clear_old()
    shadow_pairs.clear_old()
    partitions.ensure_ahead()
    partitions.drop_old()
