"""Tuned models: kept, measured against what they are to replace, published as a version like any other."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from core.errors import Problem
from evaluations.comparisons import pairwise
from evaluations.models import ComparisonState, ModelPrice, ProviderModel, Run, RunState, Split
from evaluations.providers import configuration as providers
from evaluations.runs import lifecycle as runs
from evaluations.runs import planning
from evaluations.runs.planning import Asked
from finetunes.jobs import provider_settings
from finetunes.models import FineTune, TrainingSet, TunedEvaluation, TunedModel
from finetunes.providers.base import RemoteJob
from finetunes.training_sets import builder
from inference.monitoring import usage
from inference.monitoring.drift import Size
from registry.accounts import api_keys, audit, permissions
from registry.accounts.permissions import Actor, Right
from registry.models import Environment, Project, PromptVersion
from registry.promotions import workflow
from registry.prompts import versions

# The sides that a tuned model is measured on: its task, and what it may have forgotten.
SIDES = (Split.TEST, Split.GENERAL)
DRIFT_EVERY = timedelta(hours=1)
PRICE_SOURCE = "price of tuned models of this base"


@transaction.atomic
def keep(job: FineTune, remote: RemoteJob, cost: Decimal | None) -> TunedModel:
    """The row of what came out of a job; safe to repeat."""
    there = TunedModel.objects.filter(job=job).first()
    if there:
        return there
    made = TunedModel.objects.create(
        project=job.project,
        job=job,
        base=job.model,
        remote_name=remote.fine_tuned_model,
        training_set_hash=job.training_set.content_hash,
        prompt_hash=job.training_set.prompt.content_hash,
        hyperparameters={**job.hyperparameters, **remote.hyperparameters},
        cost_usd=cost,
    )
    actor = replace(permissions.command_line(job.project), name=f"fine-tune {job.pk}")
    audit.record(actor, "finetune.succeeded", job, after={"model": made.remote_name, "cost_usd": str(cost)})
    # A name that another model has already is left to a person, who says by which name this one answers.
    if not provider_settings.spoken(provider_settings.of(job.model.provider)).deploys and not _is_taken(
        made, made.remote_name
    ):
        _name(made, made.remote_name)
    return made


@transaction.atomic
def deployed(actor: Actor, model: TunedModel, name: str) -> TunedModel:
    """Say by which name a tuned model answers that had to be deployed by hand; it is measured then."""
    actor.require(Right.EDIT)
    name = name.strip()
    if not 1 <= len(name) <= 200 or not name.isprintable():
        raise Problem("model.invalid_name", "A model's name has 1 to 200 characters.")
    locked = TunedModel.objects.select_for_update(of=("self",)).select_related("base__provider").get(pk=model.pk)
    if locked.model_id:
        raise Problem("finetune.wrong_state", f"It answers as {locked.model} already.")
    if _is_taken(locked, name):
        raise Problem("model.invalid_name", f"{name} is another model already.")
    _name(locked, name)
    audit.record(actor, "finetune.deployed", locked, after={"name": name})
    return numbered(model.project, model.pk)


def _is_taken(made: TunedModel, name: str) -> bool:
    """Whether the provider's model of this name is the base, or has come out of another job."""
    there = ProviderModel.objects.filter(provider=made.base.provider, name=name)
    return there.filter(Q(pk=made.base_id) | Q(tuned_as__isnull=False)).exists()


def _name(made: TunedModel, name: str) -> None:
    """The model as one asks it; it ends when its base does, and costs what tuned models of that base cost."""
    model, _ = ProviderModel.objects.get_or_create(
        provider=made.base.provider, name=name, defaults={"shutdown_date": made.base.shutdown_date}
    )
    if providers.price_of(model) is None:
        _price(model, made)
    made.model = model
    made.save(update_fields=["model"])


def _price(model: ProviderModel, made: TunedModel) -> None:
    base, given = providers.price_of(made.base), made.job.price or {}
    own = {name: Decimal(given[name]) if given.get(name) else None for name in ("tuned_input", "tuned_output")}
    fresh = own["tuned_input"] if own["tuned_input"] is not None else base.input if base else None
    out = own["tuned_output"] if own["tuned_output"] is not None else base.output if base else None
    if fresh is None or out is None:
        return
    cached = base.cached_input if base and own["tuned_input"] is None else fresh
    ModelPrice.objects.create(
        model=model,
        valid_from=timezone.now().date(),
        input=fresh,
        cached_input=cached,
        output=out,
        source=PRICE_SOURCE,
        by_name=f"fine-tune {made.job_id}",
    )


def unmeasured() -> QuerySet[TunedModel]:
    """Tuned models whose evaluation has not begun."""
    return loaded().filter(model__isnull=False, evaluations=None).order_by("id")


@transaction.atomic
def measure(model: TunedModel) -> list[Run]:
    """Begin the evaluation of a tuned model on each side that it has none on, as whoever started the job may; returns
    the runs. Safe to repeat."""
    locked = TunedModel.objects.select_for_update().get(pk=model.pk)
    there = set(locked.evaluations.values_list("split", flat=True))
    made: list[Run] = []
    # A fold is one test among several; what was forgotten is looked at once, of the model that learned all.
    sides = (Split.TEST,) if model.job.cross_validation_id else SIDES
    for split in (side for side in sides if side not in there):
        row = TunedEvaluation(tuned=model, split=split)
        if not builder.side(model.job.training_set, split).exists():
            if split == Split.TEST:
                row.error = "The dataset has no test side, so nothing says whether this model is better."
                row.save()
            continue
        try:
            with transaction.atomic():
                actor = api_keys.starter(model.job, model.project)
                row.baseline = runs.create(actor, _asked(model, split, is_tuned=False))
                row.candidate = runs.create(actor, _asked(model, split, is_tuned=True))
                made += [row.baseline, row.candidate]
        except Problem as problem:
            row.baseline = row.candidate = None
            row.error = problem.detail[:1_000]
        row.save()
    return made


def _asked(model: TunedModel, split: str, *, is_tuned: bool) -> Asked:
    """The short prompt to the tuned model, or the long one to its base; the same cases, without those that leaked."""
    job = model.job
    asked_model = model.model if is_tuned and model.model else model.base
    return Asked(
        version=job.training_set.prompt if is_tuned else job.baseline,
        dataset_version=job.training_set.dataset_version,
        scorers=job.scorers,
        model=asked_model,
        split="" if job.training_set.folds else split,
        parameters=_parameters(job.baseline),
        leaked="exclude",
        cases=_fold(job.training_set),
    )


def _fold(training_set: TrainingSet) -> list[int] | None:
    """The cases that a fold's model has not seen; None where the dataset's own sides count."""
    rows = builder.side(training_set, Split.TEST).order_by("pk")
    return list(rows.values_list("pk", flat=True)) if training_set.folds else None


@transaction.atomic
def measure_again(actor: Actor, model: TunedModel) -> list[Run]:
    """Begin again where an evaluation came to nothing: its runs could not begin, ended early, or were not compared."""
    actor.require(Right.EDIT)
    TunedModel.objects.select_for_update().get(pk=model.pk)
    lost = model.evaluations.filter(~Q(error="") | Q(comparison__state=ComparisonState.FAILED))
    if not lost.delete()[0]:
        raise Problem("finetune.wrong_state", "Nothing about its evaluation has failed.")
    audit.record(actor, "finetune.measured_again", model)
    return measure(model)


def _parameters(baseline: PromptVersion) -> dict[str, Any]:
    """Both are asked with the settings of the prompt that is live: what differs is the model and what it is told."""
    own: Mapping[str, Any] = baseline.content.get("model", {})
    return {name: value for name, value in own.items() if name in planning.PARAMETERS}


def uncompared() -> QuerySet[TunedEvaluation]:
    """Evaluations whose runs are both over, and that are not compared."""
    rows = TunedEvaluation.objects.filter(
        comparison=None, error="", baseline__summary__isnull=False, candidate__summary__isnull=False
    )
    return rows.select_related(
        "tuned__job__by", "tuned__job__by_key__project", "tuned__project", "baseline", "candidate"
    )


@transaction.atomic
def compare(found: TunedEvaluation) -> int | None:
    """Hold the runs of an evaluation against each other; returns the comparison's number. Safe to repeat."""
    row = TunedEvaluation.objects.select_for_update(of=("self",)).get(pk=found.pk)
    if row.comparison_id or row.error or found.baseline is None or found.candidate is None:
        return None
    try:
        for run in (found.baseline, found.candidate):
            if run.state != RunState.DONE:
                said = RunState(run.state).label.lower()
                raise Problem("comparison.not_comparable", f"Run {run.pk} is {said}. {run.error}")
        actor = api_keys.starter(found.tuned.job, found.tuned.project)
        row.comparison = pairwise.create(actor, found.baseline, found.candidate)
    except Problem as problem:
        row.error = problem.detail[:1_000]
    row.save(update_fields=["comparison", "error"])
    return row.comparison_id


@transaction.atomic
def publish(actor: Actor, model: TunedModel, environment: Environment, *, reason: str = "") -> TunedModel:
    """Make a version of the prompt that was to be replaced, with the short prompt and the tuned model, and ask for its
    promotion: from there on it is a version like any other, reviewed, gated, released and rolled back as they are."""
    actor.require(Right.EDIT)
    if model.model is None:
        raise Problem("finetune.not_deployed", "Deploy the model first, and say by which name it answers.")
    if model.job.cross_validation_id:
        sentence = "This model has learned some of the folds alone, to be measured; tune one on all of the data."
        raise Problem("finetune.wrong_state", sentence)
    providers.require_usable(model.model)
    providers.require_usable(model.base)
    source = model.job.training_set.source
    content = dict(model.job.training_set.prompt.content)
    settings = {**source.content.get("model", {}), **content.get("model", {}), "name": model.model.name}
    source.prompt.project = actor.project
    message = f"Tuned model of fine-tune {model.job_id}, with its short prompt"
    made = versions.commit(
        actor, source.prompt, content={**content, "model": settings}, message=message, parent=source.number
    ).version
    made.prompt = source.prompt
    asked = workflow.request(actor, source.prompt, made, environment, reason=reason or message)
    TunedModel.objects.filter(pk=model.pk).update(published=made, promotion=asked)
    audit.record(actor, "finetune.published", model, after={"version": str(made), "environment": environment.name})
    return numbered(model.project, model.pk)


def stale(model: TunedModel) -> list[str]:
    """Why a tuned model should be tuned again; empty where nothing says so."""
    found = []
    trained = model.job.training_set.dataset_version
    head = trained.dataset.head
    if head and head.number > trained.number:
        before = trained.sizes.get("train", 0)
        added = head.sizes.get("train", 0) - before
        newer = f"{trained.dataset.name}@{head.number}"
        if added > 0:
            share = f"{added / max(1, before):.0%}"
            found.append(f"{newer} has {added:,} more training cases, {share} of what it learned from.")
        else:
            found.append(f"{newer} is newer than version {trained.number}, which it learned.")
    newest = model.job.training_set.source.prompt.head
    is_other = newest is not None and newest.pk not in (model.job.training_set.source_id, model.published_id)
    # What was said while it was being tuned it has not learned either.
    if newest and is_other and newest.created_at > model.job.training_set.created_at:
        found.append(f"{newest.prompt.name} has changed since: version {newest.number} says other things.")
    found += [f"Live calls are not what it was measured on. {one['sentence']}" for one in model.drifts if _is_much(one)]
    ends_on = ends(model)
    if ends_on:
        left = (ends_on - timezone.now().date()).days
        if left <= provider_settings.SOON.days:
            found.append(
                f"It is shut down on {ends_on}, in {left} days." if left > 0 else f"It was shut down on {ends_on}."
            )
    return found


def _is_much(drift: Mapping[str, Any]) -> bool:
    return bool(drift["size"] == Size.MUCH)


def undrifted() -> QuerySet[TunedModel]:
    """Published models whose live calls nobody has looked at for an hour."""
    old = Q(drift_looked_at=None) | Q(drift_looked_at__lt=timezone.now() - DRIFT_EVERY)
    return loaded().filter(old, published__isnull=False).order_by("drift_looked_at", "id")


def look_at_drift(model: TunedModel) -> None:
    """Hold the live calls of what was published against the cases that it was measured on."""
    run = model.evaluations.filter(split=Split.TEST, candidate__isnull=False).select_related("candidate").first()
    found = usage.since_run(model.published, run.candidate) if run and run.candidate and model.published else []
    TunedModel.objects.filter(pk=model.pk).update(
        drifts=[one.as_dict() for one in found], drift_looked_at=timezone.now()
    )


def ends(model: TunedModel) -> date | None:
    """The last day of a tuned model: its own, or that of its base, which may have become known later."""
    own = model.model.shutdown_date if model.model else None
    return min((day for day in (own, model.base.shutdown_date) if day), default=None)


def loaded() -> QuerySet[TunedModel]:
    """Tuned models with what they are about."""
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


def listed() -> QuerySet[TunedModel]:
    """The same with their evaluations, for who shows many and changes none."""
    return loaded().prefetch_related("evaluations__comparison")


def numbered(project: Project, number: int) -> TunedModel:
    """The project's tuned model with this number, or `finetune.not_found`."""
    found = loaded().filter(project=project, pk=number).first()
    if found is None:
        raise Problem("finetune.not_found", f"There is no tuned model {number}.")
    found.project = project
    return found


def of(job: FineTune) -> TunedModel | None:
    """What came out of a job, if anything has."""
    return loaded().filter(job=job).first()


def required(job: FineTune) -> TunedModel:
    """What came out of a job; `finetune.wrong_state` where nothing has."""
    model = of(job)
    if model is None:
        raise Problem("finetune.wrong_state", "This job has no tuned model.")
    return model


def evaluations_of(model: TunedModel) -> QuerySet[TunedEvaluation]:
    """How it measured, as far as that has come by now."""
    return evaluations().filter(tuned=model)


def evaluations() -> QuerySet[TunedEvaluation]:
    """Evaluations with their runs and comparisons."""
    wanted = ("tuned", "comparison", "baseline__version__prompt", "candidate__version__prompt")
    return TunedEvaluation.objects.select_related(*wanted).order_by("id")
