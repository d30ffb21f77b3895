"""Fine-tune jobs: what people and machines do with them. finetunes.jobs.worker takes the steps at the provider."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import F, FloatField, Q, QuerySet, Sum
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
from finetunes.models import CrossValidation, FineTune, TrainingSet, TrainingSetState
from finetunes.providers.jsonl import Method
from finetunes.providers.states import DRIVEN, JobState
from finetunes.training_sets import advisories, builder, estimates
from finetunes.training_sets.estimates import Estimate, Hyperparameters
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.models import Project, PromptVersion
from registry.prompts import resolution

LARGEST_BETA = 2.0
SUFFIX = "abcdefghijklmnopqrstuvwxyz0123456789-"
LONGEST_SUFFIX = 40
MEMBERS = ("n_epochs", "batch_size", "learning_rate_multiplier", "beta")


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
    """A job as it would be: nothing is sent before it is submitted. `baseline` is the prompt that the tuned model is
    to beat (the one that the set was made for), `scorers` judge both."""
    actor.require(Right.EDIT)
    faults: list[Fault] = []
    chosen = read_hyperparameters(hyperparameters or {}, Method(training_set.method), faults)
    budget = planning.read_budget(budget_usd, faults)
    suffix = suffix.strip().lower()
    if len(suffix) > LONGEST_SUFFIX or set(suffix) - set(SUFFIX):
        faults.append(Fault("/suffix", "name", f"At most {LONGEST_SUFFIX} lower-case letters, digits and hyphens."))
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
    _require_ready(training_set)
    provider_settings.require_tunable(model)
    wanted = scorers or default_scorers(training_set)
    specs = planning.pinned(actor.project, scoring.read_specs(wanted), model)
    price = provider_settings.told(provider_settings.price_of(model))
    made = FineTune.objects.create(
        project=actor.project,
        training_set=training_set,
        cross_validation=cross_validation,
        model=model,
        provider_name=model.provider.name,
        model_name=model.name,
        is_simulation=model.provider.is_simulation,
        hyperparameters=chosen.as_dict(),
        suffix=suffix,
        baseline=baseline or training_set.source,
        scorers=[spec.as_dict() for spec in specs],
        estimate=estimate(training_set, model, chosen).as_dict(),
        price=price,
        budget_usd=budget,
        by=actor.user,
        by_key=actor.key,
        by_name=actor.name,
    )
    after = {"training_set": training_set.pk, "model": str(model), "hyperparameters": made.hyperparameters}
    audit.record(actor, "finetune.drafted", made, after=after)
    return made


@transaction.atomic
def submit(actor: Actor, job: FineTune) -> FineTune:
    """Hand a draft to the workers, who check it once more, send it, and look after it."""
    actor.require(Right.EDIT)
    _estimate_again(job)
    require_submittable(job)
    now = timezone.now()
    _move(job, (JobState.DRAFT,), JobState.VALIDATING, submitted_at=now, next_poll_at=now)
    audit.record(actor, "finetune.submitted", job, after={"estimate": job.estimate})
    return numbered(job.project, job.pk)


def _estimate_again(job: FineTune) -> None:
    """Prices may be others by now than when the job was drafted; it is submitted with those of today."""
    chosen = read_hyperparameters(_given(job), Method(job.training_set.method), [])
    job.estimate = estimate(job.training_set, job.model, chosen).as_dict()
    job.price = provider_settings.told(provider_settings.price_of(job.model))
    FineTune.objects.filter(pk=job.pk, state=JobState.DRAFT).update(estimate=job.estimate, price=job.price)


def _given(job: FineTune) -> dict[str, Any]:
    """A job's settings as they are asked for."""
    given = {name: estimates.AUTO if value is None else value for name, value in job.hyperparameters.items()}
    return {name: value for name, value in given.items() if name != "beta" or value != estimates.AUTO}


def require_submittable(job: FineTune) -> None:
    """All that must hold before money is spent; looked at when a job is submitted, and by the worker that sends it."""
    training_set = job.training_set
    _require_ready(training_set)
    if training_set.errors:
        sentence = f"{training_set} has {training_set.errors:,} faults; build one from mended data."
        raise Problem("training_set.has_faults", sentence, errors=training_set.errors)
    longest = estimates.longest_example(job.model_name)
    over = [one for one in _lengths(training_set, job.model)["train"] if longest is not None and one > longest]
    if over:
        sentence = f"{len(over):,} examples are longer than the {longest:,} tokens that {job.model_name} reads."
        raise Problem("training_set.has_faults", sentence, errors=len(over))
    reports.require_clean(training_set.dataset_version)
    provider_settings.require_tunable(job.model)
    if job.budget_usd is None:
        return
    cost = job.estimate.get("cost_usd")
    if cost is None:
        sentence = f"Nobody has said what tuning {job.model} costs, so a budget cannot be kept. Enter its price first."
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
        # Its provider could not be told, and somebody asks again: here it ends, whatever goes on there.
        note = "Ended here; the provider could not be told."
        rows.update(state=JobState.CANCELLED, finished_at=now, next_poll_at=None, note=note)
    elif locked.state == JobState.NEEDS_ATTENTION:
        rows.update(state=locked.resumes_at, cancel_asked_at=now, next_poll_at=now, error="", setbacks=0)
    else:
        rows.update(cancel_asked_at=now, next_poll_at=now)
    audit.record(actor, "finetune.cancelled", job)
    return numbered(job.project, job.pk)


@transaction.atomic
def retry(actor: Actor, job: FineTune, *, budget_usd: object = None) -> FineTune:
    """Go on with a job that needed attention, when what was wrong is mended; with another budget where one is given."""
    actor.require(Right.EDIT)
    faults: list[Fault] = []
    budget = planning.read_budget(budget_usd, faults)
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
    locked = FineTune.objects.select_for_update().get(pk=job.pk)
    if locked.state != JobState.NEEDS_ATTENTION:
        raise Problem("finetune.wrong_state", f"This job is {locked.get_state_display().lower()}; nothing is to mend.")
    FineTune.objects.filter(pk=job.pk).update(
        state=locked.resumes_at,
        error="",
        note="",
        setbacks=0,
        next_poll_at=timezone.now(),
        leased_until=None,
        budget_usd=locked.budget_usd if budget is None else budget,
    )
    audit.record(actor, "finetune.retried", job)
    return numbered(job.project, job.pk)


def _move(job: FineTune, old: tuple[JobState, ...], new: JobState, **members: Any) -> None:
    if FineTune.objects.filter(pk=job.pk, state__in=old).update(state=new, **members) != 1:
        now = FineTune.objects.get(pk=job.pk).get_state_display().lower()
        raise Problem("finetune.wrong_state", f"This job is {now}.")


def _require_ready(training_set: TrainingSet) -> None:
    if training_set.state != TrainingSetState.READY:
        said = training_set.get_state_display().lower()
        raise Problem("training_set.not_ready", f"{training_set} is {said}. {training_set.error}".strip())


def read_hyperparameters(given: Mapping[str, Any], method: Method, faults: list[Fault]) -> Hyperparameters:
    """Settings as somebody wrote them; `auto` leaves one to the provider, what is not given is the careful default."""
    sentence = f"Settings are: {', '.join(MEMBERS)}."
    unknown = sorted(given.keys() - set(MEMBERS))
    faults.extend(Fault(f"/hyperparameters/{name}", "unknown", sentence) for name in unknown)
    found = advisories.DEFAULTS if method == Method.SUPERVISED else replace(advisories.DEFAULTS, beta=advisories.BETA)
    for name, (low, high), is_whole in (
        ("n_epochs", estimates.EPOCHS, True),
        ("batch_size", estimates.BATCH_SIZES, True),
        ("learning_rate_multiplier", (0, estimates.LARGEST_RATE), False),
        ("beta", (0, LARGEST_BETA), False),
    ):
        value = given.get(name)
        if value is None:
            continue
        pointer = f"/hyperparameters/{name}"
        if name == "beta" and method != Method.PREFERENCE:
            faults.append(Fault(pointer, "method", "Only preference pairs have a beta."))
        elif value == estimates.AUTO and name != "beta":
            found = replace(found, **{name: None})
        elif isinstance(value, bool) or not isinstance(value, int if is_whole else int | float):
            faults.append(Fault(pointer, "type", f"Must be a {'whole ' if is_whole else ''}number, or auto."))
        elif not low <= value <= high or value <= 0:
            faults.append(Fault(pointer, "range", f"Must be above 0, from {low:g} to {high:g}."))
        else:
            found = replace(found, **{name: value})
    return found


def default_scorers(training_set: TrainingSet) -> list[str]:
    """What both models are judged by where nobody says: labels where cases have them, the schema where there is one."""
    labelled = Case.objects.of(training_set.dataset_version).exclude(label="").exists()
    schema = training_set.prompt.content.get("response", {}).get("format") == "json_schema"
    return ["label" if labelled else "exact", *(["json_schema"] if schema else [])]


def estimate(training_set: TrainingSet, model: ProviderModel, hyperparameters: Hyperparameters) -> Estimate:
    """Tokens, epochs, money and time of learning a set; time as this provider took for the same base before."""
    price = provider_settings.price_of(model)
    lengths = _lengths(training_set, model)["train"]
    return estimates.estimated(
        lengths,
        hyperparameters,
        is_exact=builder.is_exact(model.name),
        longest=estimates.longest_example(model.name),
        price=price.training if price else None,
        seconds_per_token=_seconds_per_token(model),
    )


def estimated(
    training_set: TrainingSet, model: ProviderModel, given: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """An estimate with what speaks against it; nothing is made."""
    faults: list[Fault] = []
    chosen = read_hyperparameters(given or {}, Method(training_set.method), faults)
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
    _require_ready(training_set)
    found = estimate(training_set, model, chosen)
    warned = advisories.warnings(
        found.examples, chosen, found.epochs, has_general=bool(training_set.report.get("has_general"))
    )
    knowledge = training_set.report.get("knowledge")
    return {
        **found.as_dict(),
        "hyperparameters": chosen.as_dict(),
        "provider_epochs": estimates.automatic_epochs(found.examples),
        "warnings": [*(one.as_dict() for one in warned), *([knowledge] if knowledge else [])],
        "ends": provider_settings.warnings(model),
    }


def _lengths(training_set: TrainingSet, model: ProviderModel) -> dict[str, list[int]]:
    vocabulary = builder.vocabulary_of(model.name)
    # `loaded` leaves the long member out; here it is read.
    kept = TrainingSet.objects.values_list("lengths", flat=True).get(pk=training_set.pk)
    found: dict[str, list[int]] = kept[vocabulary]
    return found


def _seconds_per_token(model: ProviderModel) -> float | None:
    done = FineTune.objects.filter(
        model=model, state=JobState.SUCCEEDED, started_at__isnull=False, trained_tokens__gt=0
    )
    found = done.aggregate(
        seconds=Sum(Extract(F("finished_at") - F("started_at"), "epoch"), output_field=FloatField()),
        tokens=Sum("trained_tokens"),
    )
    return float(found["seconds"]) / int(found["tokens"]) if found["tokens"] else None


def loaded() -> QuerySet[FineTune]:
    """Jobs with what they are about."""
    return FineTune.objects.select_related(
        "project",
        "training_set__dataset_version__dataset",
        "training_set__source__prompt",
        "training_set__prompt__prompt",
        "model__provider",
        "baseline__prompt",
        "by",
        "by_key__project",
        "tuned__model__provider",
    ).defer("training_set__lengths")


def numbered(project: Project, number: int) -> FineTune:
    """The project's job with this number, or `finetune.not_found`."""
    found = loaded().filter(project=project, pk=number).first()
    if found is None:
        raise Problem("finetune.not_found", f"There is no fine-tune {number}.")
    found.project = project
    return found


def due() -> QuerySet[FineTune]:
    """Jobs whose next step may be taken now, and that nobody takes."""
    now = timezone.now()
    free = Q(leased_until=None) | Q(leased_until__lt=now)
    return FineTune.objects.filter(free, state__in=DRIVEN, next_poll_at__lte=now).order_by("next_poll_at")


def asked_for(project: Project, document: Mapping[str, Any]) -> dict[str, Any]:
    """A job as it is written: `model` (openai/gpt-4.1-mini), and what `draft` takes beside it; `baseline` is a
    reference to a version."""
    wanted = document.get("baseline")
    return {
        "model": providers.model_named(project, str(document["model"])),
        "hyperparameters": document.get("hyperparameters") or {},
        "suffix": str(document.get("suffix") or ""),
        "baseline": resolution.resolve(project, parse_reference(str(wanted))) if wanted else None,
        "scorers": document.get("scorers") or None,
        "budget_usd": document.get("budget_usd"),
    }
