"""What a run does by itself: a worker looks every few seconds, stops what is surely worse, goes on with the ramp, and
proposes what has won.

It acts for who released the experiment, with their rights of now. Where nobody stands behind a run any more, it ends.
"""

import logging
from dataclasses import replace
from datetime import timedelta
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from core.errors import Problem
from inference.experiments import figures, lifecycle, runs
from inference.experiments.figures import RunFigures
from inference.experiments.record import GUARDS
from inference.experiments.sequences import MIN_UNITS
from inference.experiments.verdicts import Verdict
from inference.models import ExperimentArm, ExperimentEventKind, ExperimentRun
from inference.monitoring import alerts
from registry.accounts import api_keys, permissions
from registry.accounts.permissions import Actor, Right

logger = logging.getLogger(__name__)
# A run whose figures could not be read for so long is guarded by nobody, and somebody has to know.
BLIND_AFTER = timedelta(minutes=1)
SOMEBODY_WAS_QUICKER = ("experiment.ended", "experiment.no_step", "experiment.no_arm")


def look_at_all() -> int:
    """Look at each run that goes on; returns how many there are. What is wrong with one keeps no other."""
    # The longest unseen first, so that one slow run keeps none from being guarded.
    rows = list(runs.running().order_by(F("looked_at").asc(nulls_first=True), "id"))
    for run in rows:
        try:
            look(run)
        except SoftTimeLimitExceeded:
            raise
        except Exception as error:
            if isinstance(error, Problem) and error.code in SOMEBODY_WAS_QUICKER:
                # The next round sees it as it is then.
                logger.info("experiment.not_acted run=%d %s", run.pk, error.code)
                continue
            logger.exception("experiment.not_looked_at run=%d", run.pk)
            _tell_of_blindness(run)
    return len(rows)


def _tell_of_blindness(run: ExperimentRun) -> None:
    """Open an alert where a run has not been looked at for some time."""
    if timezone.now() - (run.looked_at or run.started_at) <= BLIND_AFTER:
        return
    try:
        _pause(run, "Its figures cannot be read or acted on: nothing is guarded. The server's log says why.")
    except Problem as problem:
        logger.info("experiment.not_acted run=%d %s", run.pk, problem.code)


def look(run: ExperimentRun) -> RunFigures | None:
    """Read a run's figures, keep them, and act on them; None where it has ended before."""
    actor = _actor_of(run)
    if actor is None:
        return None
    # Before all figures: whether it may be served is no question of statistics.
    for arm in _active(run):
        if not lifecycle.is_approved(run.environment, arm.version):
            sentence = f"Version {arm.version.number} could not be released to {run.environment.name} now."
            _stop(actor, run, arm.name, sentence, {})
            return None
    read = figures.read(run)
    ExperimentRun.objects.filter(pk=run.pk, step=read.step).update(figures=read.as_dict())
    stopped = [arm.name for arm in _active(run) if _guard(actor, run, arm.name, read)]
    if read.is_mismatched:
        reason = "Subjects do not come to the arms by their weights: something assigns or reports otherwise."
        _pause(run, reason)
    elif not stopped:
        _go_on(actor, run, read)
    # Only what was acted on as well was looked at.
    ExperimentRun.objects.filter(pk=run.pk).update(looked_at=read.at)
    return read


def _active(run: ExperimentRun) -> list[ExperimentArm]:
    return [arm for arm in run.arms.all() if arm.stopped_at is None]


def _actor_of(run: ExperimentRun) -> Actor | None:
    """Return for whom a run acts; ends it where nobody is left."""
    project, release = run.experiment.project, run.release
    try:
        actor = api_keys.actor_for_work(release, project)
        actor.require(Right.RELEASE)
    except Problem:
        with transaction.atomic():
            locked = runs.lock(run)
            reason = f"Nobody stands behind it: {release.by_name}, who released it, may not release any more."
            alerts.experiment_acted(runs.end_locked(permissions.actor_for_command_line(project), locked, reason))
        return None
    return replace(actor, name=f"{actor.name} (by itself)")


def _guard(actor: Actor, run: ExperimentRun, name: str, read: RunFigures) -> bool:
    """Stop an arm that is surely worse; returns whether it was stopped."""
    # What decides does so at the last step, which its level is for, and where subjects came by their weights;
    # guardrails act at any time.
    decides = run.step == len(runs.record_of(run).ramp) and not read.is_mismatched
    worse = [each for each in read.of(name) if each.is_surely_worse and (decides or each.metric.role == GUARDS)]
    if worse:
        _stop(actor, run, name, f"Surely worse than the baseline: {worse[0].sentence}", read.as_dict())
    return bool(worse)


@transaction.atomic
def _stop(actor: Actor, run: ExperimentRun, name: str, reason: str, evidence: dict[str, Any]) -> None:
    alerts.experiment_acted(runs.stop_arm(actor, run, name, reason=reason[: runs.MAX_REASON], evidence=evidence))


@transaction.atomic
def _pause(run: ExperimentRun, reason: str) -> None:
    """Note why a run does not go on, unless an alert says so: nothing is decided by figures that nobody has, or that
    are not of alike."""
    locked = runs.lock(run)
    events = locked.events.filter(kind=ExperimentEventKind.PAUSED, at__gte=locked.stepped_at, reason=reason)
    if not events.filter(alert__resolved_at=None).exists():
        alerts.experiment_acted(runs.note(locked, ExperimentEventKind.PAUSED, "by itself", reason))


def _go_on(actor: Actor, run: ExperimentRun, read: RunFigures) -> None:
    """Go on to the next step where this one has lasted and nothing is worse; at the last, propose what has won."""
    record = runs.record_of(run)
    active = {arm.name for arm in _active(run)}
    judged = [each for each in read.verdicts if each.arm in active]
    if run.step < len(record.ramp):
        has_lasted = timezone.now() - run.stepped_at >= timedelta(hours=record.step_hours)
        subjects = [read.baseline.subjects, *(each.subjects for each in read.arms if each.name in active)]
        is_worse = any(each.verdict == Verdict.WORSE for each in judged)
        if has_lasted and not is_worse and min(subjects) >= MIN_UNITS:
            runs.step(actor, run, reason="No metric is worse.", evidence=read.as_dict(), expected_step=read.step)
        return
    better = [each for each in judged if each.metric == record.primary and each.verdict == Verdict.BETTER]
    if not better:
        return
    winner = max(better, key=lambda each: abs(each.change.value) if each.change else 0.0)
    if not run.events.filter(kind=ExperimentEventKind.PROPOSED, arm=winner.arm).exists():
        run.figures = read.as_dict()
        runs.propose(actor, run, winner.arm, evidence=runs.evidence_of(run, winner.arm), has_won=True)
