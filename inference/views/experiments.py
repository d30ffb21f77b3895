"""Pages of experiments: the list, one with its versions and runs, the form, and a run with its figures."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from django.core.paginator import Paginator
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone

from core.errors import Problem
from core.references import DEFAULT_ENVIRONMENT
from inference.experiments import lifecycle as experiments
from inference.experiments import runs, serving
from inference.experiments.record import ExperimentRecord
from inference.experiments.sequences import MIN_UNITS
from inference.models import Experiment, ExperimentArm, ExperimentEventKind, ExperimentRun
from inference.usage.stats import FEEDBACK
from inference.views import experiment_form as form
from inference.views.intervals import interval_drawing
from registry.accounts.permissions import Actor
from registry.models import Environment, Prompt, Release
from registry.promotions import environments
from registry.prompts import lifecycle as prompts
from registry.views.frame import PAGE_SIZE, done, errors_of, in_project, only_post, page, page_url, refused, whole

MAX_SHOWN = 20
SAVED = "Experiment saved. Request a promotion to begin it."
TONES = {"better": "good", "worse": "bad", "equivalent": "plain", "inconclusive": "plain"}


@in_project
def experiment_list(request: HttpRequest, actor: Actor) -> HttpResponse:
    """List what runs, and all experiments."""
    every = experiments.experiments_with_related().filter(project=actor.project)
    rows = Paginator(every, PAGE_SIZE).get_page(request.GET.get("page"))
    of_page = runs.runs_of(actor.project).filter(experiment__in=[row.pk for row in rows])
    last = of_page.order_by("experiment_id", F("ended_at").desc(nulls_first=True), "-id").distinct("experiment_id")
    newest = {run.experiment_id: run for run in last}
    running = runs.running(experiment__project=actor.project).order_by("-id")
    context = {
        "section": "experiments",
        "page": rows,
        "rows": [(row, newest.get(row.pk)) for row in rows],
        "running": [(run, *_headline(run)) for run in running],
    }
    return page(request, actor, "inference/experiment_list.html", context)


def _headline(run: ExperimentRun) -> tuple[int, list[dict[str, Any]]]:
    """Return how many subjects a run has at its step, and its verdicts on the metric that decides."""
    subjects = sum(arm["subjects"] for arm in run.figures.get("arms", ()))
    deciding = [each for each in run.figures.get("verdicts", ()) if each["role"] == "decides"]
    return subjects, [{**each, "tone": TONES[each["verdict"]]} for each in deciding]


@in_project
def experiment_new(request: HttpRequest, actor: Actor) -> HttpResponse:
    """The form of a new experiment; its prompt is chosen first, because its versions are what it offers."""
    name = request.POST.get("prompt") or request.GET.get("prompt", "")
    prompt = prompts.get_prompt(actor.project, name) if name else None
    values = {**form.DEFAULTS, "prompt": name}
    if request.method == "POST" and prompt is not None:
        return _save(request, actor, prompt, None)
    if prompt is not None and (names := form.feedback_names(prompt)):
        # What is told of it decides, where anything is.
        values["metric"] = f"{FEEDBACK}{names[0]}"
    context = {"section": "experiments", "values": values, **form.offered(actor, prompt, values)}
    return page(request, actor, "inference/experiment_form.html", context)


@in_project
def experiment_edit(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """The form of an experiment's next version."""
    experiment = experiments.get_experiment(actor.project, name)
    if request.method == "POST":
        return _save(request, actor, experiment.prompt, experiment)
    record = experiments.readable_record(experiment.holder.head) if experiment.holder.head else None
    values = dict(form.DEFAULTS)
    if record:
        numbers = experiments.version_numbers(experiment)
        environment = _environment_of(experiment, numbers.get(record.baseline))
        values = {**form.values_of(record, numbers), "environment": environment}
    context: dict[str, Any] = {"section": "experiments", "experiment": experiment, "values": values}
    context["carried"] = form.carried_over(record)
    context |= form.offered(actor, experiment.prompt, values)
    return page(request, actor, "inference/experiment_form.html", context)


def _save(request: HttpRequest, actor: Actor, prompt: Prompt, experiment: Experiment | None) -> HttpResponse:
    values = {name: request.POST.get(name, "")[:500].strip() for name in form.FIELDS}
    name = experiment.name if experiment else values["name"]
    head = experiment.holder.head if experiment else None
    carried = form.carried_over(experiments.readable_record(head) if head else None)
    try:
        if experiment is None and Experiment.objects.filter(project=actor.project, name=name).exists():
            sentence = f"There is an experiment {name} already: open it, and make its next version."
            raise Problem("prompt.name_taken", sentence)
        experiments.commit(actor, name, form.document_of(values, prompt, carried), message=values["message"])
        return done(request, SAVED, page_url("inference:experiment-detail", actor, name))
    except Problem as problem:
        errors = errors_of(problem, {"prompt.invalid_name": "name", "prompt.name_taken": "name"})
        errors |= form.errors_of_faults(problem.faults)
        context: dict[str, Any] = {"section": "experiments", "experiment": experiment, "values": values}
        context |= {"errors": errors, "carried": carried, **form.offered(actor, prompt, values, errors)}
        return page(request, actor, "inference/experiment_form.html", context, status=problem.kind.status)


@in_project
def experiment_detail(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """Show an experiment: what it is to be, its runs, and the form that proposes it."""
    experiment = experiments.get_experiment(actor.project, name)
    numbers = experiments.version_numbers(experiment)
    versions = []
    for version in experiment.holder.versions.order_by("-number")[:MAX_SHOWN]:
        record = experiments.readable_record(version)
        arms = [(numbers.get(arm.version), arm.weight) for arm in record.arms] if record else []
        versions.append((version, record, numbers.get(record.baseline) if record else None, arms))
    context = {
        "section": "experiments",
        "experiment": experiment,
        "versions": versions,
        "runs": runs.runs_of(actor.project).filter(experiment=experiment)[:MAX_SHOWN],
        "environments": Environment.objects.filter(project=actor.project).order_by("position"),
        "environment_of_baseline": _environment_of(experiment, versions[0][2]) if versions else "",
    }
    return page(request, actor, "inference/experiment_detail.html", context)


def _environment_of(experiment: Experiment, baseline: int | None) -> str:
    """Return the last environment in which the version of this number is live."""
    rows = Release.objects.filter(prompt=experiment.prompt).order_by("environment__position", "-number")
    newest = rows.distinct("environment__position").values_list("environment__name", "version__number")
    return next((name for name, number in reversed(newest) if number == baseline), DEFAULT_ENVIRONMENT)


@in_project
@only_post
def experiment_propose(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """Request the promotion of the newest version."""
    experiment = experiments.get_experiment(actor.project, name)
    try:
        environment = environments.get_environment(actor.project, request.POST.get("environment", ""))
        promotion = experiments.propose(actor, experiment, environment, reason=request.POST.get("reason", "").strip())
    except Problem as problem:
        return refused(request, problem, page_url("inference:experiment-detail", actor, name))
    return redirect(reverse("registry:promotion-detail", args=[actor.project.slug, promotion.pk]))


@in_project
def experiment_run(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    """Show a run: its arms, what they showed against the baseline, and what happened."""
    run = runs.get_run(actor.project, key)
    record = runs.record_of(run)
    split = serving.split_of(run)
    counts = {row["arm"]: row for row in run.figures.get("arms", ())}
    weights = {arm.name: arm.weight / 100 for arm in split.challengers}
    arms = [
        (f"v{run.baseline.number}", run.baseline, None, 100 - sum(weights.values()), counts.get(split.baseline)),
        *((arm.name, arm.version, arm, weights[arm.name], counts.get(arm.name)) for arm in serving.served_arms(run)),
    ]
    rows = _drawn(run.figures.get("verdicts", ()))
    shadows = [{**each, "drawn": _drawn(each["verdicts"])} for each in run.figures.get("shadows", ())]
    context = {
        "section": "experiments",
        "run": run,
        "record": record,
        "arms": arms,
        "by_arm": [(arm.name, arm, _rows_of(run, arm, rows)) for arm in serving.served_arms(run)],
        "next_step": _next_step(run, record),
        "shadows": shadows,
        "active": [arm for arm in run.arms.all() if arm.stopped_at is None],
        "ramp": [(number, percent, number < run.step) for number, percent in enumerate(record.ramp, start=1)],
        "proposed_arm": _proposed_arm(run),
        "events": run.events.order_by("-id"),
        "is_last_step": run.step == len(record.ramp),
    }
    return page(request, actor, "inference/experiment_run.html", context)


def _rows_of(run: ExperimentRun, arm: ExperimentArm, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return an arm's verdicts; of one that was stopped, those that it was stopped by."""
    if arm.stopped_at is not None:
        event = run.events.filter(kind=ExperimentEventKind.STOPPED, arm=arm.name).first()
        stored = [each for each in (event.evidence if event else {}).get("verdicts", ()) if each["arm"] == arm.name]
        if stored:
            return _drawn(stored)
    return [row for row in rows if row["arm"] == arm.name]


def _next_step(run: ExperimentRun, record: ExperimentRecord) -> dict[str, Any] | None:
    """Return when the next step may come by itself; None where there is none."""
    if run.ended_at is not None or run.step >= len(record.ramp):
        return None
    at = run.stepped_at + timedelta(hours=record.step_hours)
    return {"at": at, "waits": at > timezone.now(), "subjects": MIN_UNITS}


def _drawn(verdicts: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return verdicts with how they are shown."""
    return [{**each, "tone": TONES[each["verdict"]], "drawing": interval_drawing(each)} for each in verdicts]


def _proposed_arm(run: ExperimentRun) -> ExperimentArm | None:
    """Return the arm whose promotion was requested last."""
    version = run.promotion.version_id if run.promotion is not None else None
    return next((arm for arm in run.arms.all() if arm.version_id == version), None)


@in_project
@only_post
def experiment_run_act(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    """Stop an arm, go to the next step, propose an arm, or end a run."""
    run = runs.get_run(actor.project, key)
    address = page_url("inference:experiment-run", actor, key)
    arm, reason = request.POST.get("arm", ""), request.POST.get("reason", "").strip()
    try:
        match request.POST.get("do"):
            case "stop":
                runs.stop_arm(actor, run, arm, reason=reason)
                return done(request, f"{arm} is stopped: its subjects get the baseline.", address)
            case "step":
                seen = whole(request.POST.get("step", ""))
                run = runs.step(actor, run, reason=reason, expected_step=seen)
                return done(request, f"Step {run.step}: {run.percent} % of the weights.", address)
            case "propose":
                promotion = runs.propose(actor, run, arm, evidence=runs.evidence_of(run, arm))
                return redirect(reverse("registry:promotion-detail", args=[actor.project.slug, promotion.pk]))
            case "end":
                runs.end(actor, run, reason=reason)
                return done(request, "The experiment has ended: everybody gets what is live.", address)
    except Problem as problem:
        return refused(request, problem, address)
    return redirect(address)
