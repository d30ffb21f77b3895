"""Cross-validation: where the data is small, a model is tuned once a fold, and every case is a test case once."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from core.errors import Fault, Problem
from evaluations.data_quality import reports
from evaluations.datasets import lifecycle as datasets
from evaluations.models import ProviderModel
from evaluations.runs import planning
from evaluations.scorers import specs as scoring
from finetunes.jobs import lifecycle as jobs
from finetunes.jobs import provider_settings, tuned_models
from finetunes.models import (
    CrossValidation,
    CrossValidationState,
    FineTune,
    TrainingSet,
    TrainingSetState,
    TunedEvaluation,
)
from finetunes.providers.jsonl import Method
from finetunes.providers.states import FINAL_STATES, JobState
from finetunes.training_sets import estimates
from finetunes.training_sets import lifecycle as training_sets
from finetunes.training_sets.estimates import Hyperparameters
from infra import work
from infra.work import Lease
from registry.accounts import api_keys, audit, permissions
from registry.accounts.permissions import Actor, Right
from registry.models import Project, PromptVersion

logger = logging.getLogger(__name__)

DEFAULT_FOLDS = 5
MIN_FOLDS, MAX_FOLDS = 2, 10
# A test split with fewer cases finds only large differences: all cases together find smaller ones.
SMALL_TEST = 100
# The pause between two steps.
STEP_INTERVAL = timedelta(seconds=4)


@dataclass(frozen=True)
class FoldProgress:
    """Progress of a fold; `evaluation` is that of its tuned model, None before there is one."""

    training_set: TrainingSet
    job: FineTune | None
    evaluation: TunedEvaluation | None = None


@transaction.atomic
def begin(
    actor: Actor,
    training_set: TrainingSet,
    model: ProviderModel,
    *,
    folds: object = DEFAULT_FOLDS,
    hyperparameters: Mapping[str, Any] | None = None,
    baseline: PromptVersion | None = None,
    scorers: object = None,
    budget_usd: object = None,
) -> CrossValidation:
    """Tune a model once a fold, and compare all of them together with the base and its long prompt. Money is spent from
    here on: each fold may cost its part of the budget. Each fold's set is made as `training_set` is."""
    actor.require(Right.EDIT)
    faults: list[Fault] = []
    settings = jobs.read_hyperparameters(hyperparameters or {}, Method(training_set.method), faults)
    budget = planning.read_budget(budget_usd, faults)
    count = folds if isinstance(folds, int) and not isinstance(folds, bool) else 0
    if not MIN_FOLDS <= count <= MAX_FOLDS:
        faults.append(Fault("/folds", "range", f"Must be a whole number from {MIN_FOLDS} to {MAX_FOLDS}."))
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
    _require_foldable(training_set, model, count)
    sets = [training_sets.ensure_fold(actor, training_set, number, count).pk for number in range(1, count + 1)]
    specs = planning.pin_scorers(
        actor.project, scoring.read_specs(scorers or jobs.default_scorers(training_set)), model
    )
    cross_validation = CrossValidation.objects.create(
        project=actor.project,
        training_set=training_set,
        model=model,
        folds=count,
        sets=sets,
        hyperparameters=_requested_hyperparameters(settings),
        baseline=baseline or training_set.source,
        scorers=[spec.as_dict() for spec in specs],
        is_simulation=model.provider.is_simulation,
        budget_usd=budget,
        by=actor.user,
        by_key=actor.key,
        by_name=actor.name,
    )
    after = {"training_set": training_set.pk, "model": str(model), "folds": cross_validation.folds}
    audit.record(actor, "cross_validation.started", cross_validation, after=after)
    return cross_validation


def _requested_hyperparameters(settings: Hyperparameters) -> dict[str, Any]:
    """Return the settings as each fold's job takes them."""
    members = {name: estimates.AUTO if value is None else value for name, value in settings.as_dict().items()}
    return {name: value for name, value in members.items() if name != "beta" or value != estimates.AUTO}


def _require_foldable(training_set: TrainingSet, model: ProviderModel, folds: int) -> None:
    if training_set.folds:
        raise Problem("request.invalid", "A fold has no folds of its own; use the set of all of the data.")
    provider_settings.require_tunable(model)
    reports.require_no_leaks(training_set.dataset_version)
    if provider_settings.protocol_for(provider_settings.settings_for(model.provider)).deploys:
        sentence = f"{model.provider.name} answers with a tuned model only after a user has deployed it there."
        raise Problem("finetune.not_deployed", f"{sentence} Folds would wait for {folds} of them.")
    if not all(datasets.case_folds(training_set.dataset_version, folds)):
        sentence = f"{training_set.dataset_version} has not enough groups of cases for {folds} folds."
        raise Problem("cases.too_few", sentence, faults=[Fault("/folds", "range", sentence)])


@transaction.atomic
def cancel(actor: Actor, cross_validation: CrossValidation) -> CrossValidation:
    """Cancel it, and those of its jobs that are not over."""
    actor.require(Right.EDIT)
    running = CrossValidation.objects.filter(pk=cross_validation.pk, state=CrossValidationState.RUNNING)
    if not running.update(state=CrossValidationState.CANCELLED, heartbeat_at=None, finished_at=timezone.now()):
        raise Problem("finetune.wrong_state", f"It is over: {cross_validation.get_state_display().lower()}.")
    _cancel_jobs(actor, cross_validation)
    audit.record(actor, "cross_validation.cancelled", cross_validation)
    return get_cross_validation(cross_validation.project, cross_validation.pk)


def _cancel_jobs(actor: Actor, cross_validation: CrossValidation) -> None:
    for job in jobs.jobs_with_related().filter(cross_validation=cross_validation).exclude(state__in=list(FINAL_STATES)):
        try:
            with transaction.atomic():
                jobs.cancel(actor, job)
        except Problem as problem:
            # It has ended by itself meanwhile.
            logger.info("cross_validation.not_cancelled job=%s %s", job.pk, problem.detail)


def claimable_cross_validations() -> QuerySet[CrossValidation]:
    """Return those whose jobs a worker may look at now."""
    is_due = Q(next_step_at=None) | Q(next_step_at__lte=timezone.now())
    return cross_validations_with_related().filter(CrossValidation.claimable(), is_due).order_by("id")


def advance(cross_validation: CrossValidation) -> None:
    """Take the next steps; does nothing where another worker does, or nothing is due."""
    lease = work.claim_next(claimable_cross_validations().filter(pk=cross_validation.pk))
    if lease:
        work.run(lease, lambda: _step(lease), fail=lambda problem: _fail(lease, problem))


def _step(lease: Lease[CrossValidation]) -> None:
    cross_validation = lease.item
    rows = fold_progress(cross_validation)
    for row in rows:
        if row.training_set.state == TrainingSetState.FAILED:
            raise Problem("training_set.nothing", f"Fold {row.training_set.fold}: {row.training_set.error}")
        if row.training_set.state == TrainingSetState.DONE and row.job is None:
            _submit(cross_validation, row.training_set)
        if row.job and row.job.is_over and row.job.state != JobState.SUCCEEDED:
            job_state = row.job.get_state_display().lower()
            raise Problem("finetune.wrong_state", f"Fold {row.training_set.fold} {job_state}. {row.job.error}".strip())
        if row.evaluation and row.evaluation.error:
            raise Problem("comparison.not_comparable", f"Fold {row.training_set.fold}: {row.evaluation.error}")
    if len(rows) == cross_validation.folds and all(_is_compared(row) for row in rows):
        # Imported here: only a comparison needs scipy.
        from finetunes.jobs.aggregate import aggregate_folds  # noqa: PLC0415

        pairs = [(row.evaluation.baseline, row.evaluation.candidate) for row in rows if row.evaluation]
        result = aggregate_folds(pairs, scoring.specs_from_json(cross_validation.scorers), seed=cross_validation.pk)
        lease.finish(CrossValidationState.DONE, result=result)
        return
    # Only steps that end their worker count as attempts.
    lease.release(next_step_at=timezone.now() + STEP_INTERVAL)


def _is_compared(row: FoldProgress) -> bool:
    comparison = row.evaluation.comparison if row.evaluation else None
    return comparison is not None and not comparison.is_open


@transaction.atomic
def _submit(cross_validation: CrossValidation, training_set: TrainingSet) -> None:
    # Workers that come this far at once wait for each other here, and nothing is sent after it was cancelled.
    running = CrossValidation.objects.select_for_update().filter(
        pk=cross_validation.pk, state=CrossValidationState.RUNNING
    )
    if running.first() is None:
        return
    if FineTune.objects.filter(cross_validation=cross_validation, training_set=training_set).exists():
        return
    actor = api_keys.actor_for_work(cross_validation, cross_validation.project)
    fold_budget = (
        None if cross_validation.budget_usd is None else round(cross_validation.budget_usd / cross_validation.folds, 6)
    )
    job = jobs.draft(
        actor,
        training_set,
        cross_validation.model,
        hyperparameters=cross_validation.hyperparameters,
        suffix=f"fold-{training_set.fold}",
        baseline=cross_validation.baseline,
        scorers=cross_validation.scorers,
        budget_usd=fold_budget,
        cross_validation=cross_validation,
    )
    jobs.submit(actor, jobs.get_job(cross_validation.project, job.pk))


def _fail(lease: Lease[CrossValidation], problem: Problem) -> None:
    lease.fail(problem)
    # The user who began it may have lost access, which may be why it failed.
    _cancel_jobs(permissions.actor_for_command_line(lease.item.project), lease.item)


def fold_progress(cross_validation: CrossValidation) -> list[FoldProgress]:
    """Return each fold's set, job and evaluation, as far as they have come."""
    sets_by_fold = {
        training_set.fold: training_set
        for training_set in training_sets.training_sets_with_related().filter(
            project=cross_validation.project, pk__in=cross_validation.sets
        )
    }
    jobs_by_set = {
        job.training_set_id: job
        for job in jobs.jobs_with_related().filter(cross_validation=cross_validation).order_by("id")
    }
    rows = tuned_models.evaluations_with_related().filter(tuned__job__cross_validation=cross_validation)
    evaluations_by_job = {row.tuned.job_id: row for row in rows}
    progress = []
    for number in sorted(sets_by_fold):
        job = jobs_by_set.get(sets_by_fold[number].pk)
        progress.append(FoldProgress(sets_by_fold[number], job, evaluations_by_job.get(job.pk) if job else None))
    return progress


def tuning_cost(rows: list[FoldProgress]) -> Decimal:
    """Return the US dollars that tuning has cost, as far as providers have reported."""
    return sum((row.job.cost_usd for row in rows if row.job and row.job.cost_usd is not None), Decimal(0))


def cross_validations_with_related() -> QuerySet[CrossValidation]:
    """Return cross-validations with their related rows."""
    sets = ("dataset_version__dataset", "source__prompt", "prompt__prompt")
    return CrossValidation.objects.select_related(
        *("project", "model__provider", "baseline__prompt", "by", "by_key__project"),
        *(f"training_set__{relation}" for relation in sets),
    ).defer("training_set__lengths")


def get_cross_validation(project: Project, number: int) -> CrossValidation:
    """Return the project's cross-validation with this number, or raise `cross_validation.not_found`."""
    cross_validation = cross_validations_with_related().filter(project=project, pk=number).first()
    if cross_validation is None:
        raise Problem("cross_validation.not_found", f"There is no cross-validation {number}.")
    cross_validation.project = project
    return cross_validation


def read_request(project: Project, document: Mapping[str, Any]) -> dict[str, Any]:
    """Read a request for a cross-validation: as for a job, with `folds` and without a suffix."""
    request = jobs.read_request(project, document)
    request.pop("suffix")
    return {**request, "folds": DEFAULT_FOLDS if document.get("folds") is None else document["folds"]}
