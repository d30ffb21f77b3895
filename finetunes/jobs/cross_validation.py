"""Cross-validation: where the data is small, a model is tuned once a fold, and every case is a test case once."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from core.errors import Fault, Problem
from evaluations.data_quality import reports
from evaluations.datasets import lifecycle as datasets
from evaluations.models import ComparisonState, ProviderModel
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
from finetunes.providers.states import OVER, JobState
from finetunes.training_sets import estimates
from finetunes.training_sets import lifecycle as training_sets
from finetunes.training_sets.estimates import Hyperparameters
from infra import work
from registry.accounts import api_keys, audit, permissions
from registry.accounts.permissions import Actor, Right
from registry.models import Project, PromptVersion

logger = logging.getLogger(__name__)

FOLDS = 5
FEWEST, MOST = 2, 10
# A test side with fewer cases finds large differences alone: all cases together find smaller ones.
SMALL_TEST = 100
SILENCE = timedelta(minutes=10)
# Between two looks at what its jobs do.
PAUSE = timedelta(seconds=4)


@dataclass(frozen=True)
class FoldStanding:
    """How far a fold has come: `evaluation` is of its tuned model, None before there is one."""

    training_set: TrainingSet
    job: FineTune | None
    evaluation: TunedEvaluation | None = None


@transaction.atomic
def begin(
    actor: Actor,
    training_set: TrainingSet,
    model: ProviderModel,
    *,
    folds: object = FOLDS,
    hyperparameters: Mapping[str, Any] | None = None,
    baseline: PromptVersion | None = None,
    scorers: object = None,
    budget_usd: object = None,
) -> CrossValidation:
    """Tune a model once a fold, and hold all of them together against the base with its long prompt. Money is spent
    from here on: each fold may cost its share of the budget. `training_set` says how each fold's set is made."""
    actor.require(Right.EDIT)
    faults: list[Fault] = []
    chosen = jobs.read_hyperparameters(hyperparameters or {}, Method(training_set.method), faults)
    budget = planning.read_budget(budget_usd, faults)
    count = folds if isinstance(folds, int) and not isinstance(folds, bool) else 0
    if not FEWEST <= count <= MOST:
        faults.append(Fault("/folds", "range", f"Must be a whole number from {FEWEST} to {MOST}."))
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
    _require_foldable(training_set, model, count)
    sets = [training_sets.fold_of(actor, training_set, number, count).pk for number in range(1, count + 1)]
    specs = planning.pinned(actor.project, scoring.read_specs(scorers or jobs.default_scorers(training_set)), model)
    made = CrossValidation.objects.create(
        project=actor.project,
        training_set=training_set,
        model=model,
        folds=count,
        sets=sets,
        hyperparameters=_told(chosen),
        baseline=baseline or training_set.source,
        scorers=[spec.as_dict() for spec in specs],
        is_simulation=model.provider.is_simulation,
        budget_usd=budget,
        by=actor.user,
        by_key=actor.key,
        by_name=actor.name,
    )
    after = {"training_set": training_set.pk, "model": str(model), "folds": made.folds}
    audit.record(actor, "cross_validation.started", made, after=after)
    return made


def _told(chosen: Hyperparameters) -> dict[str, Any]:
    """Settings as each fold's job takes them."""
    given = {name: estimates.AUTO if value is None else value for name, value in chosen.as_dict().items()}
    return {name: value for name, value in given.items() if name != "beta" or value != estimates.AUTO}


def _require_foldable(training_set: TrainingSet, model: ProviderModel, folds: int) -> None:
    if training_set.folds:
        raise Problem("request.invalid", "A fold has no folds of its own; take the set of all of the data.")
    provider_settings.require_tunable(model)
    reports.require_clean(training_set.dataset_version)
    if provider_settings.spoken(provider_settings.of(model.provider)).deploys:
        sentence = f"{model.provider.name} answers with a tuned model only once somebody has deployed it there."
        raise Problem("finetune.not_deployed", f"{sentence} Folds would wait for {folds} of them.")
    if not all(datasets.in_folds(training_set.dataset_version, folds)):
        sentence = f"{training_set.dataset_version} has not enough groups of cases for {folds} folds."
        raise Problem("cases.too_few", sentence, faults=[Fault("/folds", "range", sentence)])


@transaction.atomic
def cancel(actor: Actor, found: CrossValidation) -> CrossValidation:
    """End it, and those of its jobs that are under way."""
    actor.require(Right.EDIT)
    if not _end(found, CrossValidationState.CANCELLED):
        raise Problem("finetune.wrong_state", f"It is over: {found.get_state_display().lower()}.")
    _cancel_jobs(actor, found)
    audit.record(actor, "cross_validation.cancelled", found)
    return numbered(found.project, found.pk)


def _cancel_jobs(actor: Actor, found: CrossValidation) -> None:
    for job in jobs.loaded().filter(cross_validation=found).exclude(state__in=list(OVER)):
        try:
            with transaction.atomic():
                jobs.cancel(actor, job)
        except Problem as problem:
            # It has ended by itself meanwhile.
            logger.info("cross_validation.not_cancelled job=%s %s", job.pk, problem.detail)


def open_work() -> QuerySet[CrossValidation]:
    """What a worker may look at now."""
    now = timezone.now()
    free = Q(beat_at=None) | Q(beat_at__lt=now - PAUSE, attempts=0) | Q(beat_at__lt=now - SILENCE)
    return loaded().filter(free, state=CrossValidationState.RUNNING).order_by("id")


def perform(found: CrossValidation) -> None:
    """Take the next steps of one; does nothing where another worker does it already."""
    mine = CrossValidation.objects.filter(pk__in=open_work().filter(pk=found.pk).values("pk"))
    if mine.update(beat_at=timezone.now(), attempts=F("attempts") + 1) != 1:
        return
    found.refresh_from_db(fields=["attempts"])
    work.carry_out(found, lambda: _step(found), lambda sentence: _fail(found, sentence))
    # What is not over is looked at again; only steps that end their worker are counted.
    CrossValidation.objects.filter(pk=found.pk, state=CrossValidationState.RUNNING).update(attempts=0)


def _step(found: CrossValidation) -> None:
    rows = standing(found)
    for row in rows:
        if row.training_set.state == TrainingSetState.FAILED:
            raise Problem("training_set.nothing", f"Fold {row.training_set.fold}: {row.training_set.error}")
        if row.training_set.state == TrainingSetState.READY and row.job is None:
            _submit(found, row.training_set)
        if row.job and row.job.is_over and row.job.state != JobState.SUCCEEDED:
            said = row.job.get_state_display().lower()
            raise Problem("finetune.wrong_state", f"Fold {row.training_set.fold} {said}. {row.job.error}".strip())
        if row.evaluation and row.evaluation.error:
            raise Problem("comparison.not_comparable", f"Fold {row.training_set.fold}: {row.evaluation.error}")
    if len(rows) == found.folds and all(_is_compared(row) for row in rows):
        # Imported here: scipy is for who compares.
        from finetunes.jobs.aggregate import pooled  # noqa: PLC0415

        pairs = [(row.evaluation.baseline, row.evaluation.candidate) for row in rows if row.evaluation]
        result = pooled(pairs, scoring.stored(found.scorers), seed=found.pk)
        _end(found, CrossValidationState.DONE, result=result)


def _is_compared(row: FoldStanding) -> bool:
    comparison = row.evaluation.comparison if row.evaluation else None
    return comparison is not None and comparison.state != ComparisonState.PENDING


@transaction.atomic
def _submit(found: CrossValidation, training_set: TrainingSet) -> None:
    # Two workers that came this far at once wait for each other here, and nothing is sent once somebody has ended it.
    running = CrossValidation.objects.select_for_update().filter(pk=found.pk, state=CrossValidationState.RUNNING)
    if running.first() is None:
        return
    if FineTune.objects.filter(cross_validation=found, training_set=training_set).exists():
        return
    actor = api_keys.starter(found, found.project)
    share = None if found.budget_usd is None else round(found.budget_usd / found.folds, 6)
    made = jobs.draft(
        actor,
        training_set,
        found.model,
        hyperparameters=found.hyperparameters,
        suffix=f"fold-{training_set.fold}",
        baseline=found.baseline,
        scorers=found.scorers,
        budget_usd=share,
        cross_validation=found,
    )
    jobs.submit(actor, jobs.numbered(found.project, made.pk))


def _fail(found: CrossValidation, sentence: str) -> None:
    if _end(found, CrossValidationState.FAILED, error=sentence):
        # Whoever began it may be gone by now, and that may be why it failed.
        _cancel_jobs(permissions.command_line(found.project), found)


def _end(found: CrossValidation, state: CrossValidationState, **members: Any) -> bool:
    mine = CrossValidation.objects.filter(pk=found.pk, state=CrossValidationState.RUNNING)
    return mine.update(state=state, finished_at=timezone.now(), **members) == 1


def standing(found: CrossValidation) -> list[FoldStanding]:
    """Each fold's set, job and evaluation, as far as they have come."""
    newest = {one.fold: one for one in training_sets.loaded().filter(project=found.project, pk__in=found.sets)}
    of_set = {job.training_set_id: job for job in jobs.loaded().filter(cross_validation=found).order_by("id")}
    rows = tuned_models.evaluations().filter(tuned__job__cross_validation=found)
    evaluated = {row.tuned.job_id: row for row in rows}
    found_rows = []
    for number in sorted(newest):
        job = of_set.get(newest[number].pk)
        found_rows.append(FoldStanding(newest[number], job, evaluated.get(job.pk) if job else None))
    return found_rows


def cost_of(rows: list[FoldStanding]) -> Decimal:
    """US dollars that tuning has cost, as far as providers have said."""
    return sum((row.job.cost_usd for row in rows if row.job and row.job.cost_usd is not None), Decimal(0))


def loaded() -> QuerySet[CrossValidation]:
    """Cross-validations with what they are about."""
    sets = ("dataset_version__dataset", "source__prompt", "prompt__prompt")
    return CrossValidation.objects.select_related(
        *("project", "model__provider", "baseline__prompt", "by", "by_key__project"),
        *(f"training_set__{one}" for one in sets),
    ).defer("training_set__lengths")


def numbered(project: Project, number: int) -> CrossValidation:
    """The project's cross-validation with this number, or `cross_validation.not_found`."""
    found = loaded().filter(project=project, pk=number).first()
    if found is None:
        raise Problem("cross_validation.not_found", f"There is no cross-validation {number}.")
    found.project = project
    return found


def asked_for(project: Project, document: Mapping[str, Any]) -> dict[str, Any]:
    """One as it is written: as a job is, with `folds` and without a suffix."""
    asked = jobs.asked_for(project, document)
    asked.pop("suffix")
    return {**asked, "folds": FOLDS if document.get("folds") is None else document["folds"]}
