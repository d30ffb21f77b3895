"""The golden set: every night the live version answers the cases of a run again, so that a provider's silent change is
found, which no release explains.

The first night of a version is its reference; each later one is compared with it case by case, as runs are. The runs
are made for who set the monitor.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from core.errors import Problem
from evaluations.comparisons import lifecycle as comparisons
from evaluations.models import Run, RunState
from evaluations.runs import lifecycle as runs
from evaluations.runs.planning import settings_of
from inference.models import Monitor, NightlyRun
from inference.monitoring.figures import GOLDEN_SET
from inference.monitoring.monitors import active_monitors
from registry.accounts import api_keys
from registry.models import PromptVersion, Release

logger = logging.getLogger(__name__)
# Hours of the day (UTC) in which runs begin.
NIGHT = range(1, 6)


def golden_sets() -> QuerySet[Monitor]:
    """Return the monitors that have a golden set, with what their runs are like."""
    related = ("run__version__prompt", "run__dataset_version", "run__model__provider", "by", "by_key__project")
    return active_monitors().filter(figure=GOLDEN_SET).select_related(*related)


def begin_due(now: datetime | None = None) -> int:
    """Begin the runs of this night; returns how many. One that cannot be begun says why."""
    moment = (now or timezone.now()).astimezone(UTC)
    if moment.hour not in NIGHT:
        return 0
    due = golden_sets().exclude(nightly_runs__day=moment.date())
    return sum(_alone(_begin, monitor, moment) for monitor in due)


def _alone(work: Callable[..., bool], *arguments: Any) -> bool:
    """Do something for one golden set; what is wrong with it keeps no other."""
    try:
        return work(*arguments)
    except SoftTimeLimitExceeded:
        raise
    except Exception:
        logger.exception("golden_set.failed %s", arguments[0])
        return False


def _begin(monitor: Monitor, moment: datetime) -> bool:
    live = _live(monitor)
    if live is None or monitor.run is None:
        return False
    try:
        with transaction.atomic():
            night = NightlyRun.objects.create(monitor=monitor, day=moment.date(), version=live)
            try:
                with transaction.atomic():
                    settings = replace(settings_of(monitor.run), version=live, fresh=True, without_retrieval=False)
                    settings = replace(settings, budget_usd=monitor.run.budget_usd)
                    night.run = runs.create(api_keys.actor_for_work(monitor, monitor.project), settings)
            except Problem as problem:
                night.settled_at, night.sentence = moment, f"It could not begin: {problem.detail}"[:500]
            night.save()
    except IntegrityError:
        # Another worker was quicker.
        return False
    return night.run is not None


def _live(monitor: Monitor) -> PromptVersion | None:
    rows = Release.objects.filter(environment__name=monitor.environment, prompt=monitor.prompt)
    release = rows.select_related("version__prompt").order_by("-number").first()
    return release.version if release else None


def settle_done() -> int:
    """Compare the nights whose runs are over with their references; returns how many."""
    rows = NightlyRun.objects.filter(settled_at=None, run__isnull=False)
    over = rows.exclude(run__summary=None).select_related("monitor__project", "monitor__by", "run", "version")
    return sum(_alone(_settle, night) for night in over)


def _settle(night: NightlyRun) -> bool:
    assert night.run is not None  # noqa: S101 - for the type checker: the query says so
    run = Run.objects.get(pk=night.run.pk)
    night.cases = (run.summary or {}).get("cases") or 0
    if run.state != RunState.DONE:
        night.sentence = f"Run {run.pk} ended: {RunState(run.state).label.lower()}. {run.error}"[:500]
    elif (reference := _reference(night)) is None:
        night.loss, night.sentence = 0.0, f"The first night of version {night.version.number}: its reference."
    else:
        _compare(night, reference, run)
    night.settled_at = timezone.now()
    # Only one of two workers settles it.
    members = {name: getattr(night, name) for name in ("cases", "sentence", "loss", "is_worse", "settled_at")}
    return bool(NightlyRun.objects.filter(pk=night.pk, settled_at=None).update(**members, comparison=night.comparison))


def _reference(night: NightlyRun) -> Run | None:
    """Return the run of the version's first night."""
    rows = NightlyRun.objects.filter(monitor=night.monitor, version=night.version, day__lt=night.day)
    first = rows.filter(run__state=RunState.DONE).select_related("run").order_by("day").first()
    return first.run if first else None


def _compare(night: NightlyRun, reference: Run, run: Run) -> None:
    try:
        actor = api_keys.actor_for_work(night.monitor, night.monitor.project)
        night.comparison = comparisons.create(actor, [reference, run], margin=night.monitor.bound)
        NightlyRun.objects.filter(pk=night.pk).update(comparison=night.comparison)
        comparisons.run_comparison(night.comparison)
        night.comparison.refresh_from_db()
        quality = (night.comparison.result or {}).get("quality")
    except Problem as problem:
        night.sentence = f"Not comparable with its reference: {problem.detail}"[:500]
        return
    if not quality:
        night.sentence = f"Not comparable with its reference: {night.comparison.error}"[:500]
        return
    night.loss = -quality["difference"]
    high = quality["high"] if quality["high"] is not None else quality["difference"]
    # Surely worse by more than what would be tolerated.
    night.is_worse = quality["verdict"] == "worse" and high < -night.monitor.bound
    night.sentence = f"Against its reference, run {reference.pk}: {quality['sentence']}"[:500]
