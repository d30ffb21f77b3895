"""Experiments: stored as versions and promoted like prompts, and what a release of one begins.

An experiment's versions are versions of a text prompt (`experiment.<name>`) whose text is its record as JSON. So arms,
weights, metrics and rules have a hash, approvals, checks, rollback and history as prompts have. A release of it in an
environment begins a run there, in the release's own transaction; a release of the prompt itself ends one.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from core.errors import Fault, Problem
from core.references import is_prompt_name
from inference.experiments import record_reading, runs
from inference.experiments.record import ExperimentRecord, PlannedArm
from inference.models import Experiment, ExperimentArm, ExperimentEventKind, ExperimentRun
from inference.usage.units import VALUES
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.models import Environment, Project, Promotion, PromotionStatus, Prompt, PromptVersion, Release
from registry.promotions import approvals, workflow
from registry.prompts import lifecycle as prompts
from registry.prompts import resolution, versions

PREFIX = "experiment."
MAX_NAME_LENGTH = 100
TAG = "experiment"
# Names of pages below those of experiments.
RESERVED_NAMES = ("new", "runs")


@dataclass(frozen=True)
class ExperimentVersion:
    """A version of an experiment with its record."""

    version: PromptVersion
    record: ExperimentRecord


def experiments_with_related() -> QuerySet[Experiment]:
    """Return experiments with their related rows, the newest first."""
    return Experiment.objects.select_related("project", "prompt", "holder__head").order_by("-id")


def get_experiment(project: Project, name: str) -> Experiment:
    """Return the project's experiment of that name, or raise `experiment.not_found`."""
    experiment = experiments_with_related().filter(project=project, name=name).first()
    if experiment is None:
        raise Problem("experiment.not_found", f"There is no experiment {name[:100]!r}.")
    experiment.project = experiment.holder.project = experiment.prompt.project = project
    return experiment


@transaction.atomic
def commit(actor: Actor, name: str, document: object, *, message: str = "") -> tuple[Experiment, ExperimentVersion]:
    """Commit the next version of an experiment; the first creates it. Its versions are pinned to their hashes."""
    actor.require(Right.EDIT)
    if not 1 <= len(name) <= MAX_NAME_LENGTH or name in RESERVED_NAMES or not is_prompt_name(f"{PREFIX}{name}"):
        sentence = f"An experiment's name is 1 to {MAX_NAME_LENGTH} lower-case letters and digits, joined by . _ or -"
        sentence += f"; {', '.join(RESERVED_NAMES)} are taken by the pages."
        raise Problem("experiment.invalid", sentence, faults=[Fault("/name", "name", sentence)])
    record = _pinned(actor.project, record_reading.read_record(document))
    experiment = _get_or_create(actor, name, prompts.get_prompt(actor.project, record.prompt))
    if experiment.prompt.name != record.prompt:
        sentence = f"{name} is an experiment with {experiment.prompt.name}."
        raise Problem("experiment.invalid", sentence, faults=[Fault("/prompt", "other_prompt", sentence)])
    content = {"kind": "text", "text": record.text()}
    text = message or record.hypothesis or f"{len(record.versions)} versions, {record.primary.title.lower()}"
    version = versions.commit(actor, experiment.holder, content=content, message=text[:500]).version
    version.prompt = experiment.holder
    return experiment, ExperimentVersion(version, record)


@transaction.atomic
def _get_or_create(actor: Actor, name: str, prompt: Prompt) -> Experiment:
    experiment = experiments_with_related().filter(project=actor.project, name=name).first()
    if experiment is not None:
        experiment.project = experiment.holder.project = actor.project
        return experiment
    if prompt.name.startswith(PREFIX):
        sentence = "An experiment serves versions of a prompt, or configs of a task, not other experiments."
        raise Problem("experiment.invalid", sentence, faults=[Fault("/prompt", "kind", sentence)])
    description = f"An experiment with {prompt.name}: arms, weights, metrics and rules, as JSON."
    holder = prompts.create(actor, name=f"{PREFIX}{name}", description=description, tags=[TAG])
    holder.project = actor.project
    try:
        with transaction.atomic():
            experiment = Experiment.objects.create(
                project=actor.project,
                name=name,
                prompt=prompt,
                holder=holder,
                salt=secrets.token_hex(8),
                by_name=actor.name,
            )
    except IntegrityError:
        raise Problem("prompt.name_taken", f"There is an experiment {name} already.") from None
    audit.record(actor, "experiment.created", experiment, after={"name": name, "prompt": prompt.name})
    return experiment


def _pinned(project: Project, record: ExperimentRecord) -> ExperimentRecord:
    """Return the record with its versions pinned to content hashes."""
    pinned = partial(resolution.pinned, project)
    arms = [PlannedArm(pinned(arm.version), arm.weight) for arm in record.arms]
    shadow = replace(record.shadow, version=pinned(record.shadow.version)) if record.shadow else None
    record = replace(record, baseline=pinned(record.baseline), arms=arms, shadow=shadow)
    if len(set(record.versions)) != len(record.versions):
        sentence = "Two arms have the same version, or one is the baseline."
        raise Problem("experiment.invalid", sentence, faults=[Fault("/arms", "duplicate", sentence)])
    return record


def read_experiment_version(version: PromptVersion) -> ExperimentVersion:
    """Read a version of an experiment; raises `experiment.invalid` where it is none."""
    return ExperimentVersion(version, record_reading.parse_record(str(version.content.get("text", ""))))


def readable_record(version: PromptVersion) -> ExperimentRecord | None:
    """Return the record of a version; None where somebody committed something else by hand."""
    try:
        return read_experiment_version(version).record
    except Problem:
        return None


def version_numbers(experiment: Experiment) -> dict[str, int]:
    """Return the numbers of the prompt's versions by their pinned references."""
    rows = experiment.prompt.versions.values_list("content_hash", "number")
    return {f"{experiment.prompt.name}@{content_hash}": number for content_hash, number in rows}


def unreadable_experiment(version: PromptVersion) -> Problem | None:
    """Return the refusal of an experiment's version that nobody could run: a user may commit anything to its prompt by
    hand."""
    experiment = Experiment.objects.filter(holder=version.prompt_id).select_related("prompt").first()
    if experiment is None:
        return None
    try:
        record = read_experiment_version(version).record
    except Problem as problem:
        return problem
    if record.prompt != experiment.prompt.name:
        return Problem("experiment.invalid", f"It is an experiment with {experiment.prompt.name}.")
    return None


def propose(actor: Actor, experiment: Experiment, environment: Environment, *, reason: str = "") -> Promotion:
    """Request the promotion of the newest version, like any other: its release begins the run."""
    head = experiment.holder.head
    if head is None:
        raise Problem("prompt.no_versions", f"{experiment.name} has no version yet.")
    record = read_experiment_version(head).record
    _require_releasable(experiment, record, environment)
    return workflow.request(actor, experiment.holder, head, environment, reason=reason)


def on_release(actor: Actor, release: Release) -> None:
    """Begin a run where an experiment was released, and end the one of a prompt that was. In the transaction of the
    release, which holds the lock of its environment; a Problem refuses the release."""
    experiment = Experiment.objects.filter(holder=release.prompt_id).select_related("prompt", "project").first()
    if experiment is not None:
        _begin(actor, experiment, release)
        return
    for run in runs.running(environment=release.environment_id, prompt=release.prompt_id):
        reason = f"Version {release.version.number} was released."
        runs.end_locked(actor, run, reason if release.version_id != run.baseline_id else "The baseline was released.")


def _begin(actor: Actor, experiment: Experiment, release: Release) -> None:
    record = read_experiment_version(release.version).record
    pinned = _require_releasable(experiment, record, release.environment)
    _refuse_stopped(release, pinned[1:])
    for run in runs.running(environment=release.environment_id, prompt=experiment.prompt_id):
        if run.experiment_id != experiment.pk:
            sentence = f"{run.experiment.name} runs with {experiment.prompt.name} there: end it first."
            raise Problem("experiment.other_runs", sentence)
        runs.end_locked(actor, run, f"Version {release.version.number} of the experiment was released.")
    run = ExperimentRun.objects.create(
        release=release,
        experiment=experiment,
        prompt=experiment.prompt,
        environment=release.environment,
        baseline=pinned[0],
        metrics=[metric.name for metric in record.metrics if metric.name in VALUES or "." in metric.name],
        ramp=list(record.ramp),
        percent=record.ramp[0],
    )
    # Per cent of subjects, of a shadow of calls; and its dollars a day.
    planned: list[tuple[float, float | None]] = [(arm.weight, None) for arm in record.arms]
    planned += [(record.shadow.percent, record.shadow.daily_usd)] if record.shadow else []
    ExperimentArm.objects.bulk_create(
        ExperimentArm(
            run=run,
            version=version,
            name=f"v{version.number}",
            position=position,
            weight=max(1, round(percent * 100)),
            shadow_dollars=dollars,
        )
        for position, ((percent, dollars), version) in enumerate(zip(planned, pinned[1:], strict=True))
    )
    runs.note(run, ExperimentEventKind.STARTED, actor.name, f"Begins with {record.ramp[0]} % of its weights.")


def _refuse_stopped(release: Release, arms: Sequence[PromptVersion]) -> None:
    """Raise `experiment.arm_stopped` where a rollback would serve an arm again that was stopped since it was reviewed:
    that takes another promotion."""
    if release.restores is None:
        return
    stopped = ExperimentArm.objects.filter(
        run__environment=release.environment, version__in=arms, stopped_at__gt=release.restores.created_at
    ).first()
    if stopped is not None:
        sentence = f"{stopped.name} was stopped since ({stopped.stop_reason}): request a promotion to serve it again."
        raise Problem("experiment.arm_stopped", sentence[:500])


def _require_releasable(
    experiment: Experiment, record: ExperimentRecord, environment: Environment
) -> Sequence[PromptVersion]:
    """Return baseline, arms and shadow. Raises `experiment.not_live` where the baseline is not what is live, and
    `experiment.not_approved` where an arm is not approved for the environment."""
    by_reference = {
        f"{experiment.prompt.name}@{version.content_hash}": version
        for version in PromptVersion.objects.filter(
            prompt=experiment.prompt_id,
            content_hash__in=[text.partition("@")[2] for text in record.versions],
        )
    }
    missing = [text for text in record.versions if text not in by_reference]
    if missing:
        raise Problem("experiment.invalid", f"There is no {missing[0][:200]}.")
    baseline = by_reference[record.baseline]
    live = approvals.live_release(environment, experiment.prompt)
    if live is None or live.version_id != baseline.pk:
        now = f"version {live.version.number}" if live else "nothing"
        sentence = f"The baseline, version {baseline.number}, is not what is live in {environment.name}: that is {now}."
        raise Problem("experiment.not_live", sentence)
    arms = [by_reference[text] for text in record.versions[1:]]
    for version in arms:
        if not is_approved(environment, version):
            sentence = f"Version {version.number} is not approved for {environment.name}: request its promotion first."
            raise Problem("experiment.not_approved", sentence, version=version.number)
    return [baseline, *arms]


def is_approved(environment: Environment, version: PromptVersion) -> bool:
    """Return whether a version may be served in an environment: it was released there with approvals, or its promotion
    could be released now, with all approvals and required checks. Where nobody has to approve, everything may."""
    if not environment.approvals_needed:
        return True
    if Release.objects.filter(environment=environment, version=version, approvals__gte=1).exists():
        return True
    waiting = Promotion.objects.filter(environment=environment, version=version, status=PromotionStatus.APPROVED)
    statuses = map(approvals.get_approval_status, waiting.select_related("prompt", "version", "environment"))
    return any(status.is_approved and not status.missing_checks for status in statuses)


def is_experiment(version: PromptVersion) -> bool:
    """Return whether a version is an experiment's, whatever its prompt is called."""
    return Experiment.objects.filter(holder=version.prompt_id).exists()


def may_begin_again(environment: Environment, version: PromptVersion) -> bool:
    """Return whether a version that is live may be promoted anew: an experiment's, where its run has ended."""
    return (
        is_experiment(version)
        and not runs.running(environment=environment, experiment__holder=version.prompt_id).exists()
    )
