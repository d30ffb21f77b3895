"""Queues of tasks; each task declares its own (`@shared_task(queue=LONG, ...)`), and a test wants one from each.

A worker that is told nothing takes from all of them.
"""

# Seconds of work: reconciling, steps, imports of ten rows.
SHORT = "celery"
# Minutes of work, so that short tasks do not wait behind it.
LONG = "long"
# What a user watches while it comes; it waits for nothing else.
PLAYGROUND = "playground"
QUEUES = (SHORT, LONG, PLAYGROUND)
