"""Runs of experiments, and the verbs that change one: to the next step, an arm stopped, ended, the winner proposed.

Each holds the lock of the run. What a verb changes is served by the next request: deliverers are notified.
"""

from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from core.errors import Fault, Problem
from inference.experiments import record_reading
from inference.experiments.record import ExperimentRecord
from inference.models import ExperimentArm, ExperimentEvent, ExperimentEventKind, ExperimentRun
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.models import UNDECIDED, Project, Promotion
from registry.promotions import workflow

MAX_REASON = 300


def running(**filters: Any) -> QuerySet[ExperimentRun]:
    """Return the runs that go on, with their related rows."""
    return _with_related(ExperimentRun.objects.filter(ended_at=None, **filters))


def runs_of(project: Project) -> QuerySet[ExperimentRun]:
    """Return a project's runs with their related rows, the newest first."""
    return _with_related(ExperimentRun.objects.filter(experiment__project=project)).order_by("-id")


def _with_related(rows: QuerySet[ExperimentRun]) -> QuerySet[ExperimentRun]:
    related = ("experiment__project", "prompt", "environment", "baseline", "release__version", "release__by")
    rows = rows.select_related(*related, "release__by_key__project", "promotion").prefetch_related("arms__version")
    return rows.defer("baseline__content", "prompt__head_text")


def get_run(project: Project, number: int) -> ExperimentRun:
    """Return the project's run with this number, or raise `experiment.not_found`."""
    run = runs_of(project).filter(pk=number).first()
    if run is None:
        raise Problem("experiment.not_found", f"There is no run {number} of an experiment.")
    return run


def record_of(run: ExperimentRun) -> ExperimentRecord:
    """Return what was released, as it was reviewed."""
    return record_reading.parse_record(str(run.release.version.content.get("text", "")))


def note(
    run: ExperimentRun,
    kind: ExperimentEventKind,
    by_name: str,
    reason: str,
    *,
    arm: str = "",
    evidence: dict[str, Any] | None = None,
) -> ExperimentEvent:
    """Write down what happened to a run."""
    return ExperimentEvent.objects.create(
        run=run, kind=kind, arm=arm, reason=reason[:MAX_REASON], evidence=evidence or {}, by_name=by_name
    )


@transaction.atomic
def stop_arm(
    actor: Actor, run: ExperimentRun, name: str, *, reason: str, evidence: dict[str, Any] | None = None
) -> ExperimentEvent:
    """Take an arm to zero: its subjects get the baseline from now on. With no arm left, the run ends. Returns what was
    noted of it. Raises `experiment.no_arm` or `experiment.ended`."""
    actor.require(Right.RELEASE)
    locked = lock(run)
    arm = _active_arm(locked, name)
    _require_reason(reason)
    arm.stopped_at, arm.stop_reason = timezone.now(), reason[:MAX_REASON]
    arm.save(update_fields=["stopped_at", "stop_reason"])
    event = note(locked, ExperimentEventKind.STOPPED, actor.name, reason, arm=name, evidence=evidence)
    audit.record(actor, "experiment.arm_stopped", locked, after={"arm": name, "reason": reason})
    promotion = locked.promotion
    if promotion is not None and promotion.version_id == arm.version_id and promotion.status in UNDECIDED:
        # Whoever is about to release it has to know.
        comment = f"Arm {name} of the experiment {locked.experiment.name} (run {locked.pk}) was stopped since: {reason}"
        workflow.add_comment(actor, promotion, comment=comment)
    if not locked.arms.filter(stopped_at=None).exists():
        end_locked(actor, locked, "No arm is left beside the baseline.")
    return event


@transaction.atomic
def step(
    actor: Actor,
    run: ExperimentRun,
    *,
    reason: str,
    evidence: dict[str, Any] | None = None,
    expected_step: int | None = None,
) -> ExperimentRun:
    """Go on to the next step of the ramp that was approved; `experiment.no_step` at its end, or where the run is not at
    the expected step any more: two who decide at once go one step."""
    actor.require(Right.RELEASE)
    locked = lock(run)
    ramp = record_of(locked).ramp
    if expected_step is not None and locked.step != expected_step:
        raise Problem("experiment.no_step", f"The experiment is at step {locked.step} by now.")
    if locked.step >= len(ramp):
        raise Problem("experiment.no_step", "The experiment is at the last step of its ramp.")
    before = locked.percent
    locked.step, locked.percent, locked.stepped_at = locked.step + 1, ramp[locked.step], timezone.now()
    locked.figures = {}
    locked.save(update_fields=["step", "percent", "stepped_at", "figures"])
    text = f"From {before} % to {locked.percent} % of its weights. {reason}".strip()
    note(locked, ExperimentEventKind.STEPPED, actor.name, text, evidence=evidence)
    audit.record(actor, "experiment.stepped", locked, before={"percent": before}, after={"percent": locked.percent})
    return locked


@transaction.atomic
def end(actor: Actor, run: ExperimentRun, *, reason: str) -> ExperimentRun:
    """End a run: everybody gets what is live, which was the baseline all the time."""
    actor.require(Right.RELEASE)
    _require_reason(reason)
    locked = lock(run)
    end_locked(actor, locked, reason)
    return locked


def end_locked(actor: Actor, run: ExperimentRun, reason: str) -> ExperimentEvent:
    """End a run in the caller's transaction, which has seen to permissions; returns what was noted of it."""
    run.ended_at, run.end_reason = timezone.now(), reason[:MAX_REASON]
    run.save(update_fields=["ended_at", "end_reason"])
    audit.record(actor, "experiment.ended", run, after={"reason": reason})
    return note(run, ExperimentEventKind.ENDED, actor.name, reason)


@transaction.atomic
def propose(
    actor: Actor, run: ExperimentRun, name: str, *, evidence: dict[str, Any] | None = None, has_won: bool = False
) -> Promotion:
    """Request the promotion of an arm's version, with the evidence; one that waits for its release already gets the
    evidence as a comment. The release, an ordinary one, ends the run. An arm is proposed once; `has_won` where its
    figures say so, and not somebody who decided to."""
    actor.require(Right.EDIT)
    locked = lock(run)
    arm = _active_arm(locked, name)
    before = locked.promotion
    if before is not None and before.version_id == arm.version_id and before.status in UNDECIDED:
        return before
    how = "has won" if has_won else f"is proposed by {actor.name}"
    sentence = f"Arm {name} of the experiment {locked.experiment.name} (run {locked.pk}) {how}."
    waiting = Promotion.objects.filter(
        environment=locked.environment, prompt=locked.prompt, version=arm.version, status__in=UNDECIDED
    )
    promotion = waiting.select_related("environment", "prompt", "version").first()
    text = "\n".join([sentence, *_lines(evidence or {})])[:5_000]
    if promotion is None:
        promotion = workflow.request(actor, locked.prompt, arm.version, locked.environment, reason=text)
    else:
        workflow.add_comment(actor, promotion, comment=text)
    locked.promotion = promotion
    locked.save(update_fields=["promotion"])
    note(locked, ExperimentEventKind.PROPOSED, actor.name, sentence, arm=name, evidence=evidence)
    audit.record(actor, "experiment.winner_proposed", locked, after={"arm": name, "promotion": promotion.pk})
    return promotion


def evidence_of(run: ExperimentRun, arm: str) -> dict[str, Any]:
    """Return what a run's figures, as they were read last, say for an arm."""
    sentences = [each["sentence"] for each in run.figures.get("verdicts", ()) if each["arm"] == arm]
    if run.figures.get("is_mismatched"):
        sentences.append("Subjects do not come to the arms by their weights: nothing is decided by these figures.")
    return {**run.figures, "sentences": sentences}


def _lines(evidence: dict[str, Any]) -> list[str]:
    return [str(sentence) for sentence in evidence.get("sentences", ())]


def lock(run: ExperimentRun) -> ExperimentRun:
    """Lock a run that goes on, after its environment, in the order of releases; `experiment.ended` of another."""
    # Releases lock the environment first, and end runs: so in the same order here.
    type(run.environment).objects.select_for_update(no_key=True).get(pk=run.environment_id)
    # No key changes: calls that are stored meanwhile, and name the run, need not wait.
    locked = running(pk=run.pk).select_for_update(of=("self",), no_key=True).first()
    if locked is None:
        raise Problem("experiment.ended", "The experiment has ended.")
    return locked


def _arm(run: ExperimentRun, name: str) -> ExperimentArm:
    arm = run.arms.filter(name=name).select_related("version__prompt").first()
    if arm is None:
        raise Problem("experiment.no_arm", f"The experiment has no arm {name[:50]!r} beside the baseline.")
    return arm


def _active_arm(run: ExperimentRun, name: str) -> ExperimentArm:
    arm = _arm(run, name)
    if arm.stopped_at is not None:
        raise Problem("experiment.no_arm", f"{name} is stopped already.")
    return arm


def _require_reason(reason: str) -> None:
    if not reason.strip() or len(reason) > MAX_REASON:
        sentence = f"Give a reason of at most {MAX_REASON} characters."
        raise Problem("experiment.reason_required", sentence, faults=[Fault("/reason", "required", sentence)])
