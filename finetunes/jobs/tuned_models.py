"""Tuned models: saved, compared with the prompt that they replace, and published as a version like any other."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from core.errors import Problem
from evaluations.comparisons import lifecycle as comparisons
from evaluations.models import ComparisonState, ModelPrice, ProviderModel, Run, RunState, Split
from evaluations.providers import configuration as providers
from evaluations.runs import lifecycle as runs
from evaluations.runs import planning
from evaluations.runs.planning import RunSettings
from finetunes.jobs import provider_settings
from finetunes.models import FineTune, TrainingSet, TunedEvaluation, TunedModel
from finetunes.providers.base import RemoteJob
from finetunes.training_sets import builder
from inference.monitoring import usage
from inference.monitoring.drift import DriftSize
from registry.accounts import api_keys, audit, permissions
from registry.accounts.permissions import Actor, Right
from registry.models import Environment, Project, PromptVersion
from registry.promotions import workflow
from registry.prompts import versions

# The splits that a tuned model is measured on: its task, and what it may have forgotten.
MEASURED_SPLITS = (Split.TEST, Split.GENERAL)
DRIFT_CHECK_INTERVAL = timedelta(hours=1)
PRICE_SOURCE = "price of tuned models of this base"


@transaction.atomic
def create_from_job(job: FineTune, remote: RemoteJob, cost: Decimal | None) -> TunedModel:
    """Create the tuned model of a job; safe to repeat."""
    existing = TunedModel.objects.filter(job=job).first()
    if existing:
        return existing
    model = TunedModel.objects.create(
        project=job.project,
        job=job,
        base=job.model,
        remote_name=remote.fine_tuned_model,
        training_set_hash=job.training_set.content_hash,
        prompt_hash=job.training_set.prompt.content_hash,
        hyperparameters={**job.hyperparameters, **remote.hyperparameters},
        cost_usd=cost,
    )
    actor = replace(permissions.actor_for_command_line(job.project), name=f"fine-tune {job.pk}")
    audit.record(actor, "finetune.succeeded", job, after={"model": model.remote_name, "cost_usd": str(cost)})
    # Where another model already has this name, a user has to enter the name by which this one answers.
    if not provider_settings.protocol_for(provider_settings.settings_for(job.model.provider)).deploys and not _is_taken(
        model, model.remote_name
    ):
        _register_model(model, model.remote_name)
    return model


@transaction.atomic
def set_deployed_name(actor: Actor, model: TunedModel, name: str) -> TunedModel:
    """Set the name by which a tuned model answers that had to be deployed by hand; then it can be measured."""
    actor.require(Right.EDIT)
    name = name.strip()
    if not 1 <= len(name) <= 200 or not name.isprintable():
        raise Problem("model.invalid_name", "A model's name has 1 to 200 characters.")
    locked = TunedModel.objects.select_for_update(of=("self",)).select_related("base__provider").get(pk=model.pk)
    if locked.model_id:
        raise Problem("finetune.wrong_state", f"It answers as {locked.model} already.")
    if _is_taken(locked, name):
        raise Problem("model.invalid_name", f"{name} is another model already.")
    _register_model(locked, name)
    audit.record(actor, "finetune.deployed", locked, after={"name": name})
    return get_tuned_model(model.project, model.pk)


def _is_taken(tuned_model: TunedModel, name: str) -> bool:
    """Say whether the provider's model of this name is the base, or came out of another job."""
    models = ProviderModel.objects.filter(provider=tuned_model.base.provider, name=name)
    return models.filter(Q(pk=tuned_model.base_id) | Q(tuned_as__isnull=False)).exists()


def _register_model(tuned_model: TunedModel, name: str) -> None:
    """Register the provider's model; it ends when its base does, and costs what tuned models of that base cost."""
    model, _ = ProviderModel.objects.get_or_create(
        provider=tuned_model.base.provider, name=name, defaults={"shutdown_date": tuned_model.base.shutdown_date}
    )
    if providers.price_of(model) is None:
        _set_price(model, tuned_model)
    tuned_model.model = model
    tuned_model.save(update_fields=["model"])


def _set_price(model: ProviderModel, tuned_model: TunedModel) -> None:
    base, job_price = providers.price_of(tuned_model.base), tuned_model.job.price or {}
    own = {name: Decimal(job_price[name]) if job_price.get(name) else None for name in ("tuned_input", "tuned_output")}
    input_price = own["tuned_input"] if own["tuned_input"] is not None else base.input if base else None
    output_price = own["tuned_output"] if own["tuned_output"] is not None else base.output if base else None
    if input_price is None or output_price is None:
        return
    cached_input = base.cached_input if base and own["tuned_input"] is None else input_price
    ModelPrice.objects.create(
        model=model,
        valid_from=timezone.now().date(),
        input=input_price,
        cached_input=cached_input,
        output=output_price,
        cache_write=base.cache_write if base and own["tuned_input"] is None else None,
        source=PRICE_SOURCE,
        by_name=f"fine-tune {tuned_model.job_id}",
    )


def unmeasured_models() -> QuerySet[TunedModel]:
    """Return tuned models whose evaluation has not begun."""
    return tuned_models_with_related().filter(model__isnull=False, evaluations=None).order_by("id")


@transaction.atomic
def measure(model: TunedModel) -> list[Run]:
    """Start the evaluation of a tuned model on each split that has none yet, with the rights of the user who started
    the job; returns the runs. Safe to repeat."""
    locked = TunedModel.objects.select_for_update().get(pk=model.pk)
    existing_splits = set(locked.evaluations.values_list("split", flat=True))
    new_runs: list[Run] = []
    # A fold is one test among several; what was forgotten is measured once, on the model that learned all.
    expected_splits = (Split.TEST,) if model.job.cross_validation_id else MEASURED_SPLITS
    for split in (expected for expected in expected_splits if expected not in existing_splits):
        row = TunedEvaluation(tuned=model, split=split)
        if not builder.cases_of_split(model.job.training_set, split).exists():
            if split == Split.TEST:
                row.error = "The dataset has no test split, so nothing says whether this model is better."
                row.save()
            continue
        try:
            with transaction.atomic():
                actor = api_keys.actor_for_work(model.job, model.project)
                row.baseline = runs.create(actor, _run_request(model, split, is_tuned=False))
                row.candidate = runs.create(actor, _run_request(model, split, is_tuned=True))
                new_runs += [row.baseline, row.candidate]
        except Problem as problem:
            row.baseline = row.candidate = None
            row.error = problem.detail[:1_000]
        row.save()
    return new_runs


def _run_request(model: TunedModel, split: str, *, is_tuned: bool) -> RunSettings:
    """Request a run of the short prompt on the tuned model, or of the long one on its base; the same cases, without
    leaked ones."""
    job = model.job
    run_model = model.model if is_tuned and model.model else model.base
    return RunSettings(
        version=job.training_set.prompt if is_tuned else job.baseline,
        dataset_version=job.training_set.dataset_version,
        scorers=job.scorers,
        model=run_model,
        split="" if job.training_set.folds else split,
        parameters=_baseline_parameters(job.baseline),
        leaked="exclude",
        cases=_fold_cases(job.training_set),
    )


def _fold_cases(training_set: TrainingSet) -> list[int] | None:
    """Return the cases that a fold's model has not seen; None where the dataset's own splits count."""
    rows = builder.cases_of_split(training_set, Split.TEST).order_by("pk")
    return list(rows.values_list("pk", flat=True)) if training_set.folds else None


@transaction.atomic
def measure_again(actor: Actor, model: TunedModel) -> list[Run]:
    """Start failed evaluations again: their runs could not start, ended early, or were not compared."""
    actor.require(Right.EDIT)
    TunedModel.objects.select_for_update().get(pk=model.pk)
    lost = model.evaluations.filter(~Q(error="") | Q(comparison__state=ComparisonState.FAILED))
    if not lost.delete()[0]:
        raise Problem("finetune.wrong_state", "Nothing about its evaluation has failed.")
    audit.record(actor, "finetune.measured_again", model)
    return measure(model)


def _baseline_parameters(baseline: PromptVersion) -> dict[str, Any]:
    """Return the settings of the baseline, used for both runs: only the model and the prompt differ."""
    own: Mapping[str, Any] = baseline.content.get("model", {})
    return {name: value for name, value in own.items() if name in planning.PARAMETERS}


def uncompared_evaluations() -> QuerySet[TunedEvaluation]:
    """Return evaluations whose runs are both over, and that are not compared yet."""
    rows = TunedEvaluation.objects.filter(
        comparison=None, error="", baseline__summary__isnull=False, candidate__summary__isnull=False
    )
    return rows.select_related(
        "tuned__job__by", "tuned__job__by_key__project", "tuned__project", "baseline", "candidate"
    )


@transaction.atomic
def compare(evaluation: TunedEvaluation) -> int | None:
    """Compare the runs of an evaluation; returns the comparison's number. Safe to repeat."""
    row = TunedEvaluation.objects.select_for_update(of=("self",)).get(pk=evaluation.pk)
    if row.comparison_id or row.error or evaluation.baseline is None or evaluation.candidate is None:
        return None
    try:
        for run in (evaluation.baseline, evaluation.candidate):
            if run.state != RunState.DONE:
                state = RunState(run.state).label.lower()
                raise Problem("comparison.not_comparable", f"Run {run.pk} is {state}. {run.error}")
        actor = api_keys.actor_for_work(evaluation.tuned.job, evaluation.tuned.project)
        row.comparison = comparisons.create(actor, [evaluation.baseline, evaluation.candidate])
    except Problem as problem:
        row.error = problem.detail[:1_000]
    row.save(update_fields=["comparison", "error"])
    return row.comparison_id


@transaction.atomic
def publish(actor: Actor, model: TunedModel, environment: Environment, *, reason: str = "") -> TunedModel:
    """Commit a version of the original prompt with the short prompt and the tuned model, and request its promotion:
    from there on it is reviewed, gated, released and rolled back like any other version."""
    actor.require(Right.EDIT)
    if model.model is None:
        raise Problem("finetune.not_deployed", "Deploy the model first, and enter the name by which it answers.")
    if model.job.cross_validation_id:
        sentence = (
            "This model has learned some of the folds alone, for a cross-validation; tune one on all of the data."
        )
        raise Problem("finetune.wrong_state", sentence)
    providers.require_usable(model.model)
    providers.require_usable(model.base)
    source = model.job.training_set.source
    content = dict(model.job.training_set.prompt.content)
    settings = {**source.content.get("model", {}), **content.get("model", {}), "name": model.model.name}
    source.prompt.project = actor.project
    message = f"Tuned model of fine-tune {model.job_id}, with its short prompt"
    version = versions.commit(
        actor, source.prompt, content={**content, "model": settings}, message=message, parent=source.number
    ).version
    version.prompt = source.prompt
    # Who wrote the short prompt stands behind it, whoever publishes.
    copied = (model.job.training_set.prompt,)
    promotion = workflow.request(
        actor, source.prompt, version, environment, reason=reason or message, derived_from=copied
    )
    TunedModel.objects.filter(pk=model.pk).update(published=version, promotion=promotion)
    audit.record(actor, "finetune.published", model, after={"version": str(version), "environment": environment.name})
    return get_tuned_model(model.project, model.pk)


def retuning_reasons(model: TunedModel) -> list[str]:
    """Return the reasons to tune a model again; empty where there are none."""
    reasons = []
    trained = model.job.training_set.dataset_version
    head = trained.dataset.head
    if head and head.number > trained.number:
        before = trained.sizes.get("train", 0)
        added = head.sizes.get("train", 0) - before
        newer = f"{trained.dataset.name}@{head.number}"
        if added > 0:
            share = f"{added / max(1, before):.0%}"
            reasons.append(f"{newer} has {added:,} more training cases, {share} of what it learned from.")
        else:
            reasons.append(f"{newer} is newer than version {trained.number}, which it learned.")
    newest = model.job.training_set.source.prompt.head
    is_other = newest is not None and newest.pk not in (model.job.training_set.source_id, model.published_id)
    # It has not learned changes that were made while it was tuned either.
    if newest and is_other and newest.created_at > model.job.training_set.created_at:
        reasons.append(f"{newest.prompt.name} has changed since: version {newest.number} has other content.")
    reasons += [
        f"Live calls differ from what it was measured on. {drift['sentence']}"
        for drift in model.drifts
        if _is_much(drift)
    ]
    ends_on = end_date(model)
    if ends_on:
        left = (ends_on - timezone.now().date()).days
        if left <= provider_settings.SHUTDOWN_NOTICE.days:
            reasons.append(
                f"It is shut down on {ends_on}, in {left} days." if left > 0 else f"It was shut down on {ends_on}."
            )
    return reasons


def _is_much(drift: Mapping[str, Any]) -> bool:
    return bool(drift["size"] == DriftSize.MUCH)


def models_due_for_drift_check() -> QuerySet[TunedModel]:
    """Return published models whose live calls were not checked for an hour."""
    old = Q(drift_looked_at=None) | Q(drift_looked_at__lt=timezone.now() - DRIFT_CHECK_INTERVAL)
    return tuned_models_with_related().filter(old, published__isnull=False).order_by("drift_looked_at", "id")


def check_drift(model: TunedModel) -> None:
    """Compare the live calls of a published model with the cases that it was measured on."""
    run = model.evaluations.filter(split=Split.TEST, candidate__isnull=False).select_related("candidate").first()
    drifts = usage.drifts_since_run(model.published, run.candidate) if run and run.candidate and model.published else []
    TunedModel.objects.filter(pk=model.pk).update(
        drifts=[drift.as_dict() for drift in drifts], drift_looked_at=timezone.now()
    )


def end_date(model: TunedModel) -> date | None:
    """Return the last day of a tuned model: its own, or that of its base, which may have become known later."""
    own = model.model.shutdown_date if model.model else None
    return min((day for day in (own, model.base.shutdown_date) if day), default=None)


def tuned_models_with_related() -> QuerySet[TunedModel]:
    """Return tuned models with their related rows."""
    return TunedModel.objects.select_related(
        "project",
        "job__by",
        "job__by_key__project",
        "job__baseline__prompt",
        "job__training_set__dataset_version__dataset__head",
        "job__training_set__source__prompt__head__prompt",
        "job__training_set__prompt__prompt",
        "base__provider",
        "model__provider",
        "published__prompt",
        "promotion",
    ).defer("job__training_set__lengths")


def tuned_models_with_evaluations() -> QuerySet[TunedModel]:
    """Return tuned models with their evaluations as well, for lists."""
    return tuned_models_with_related().prefetch_related("evaluations__comparison")


def get_tuned_model(project: Project, number: int) -> TunedModel:
    """Return the project's tuned model with this number, or raise `finetune.not_found`."""
    model = tuned_models_with_related().filter(project=project, pk=number).first()
    if model is None:
        raise Problem("finetune.not_found", f"There is no tuned model {number}.")
    model.project = project
    return model


def tuned_model_of_job(job: FineTune) -> TunedModel | None:
    """Return the tuned model of a job, if there is one."""
    return tuned_models_with_related().filter(job=job).first()


def require_tuned_model(job: FineTune) -> TunedModel:
    """Return the tuned model of a job, or raise `finetune.wrong_state`."""
    model = tuned_model_of_job(job)
    if model is None:
        raise Problem("finetune.wrong_state", "This job has no tuned model.")
    return model


def evaluations_of(model: TunedModel) -> QuerySet[TunedEvaluation]:
    """Return the evaluations of a tuned model as they are now."""
    return evaluations_with_related().filter(tuned=model)


def evaluations_with_related() -> QuerySet[TunedEvaluation]:
    """Return evaluations with their runs and comparisons."""
    related = ("tuned", "comparison", "baseline__version__prompt", "candidate__version__prompt")
    return TunedEvaluation.objects.select_related(*related).order_by("id")
