"""Fine-tune jobs: drafts, submission, cancelling, estimates. finetunes.jobs.worker takes the steps at the provider."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import F, FloatField, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Extract
from django.utils import timezone

from core.errors import Fault, Problem
from core.references import parse_reference
from evaluations.data_quality import reports
from evaluations.models import Case, ProviderModel
from evaluations.providers import configuration as providers
from evaluations.runs import planning
from evaluations.scorers import specs as scoring
from finetunes.jobs import provider_settings
from finetunes.models import CrossValidation, FineTune, TrainingSet, TrainingSetState, TunePoint
from finetunes.providers.jsonl import Method
from finetunes.providers.states import JobState
from finetunes.training_sets import advisories, builder, estimates
from finetunes.training_sets.estimates import Estimate, EstimatedFigure, Hyperparameters
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.models import Project, PromptVersion
from registry.prompts import resolution

MAX_BETA = 2.0
SUFFIX_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789-"
MAX_SUFFIX_LENGTH = 40
HYPERPARAMETER_NAMES = ("n_epochs", "batch_size", "learning_rate_multiplier", "beta", "rank", "layers")


@transaction.atomic
def draft(
    actor: Actor,
    training_set: TrainingSet,
    model: ProviderModel,
    *,
    hyperparameters: Mapping[str, Any] | None = None,
    suffix: str = "",
    baseline: PromptVersion | None = None,
    scorers: object = None,
    budget_usd: object = None,
    cross_validation: CrossValidation | None = None,
) -> FineTune:
    """Draft a job: nothing is sent before it is submitted. `baseline` is the prompt that the tuned model has to beat
    (by default the one that the set was made for), `scorers` judge both."""
    actor.require(Right.EDIT)
    faults: list[Fault] = []
    settings = read_hyperparameters(hyperparameters or {}, Method(training_set.method), faults)
    budget = planning.read_budget(budget_usd, faults)
    suffix = suffix.strip().lower()
    if len(suffix) > MAX_SUFFIX_LENGTH or set(suffix) - set(SUFFIX_CHARACTERS):
        faults.append(Fault("/suffix", "name", f"At most {MAX_SUFFIX_LENGTH} lower-case letters, digits and hyphens."))
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
    _require_ready(training_set)
    provider_settings.require_tunable(model)
    _require_supported(model, training_set, settings)
    requested_scorers = scorers or default_scorers(training_set)
    specs = planning.pin_scorers(actor.project, scoring.read_specs(requested_scorers), model)
    price = provider_settings.price_as_dict(provider_settings.current_price(model))
    job = FineTune.objects.create(
        project=actor.project,
        training_set=training_set,
        cross_validation=cross_validation,
        model=model,
        provider_name=model.provider.name,
        model_name=model.name,
        is_simulation=model.provider.is_simulation,
        hyperparameters=settings.as_dict(),
        suffix=suffix,
        baseline=baseline or training_set.source,
        scorers=[spec.as_dict() for spec in specs],
        estimate=estimate_job(training_set, model, settings).as_dict(),
        price=price,
        budget_usd=budget,
        by=actor.user,
        by_key=actor.key,
        by_name=actor.name,
    )
    after = {"training_set": training_set.pk, "model": str(model), "hyperparameters": job.hyperparameters}
    audit.record(actor, "finetune.drafted", job, after=after)
    return job


@transaction.atomic
def submit(actor: Actor, job: FineTune) -> FineTune:
    """Submit a draft to the workers, who check it once more, send it, and poll it."""
    actor.require(Right.EDIT)
    _refresh_estimate(job)
    require_submittable(job)
    now = timezone.now()
    _move(job, (JobState.DRAFT,), JobState.VALIDATING, submitted_at=now, next_poll_at=now)
    audit.record(actor, "finetune.submitted", job, after={"estimate": job.estimate})
    return get_job(job.project, job.pk)


def _refresh_estimate(job: FineTune) -> None:
    """Estimate again with today's prices, which may have changed since the job was drafted."""
    settings = read_hyperparameters(_requested_hyperparameters(job), Method(job.training_set.method), [])
    job.estimate = estimate_job(job.training_set, job.model, settings).as_dict()
    job.price = provider_settings.price_as_dict(provider_settings.current_price(job.model))
    FineTune.objects.filter(pk=job.pk, state=JobState.DRAFT).update(estimate=job.estimate, price=job.price)


def _requested_hyperparameters(job: FineTune) -> dict[str, Any]:
    """Return a job's settings as a request has them."""
    members = {name: estimates.AUTO if value is None else value for name, value in job.hyperparameters.items()}
    return {name: value for name, value in members.items() if name != "beta" or value != estimates.AUTO}


def require_submittable(job: FineTune) -> None:
    """Check all that must hold before money is spent: when a job is submitted, and by the worker that sends it."""
    training_set = job.training_set
    _require_ready(training_set)
    if training_set.errors:
        sentence = f"{training_set} has {training_set.errors:,} faults; build one from fixed data."
        raise Problem("training_set.has_faults", sentence, errors=training_set.errors)
    max_tokens = estimates.max_example_tokens(job.model_name)
    too_long = [
        length
        for length in _lengths(training_set, job.model)["train"]
        if max_tokens is not None and length > max_tokens
    ]
    if too_long:
        sentence = f"{len(too_long):,} examples are longer than the {max_tokens:,} tokens that {job.model_name} reads."
        raise Problem("training_set.has_faults", sentence, errors=len(too_long))
    reports.require_no_leaks(training_set.dataset_version)
    provider_settings.require_tunable(job.model)
    if job.budget_usd is None:
        return
    cost = job.estimate.get("cost_usd")
    if cost is None:
        sentence = f"Tuning {job.model} has no price, so a budget cannot be kept. Enter the price first."
        raise Problem("finetune.no_price", sentence, faults=[Fault("/budget_usd", "price", sentence)])
    if Decimal(cost) > job.budget_usd:
        sentence = f"It would cost about ${Decimal(cost):.2f}; the budget is ${job.budget_usd:.2f}."
        raise Problem("finetune.over_budget", sentence, faults=[Fault("/budget_usd", "range", sentence)])


@transaction.atomic
def cancel(actor: Actor, job: FineTune) -> FineTune:
    """End a job: at once where nothing was sent yet, else as soon as the provider has ended it."""
    actor.require(Right.EDIT)
    locked = FineTune.objects.select_for_update().get(pk=job.pk)
    is_sent = bool(locked.remote_id or locked.asked_at)
    now = timezone.now()
    if locked.is_over:
        raise Problem("finetune.wrong_state", f"This job is over: {locked.get_state_display().lower()}.")
    rows = FineTune.objects.filter(pk=job.pk)
    if locked.state in (JobState.DRAFT, JobState.VALIDATING) or (
        locked.state == JobState.NEEDS_ATTENTION and not is_sent
    ):
        rows.update(state=JobState.CANCELLED, finished_at=now, next_poll_at=None, note="")
    elif locked.state == JobState.NEEDS_ATTENTION and locked.cancel_asked_at:
        # The provider could not be reached, and a user cancels again: it ends here, whatever goes on there.
        note = "Cancelled here; the provider could not be reached."
        rows.update(state=JobState.CANCELLED, finished_at=now, next_poll_at=None, note=note)
    elif locked.state == JobState.NEEDS_ATTENTION:
        rows.update(state=locked.resumes_at, cancel_asked_at=now, next_poll_at=now, error="", consecutive_failures=0)
    else:
        rows.update(cancel_asked_at=now, next_poll_at=now)
    audit.record(actor, "finetune.cancelled", job)
    return get_job(job.project, job.pk)


@transaction.atomic
def retry(actor: Actor, job: FineTune, *, budget_usd: object = None) -> FineTune:
    """Resume a job that needed attention, after the cause is fixed; with another budget where one is given."""
    actor.require(Right.EDIT)
    faults: list[Fault] = []
    budget = planning.read_budget(budget_usd, faults)
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
    locked = FineTune.objects.select_for_update().get(pk=job.pk)
    if locked.state != JobState.NEEDS_ATTENTION:
        raise Problem(
            "finetune.wrong_state", f"This job is {locked.get_state_display().lower()}; there is nothing to fix."
        )
    FineTune.objects.filter(pk=job.pk).update(
        state=locked.resumes_at,
        error="",
        note="",
        consecutive_failures=0,
        next_poll_at=timezone.now(),
        heartbeat_at=None,
        budget_usd=locked.budget_usd if budget is None else budget,
    )
    audit.record(actor, "finetune.retried", job)
    return get_job(job.project, job.pk)


def _move(job: FineTune, old: tuple[JobState, ...], new: JobState, **members: Any) -> None:
    if FineTune.objects.filter(pk=job.pk, state__in=old).update(state=new, **members) != 1:
        now = FineTune.objects.get(pk=job.pk).get_state_display().lower()
        raise Problem("finetune.wrong_state", f"This job is {now}.")


def _require_supported(model: ProviderModel, training_set: TrainingSet, settings: Hyperparameters) -> None:
    """Refuse what the provider's protocol has no words for, before files are sent."""
    protocol = provider_settings.protocol_for(provider_settings.settings_for(model.provider))
    faults = []
    if Method(training_set.method) not in protocol.methods:
        faults.append(
            Fault("/training_set", "method", f"{protocol.title} does not tune by {training_set.method} here.")
        )
    if not protocol.has_rate_multiplier and settings.learning_rate_multiplier not in (None, 1):
        sentence = f"{protocol.title} takes no multiplier of its learning rate: leave it at 1, or at auto."
        faults.append(Fault("/hyperparameters/learning_rate_multiplier", "unsupported", sentence))
    for name in ("rank", "layers"):
        if getattr(settings, name) is not None and name not in protocol.more_settings:
            sentence = f"{protocol.title} takes no {name}: leave it at auto."
            faults.append(Fault(f"/hyperparameters/{name}", "unsupported", sentence))
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)


def _require_ready(training_set: TrainingSet) -> None:
    if training_set.state != TrainingSetState.DONE:
        state = training_set.get_state_display().lower()
        raise Problem("training_set.not_ready", f"{training_set} is {state}. {training_set.error}".strip())


def read_hyperparameters(document: Mapping[str, Any], method: Method, faults: list[Fault]) -> Hyperparameters:
    """Read settings from a request; `auto` leaves one to the provider, missing ones have careful defaults."""
    sentence = f"Settings are: {', '.join(HYPERPARAMETER_NAMES)}."
    unknown = sorted(document.keys() - set(HYPERPARAMETER_NAMES))
    faults.extend(Fault(f"/hyperparameters/{name}", "unknown", sentence) for name in unknown)
    settings = (
        advisories.DEFAULTS if method == Method.SUPERVISED else replace(advisories.DEFAULTS, beta=advisories.BETA)
    )
    for name, (low, high), is_whole in (
        ("n_epochs", estimates.EPOCHS, True),
        ("batch_size", estimates.BATCH_SIZES, True),
        ("learning_rate_multiplier", (0, estimates.MAX_RATE), False),
        ("beta", (0, MAX_BETA), False),
        ("rank", estimates.RANKS, True),
        ("layers", estimates.LAYERS, True),
    ):
        value = document.get(name)
        if value is None:
            continue
        pointer = f"/hyperparameters/{name}"
        if name == "beta" and method != Method.PREFERENCE:
            faults.append(Fault(pointer, "method", "Only preference pairs have a beta."))
        elif value == estimates.AUTO and name != "beta":
            settings = replace(settings, **{name: None})
        elif isinstance(value, bool) or not isinstance(value, int if is_whole else int | float):
            faults.append(Fault(pointer, "type", f"Must be a {'whole ' if is_whole else ''}number, or auto."))
        elif not low <= value <= high or value <= 0:
            faults.append(Fault(pointer, "range", f"Must be above 0, from {low:g} to {high:g}."))
        else:
            settings = replace(settings, **{name: value})
    return settings


def default_scorers(training_set: TrainingSet) -> list[str]:
    """Choose scorers where a request has none: labels where cases have them, the schema where there is one."""
    labelled = Case.objects.of(training_set.dataset_version).exclude(label="").exists()
    schema = training_set.prompt.content.get("response", {}).get("format") == "json_schema"
    return ["label" if labelled else "exact", *(["json_schema"] if schema else [])]


def estimate_job(training_set: TrainingSet, model: ProviderModel, hyperparameters: Hyperparameters) -> Estimate:
    """Estimate tokens, epochs, costs and time of learning a set; time by this provider's jobs with the same base."""
    price = provider_settings.current_price(model)
    lengths = _lengths(training_set, model)["train"]
    return estimates.estimate_training(
        lengths,
        hyperparameters,
        is_exact=builder.is_exact(model.name),
        max_tokens=estimates.max_example_tokens(model.name),
        price=price.training if price else None,
        seconds_per_token=_seconds_per_token(model),
    )


def estimated_and_actual(job: FineTune) -> list[EstimatedFigure]:
    """Return a job's figures as they were estimated, and as far as its provider has told them, as they are."""
    tuned = getattr(job, "tuned", None)
    seconds = (job.finished_at - job.started_at).total_seconds() if job.finished_at and job.started_at else None
    is_done = job.state == JobState.SUCCEEDED
    return estimates.compare_with_actual(
        job.estimate,
        epochs=tuned.hyperparameters.get("n_epochs") if tuned else None,
        # Losses are told at steps; the last one is that of the end.
        steps=_last_step(job) if is_done else None,
        trained_tokens=job.trained_tokens,
        cost_usd=job.cost_usd,
        seconds=seconds if is_done else None,
    )


def _last_step(job: FineTune) -> int | None:
    """Return the last step that the provider has told; lists have read it with the job."""
    if not hasattr(job, "last_step"):
        return job.points.values_list("step", flat=True).order_by("-step").first()
    step: int | None = job.last_step
    return step


def estimate_with_advisories(
    training_set: TrainingSet, model: ProviderModel, hyperparameters: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Estimate with advisories, without creating a job."""
    faults: list[Fault] = []
    settings = read_hyperparameters(hyperparameters or {}, Method(training_set.method), faults)
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
    _require_ready(training_set)
    job_estimate = estimate_job(training_set, model, settings)
    setting_advisories = advisories.setting_advisories(
        job_estimate.examples, settings, job_estimate.epochs, has_general=bool(training_set.report.get("has_general"))
    )
    knowledge = training_set.report.get("knowledge")
    return {
        **job_estimate.as_dict(),
        "hyperparameters": settings.as_dict(),
        "provider_epochs": estimates.automatic_epochs(job_estimate.examples),
        "warnings": [*(advisory.as_dict() for advisory in setting_advisories), *([knowledge] if knowledge else [])],
        "ends": provider_settings.shutdown_warnings(model),
    }


def _lengths(training_set: TrainingSet, model: ProviderModel) -> dict[str, list[int]]:
    vocabulary = builder.vocabulary_of(model.name)
    # `jobs_with_related` defers the long member; it is read here.
    lengths_by_vocabulary = TrainingSet.objects.values_list("lengths", flat=True).get(pk=training_set.pk)
    lengths: dict[str, list[int]] = lengths_by_vocabulary[vocabulary]
    return lengths


def _seconds_per_token(model: ProviderModel) -> float | None:
    done = FineTune.objects.filter(
        model=model, state=JobState.SUCCEEDED, started_at__isnull=False, trained_tokens__gt=0
    )
    totals = done.aggregate(
        seconds=Sum(Extract(F("finished_at") - F("started_at"), "epoch"), output_field=FloatField()),
        tokens=Sum("trained_tokens"),
    )
    return float(totals["seconds"]) / int(totals["tokens"]) if totals["tokens"] else None


def jobs_with_related() -> QuerySet[FineTune]:
    """Return jobs with their related rows, and the last step of each as `last_step`."""
    steps = TunePoint.objects.filter(job=OuterRef("pk")).order_by("-step").values("step")[:1]
    return (
        FineTune.objects.annotate(last_step=Subquery(steps))
        .select_related(
            "project",
            "training_set__dataset_version__dataset",
            "training_set__source__prompt",
            "training_set__prompt__prompt",
            "model__provider",
            "baseline__prompt",
            "by",
            "by_key__project",
            "tuned__model__provider",
        )
        .defer("training_set__lengths")
    )


def get_job(project: Project, number: int) -> FineTune:
    """Return the project's job with this number, or raise `finetune.not_found`."""
    job = jobs_with_related().filter(project=project, pk=number).first()
    if job is None:
        raise Problem("finetune.not_found", f"There is no fine-tune {number}.")
    job.project = project
    return job


def due_jobs() -> QuerySet[FineTune]:
    """Return jobs whose next step is due, and that no worker holds."""
    return FineTune.objects.filter(FineTune.claimable(), next_poll_at__lte=timezone.now()).order_by("next_poll_at")


def read_request(project: Project, document: Mapping[str, Any]) -> dict[str, Any]:
    """Read a request for a job: `model` (openai/gpt-6-luna), and the other arguments of `draft`; `baseline` is a
    reference to a version."""
    baseline = document.get("baseline")
    return {
        "model": providers.get_model(project, str(document["model"])),
        "hyperparameters": document.get("hyperparameters") or {},
        "suffix": str(document.get("suffix") or ""),
        "baseline": resolution.resolve(project, parse_reference(str(baseline))) if baseline else None,
        "scorers": document.get("scorers") or None,
        "budget_usd": document.get("budget_usd"),
    }
