"""What a run does by itself: a worker looks every few seconds, stops what is surely worse, goes on with the ramp, and
proposes what has won.

It acts for who released the experiment, with their rights of now. Where nobody stands behind a run any more, it ends.
"""

import logging
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from core.errors import Problem
from inference.experiments import figures, lifecycle, runs
from inference.experiments.figures import RunFigures
from inference.experiments.record import GUARDS
from inference.experiments.verdicts import MIN_CALLS, ArmVerdict, Verdict
from inference.models import ExperimentArm, ExperimentEventKind, ExperimentRun
from inference.monitoring import alerts
from registry.accounts import api_keys, permissions
from registry.accounts.permissions import Actor, Right

logger = logging.getLogger(__name__)


def look_at_all() -> int:
    """Look at each run that goes on; returns how many there are. What is wrong with one keeps no other."""
    rows = list(runs.running())
    for run in rows:
        try:
            look(run)
        except Problem as problem:
            # Somebody was quicker: it has ended, say. The next round sees it as it is then.
            logger.info("experiment.not_acted run=%d %s", run.pk, problem.code)
        except Exception:
            logger.exception("experiment.not_looked_at run=%d", run.pk)
    return len(rows)


def look(run: ExperimentRun) -> RunFigures:
    """Read a run's figures, keep them, and act on them."""
    read = figures.read(run)
    ExperimentRun.objects.filter(pk=run.pk, step=read.step).update(looked_at=read.at, figures=read.as_dict())
    actor = _actor_of(run)
    if actor is None:
        return read
    is_acted = False
    for arm in run.arms.all():
        if arm.stopped_at is None:
            is_acted |= _guard(actor, run, arm, read)
    if read.is_mismatched:
        _pause(actor, run)
    elif not is_acted:
        _go_on(actor, run, read)
    return read


def _actor_of(run: ExperimentRun) -> Actor | None:
    """Return for whom a run acts; ends it where nobody is left."""
    project, release = run.experiment.project, run.release
    try:
        if release.by is not None:
            actor = permissions.actor_for_user(release.by, project)
        elif release.by_key is not None:
            api_keys.require_usable(release.by_key)
            actor = permissions.actor_for_key(release.by_key)
        else:
            actor = permissions.actor_for_command_line(project)
        actor.require(Right.RELEASE)
    except Problem:
        with transaction.atomic():
            locked = runs.lock(run)
            reason = f"Nobody stands behind it: {release.by_name}, who released it, may not release any more."
            runs.end_locked(permissions.actor_for_command_line(project), locked, reason)
            _tell(locked)
        return None
    return actor


def _guard(actor: Actor, run: ExperimentRun, arm: ExperimentArm, read: RunFigures) -> bool:
    """Stop an arm that is surely worse, or whose approval is gone; returns whether it was stopped."""
    is_last = run.step == len(runs.record_of(run).ramp)
    # What decides does so at the last step, which its level is for; guardrails act at each.
    judged = [each for each in read.of(arm.name) if is_last or each.metric.role == GUARDS]
    worse = [each for each in judged if each.is_surely_worse]
    if worse:
        _stop(actor, run, arm.name, f"Surely worse than the baseline: {worse[0].sentence}", worse)
    elif not lifecycle.is_approved(run.environment, arm.version):
        _stop(actor, run, arm.name, f"Version {arm.version.number} is not approved for {run.environment.name} now.", [])
    else:
        return False
    return True


@transaction.atomic
def _stop(actor: Actor, run: ExperimentRun, name: str, reason: str, evidence: list[ArmVerdict]) -> None:
    documents = {"verdicts": [each.as_dict() for each in evidence]}
    _tell(runs.stop_arm(actor, run, name, reason=reason[: runs.MAX_REASON], evidence=documents))


def _tell(run: ExperimentRun) -> None:
    """Open an alert of the last thing that happened to a run by itself, so that everybody sees it."""
    stopped = run.events.filter(kind=ExperimentEventKind.STOPPED, alert=None).order_by("-id")
    event = stopped.first() or run.events.order_by("-id").first()
    if event is not None:
        alerts.experiment_acted(event)


@transaction.atomic
def _pause(actor: Actor, run: ExperimentRun) -> None:
    """Note once a step that subjects do not come by the weights: nothing is decided by figures that are not alike."""
    locked = runs.lock(run)
    if not locked.events.filter(kind=ExperimentEventKind.PAUSED, at__gte=locked.stepped_at).exists():
        reason = "Subjects do not come to the arms by their weights: something assigns or reports otherwise."
        alerts.experiment_acted(runs.note(locked, ExperimentEventKind.PAUSED, actor.name, reason))


def _go_on(actor: Actor, run: ExperimentRun, read: RunFigures) -> None:
    """Go on to the next step where this one has lasted and nothing is worse; at the last, propose what has won."""
    record = runs.record_of(run)
    running_arms = {arm.name for arm in run.arms.all() if arm.stopped_at is None}
    if run.step < len(record.ramp):
        has_lasted = timezone.now() - run.stepped_at >= timedelta(hours=record.step_hours)
        has_calls = all(arm.calls >= MIN_CALLS for arm in read.arms if arm.name in running_arms)
        if has_lasted and has_calls and read.baseline.calls >= MIN_CALLS:
            runs.step(actor, run, reason="No guardrail is worse.", evidence=read.as_dict())
        return
    is_proposed = run.events.filter(kind=ExperimentEventKind.PROPOSED).exists()
    better = [
        each
        for each in read.verdicts
        if each.metric == record.primary and each.verdict == Verdict.BETTER and each.arm in running_arms
    ]
    if better and not is_proposed:
        winner = max(better, key=lambda each: abs(each.change.value) if each.change else 0.0)
        run.figures = read.as_dict()
        runs.propose_winner(actor, run, winner.arm, evidence=runs.evidence_of(run, winner.arm))
