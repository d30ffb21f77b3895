"""Fine-tunes from the shell: check files, build a set, tune and measure, publish."""

import sys
import time
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from core.errors import Problem
from evaluations import tasks as evaluating
from evaluations.data_quality import reports
from evaluations.models import ReportKind
from evaluations.providers import configuration as providers
from evaluations.templatetags.evaluations_text import measured
from finetunes import tasks
from finetunes.jobs import cross_validation, tuned_models
from finetunes.jobs import lifecycle as jobs
from finetunes.models import FineTune, TrainingSet, TunedEvaluation, TunedModel
from finetunes.providers.jsonl import Method
from finetunes.training_sets import estimates, validation
from finetunes.training_sets import lifecycle as training_sets
from finetunes.training_sets.validation import Limits
from registry.accounts.permissions import Actor, command_line
from registry.models import Project
from registry.promotions import environments
from registry.tasks import start

LOOK_SECONDS = 1.0


class Command(BaseCommand):
    help = "Fine-tune a model: check training files, build a training set, run a job to its comparison, publish."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        check = verbs.add_parser("check", help="look through training files of your own; no database is needed")
        check.add_argument("train", type=Path)
        check.add_argument("--validation", type=Path)
        check.add_argument("--method", choices=[one.value for one in Method], default=Method.SUPERVISED.value)
        check.add_argument("--model", default="", help="whose longest example and vocabulary count")
        build = verbs.add_parser("build", help="make a training set, and say what is wrong with it")
        run = verbs.add_parser("run", help="build, tune, and compare; ends with 1 unless the tuned model is not worse")
        for one in (build, run):
            one.add_argument("prompt", help="what the tuned model is to replace: support.route@latest")
            one.add_argument("--dataset", required=True)
            one.add_argument("--instruction", help="of the short prompt; its first sentence by default")
        run.add_argument("--model", required=True, help="the base: provider/model")
        run.add_argument("--epochs", type=int)
        run.add_argument("--suffix", default="")
        run.add_argument("--scorer", action="append", dest="scorers")
        run.add_argument("--budget", help="US dollars for the tuning")
        folds = verbs.add_parser("folds", help="cross-validate: where data is small, every case tests once")
        folds.add_argument("training_set", type=int)
        folds.add_argument("--model", required=True, help="the base: provider/model")
        folds.add_argument("--folds", type=int, default=cross_validation.FOLDS)
        folds.add_argument("--budget", help="US dollars for all folds together")
        watch = verbs.add_parser("watch", help="follow a job to its comparison")
        cancel = verbs.add_parser("cancel", help="end a job")
        publish = verbs.add_parser("publish", help="make a version of what came out, and ask for its promotion")
        for one in (watch, cancel, publish):
            one.add_argument("job", type=int)
        publish.add_argument("--environment", required=True)
        publish.add_argument("--reason", default="")
        for one in (build, run, folds, watch, cancel, publish):
            one.add_argument("--project", required=True, help="the project's slug")
        for one in (build, run, watch):
            one.add_argument("--here", action="store_true", help="do the work in this process, without a worker")

    def handle(self, *_: object, **asked: Any) -> None:
        if asked["verb"] == "check":
            self._check(asked)
            return
        project = Project.objects.filter(slug=asked["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {asked['project']!r}.")
        actor = command_line(project)
        try:
            match asked["verb"]:
                case "build":
                    self._build(actor, asked)
                case "run":
                    self._run(actor, asked)
                case "folds":
                    self._folds(actor, asked)
                case "watch":
                    self._tell(self._watch(jobs.numbered(project, asked["job"]), here=asked["here"]))
                case "cancel":
                    job = jobs.cancel(actor, jobs.numbered(project, asked["job"]))
                    start(tasks.advance, job.pk)
                    self.stdout.write(f"{job}: {job.get_state_display().lower()}.")
                case "publish":
                    self._publish(actor, asked)
        except Problem as problem:
            raise CommandError(problem.detail) from None

    def _check(self, asked: dict[str, Any]) -> None:
        files = {"train": asked["train"].read_bytes()}
        if asked["validation"]:
            files["validation"] = asked["validation"].read_bytes()
        limits = Limits(vocabulary_of=asked["model"], longest=estimates.longest_example(asked["model"]))
        verdict = validation.validate(files, Method(asked["method"]), limits=limits)
        for one in verdict.findings:
            self.stdout.write(f"{one.file}{f':{one.line}' if one.line else ''} {one.rule}: {one.message}")
        lengths = verdict.lengths["train"]
        exact = "" if verdict.is_exact else " (estimated)"
        self.stdout.write(f"{len(lengths):,} examples, {sum(lengths):,} tokens{exact}, {verdict.errors:,} faults.")
        if verdict.errors:
            raise CommandError("These files cannot be used.")

    def _build(self, actor: Actor, asked: dict[str, Any]) -> TrainingSet:
        made = training_sets.create(actor, **training_sets.asked_for(actor.project, asked))
        start(tasks.build, made.pk)
        while made.state == "building":
            if asked["here"]:
                tasks.build(made.pk)
            else:
                time.sleep(LOOK_SECONDS)
            made = training_sets.numbered(actor.project, made.pk)
        if made.error:
            raise CommandError(made.error)
        self.stdout.write(
            f"{made}: {made.train:,} training and {made.validation:,} validation examples, {made.content_hash[:19]}"
        )
        for rule in made.report["rules"]:
            self.stdout.write(f"  {rule['severity']}: {rule['title']}, {rule['count']:,}")
        return made

    def _run(self, actor: Actor, asked: dict[str, Any]) -> None:
        training_set = self._build(actor, asked)
        self._await_leaks(training_set, here=asked["here"])
        document = {
            "model": asked["model"],
            "suffix": asked["suffix"],
            "scorers": asked["scorers"],
            "budget_usd": asked["budget"],
            "hyperparameters": {"n_epochs": asked["epochs"]} if asked["epochs"] else {},
        }
        model = providers.model_named(actor.project, asked["model"])
        estimate = jobs.estimated(training_set, model, document["hyperparameters"])
        cost = f"about ${float(estimate['cost_usd']):.4f}" if estimate["cost_usd"] else "at a price nobody has said"
        self.stdout.write(f"{estimate['trained_tokens']:,} tokens in {estimate['epochs']} epochs, {cost}.")
        for warned in estimate["warnings"]:
            self.stdout.write(f"  {warned['message']} {warned['advice']}")
        job = jobs.draft(actor, training_set, **jobs.asked_for(actor.project, document))
        job = jobs.submit(actor, jobs.numbered(actor.project, job.pk))
        self._tell(self._watch(job, here=asked["here"]))

    def _folds(self, actor: Actor, asked: dict[str, Any]) -> None:
        training_set = training_sets.numbered(actor.project, asked["training_set"])
        document = {"model": asked["model"], "folds": asked["folds"], "budget_usd": asked["budget"]}
        made = cross_validation.begin(actor, training_set, **cross_validation.asked_for(actor.project, document))
        shown = ""
        while not made.is_over:
            rows = cross_validation.standing(made)
            said = ", ".join(row.job.get_state_display().lower() if row.job else "being built" for row in rows)
            if said != shown:
                sys.stderr.write(f"Folds: {said}\n")
                shown = said
            time.sleep(LOOK_SECONDS)
            made = cross_validation.numbered(actor.project, made.pk)
        if made.result is None:
            raise CommandError(f"{made.get_state_display()}. {made.error}".strip())
        quality = made.result["quality"] or {}
        simulation = " (a simulation)" if made.is_simulation else ""
        self.stdout.write(f"{quality.get('sentence', 'No case was judged in both.')}{simulation}")
        if not quality.get("not_worse") and quality.get("verdict") != "better":
            raise CommandError("Tuned models are not better than what they are to replace.")

    def _await_leaks(self, training_set: TrainingSet, *, here: bool) -> None:
        """A new dataset version is still being looked through; a job is not submitted before that is done."""
        version = training_set.dataset_version
        while (report := reports.newest(version, ReportKind.LEAKAGE)) and report.state in ("pending", "running"):
            if here:
                evaluating.make_report(report.pk)
                continue
            sys.stderr.write(f"Looking for leaks: {report.progress or 'waiting for a worker'}\n")
            time.sleep(5 * LOOK_SECONDS)

    def _watch(self, job: FineTune, *, here: bool) -> FineTune:
        start(tasks.advance, job.pk)
        shown = ""
        while True:
            if here:
                _work(job)
            job = jobs.numbered(job.project, job.pk)
            said = f"{job.get_state_display()} {job.remote_status} {job.note}".strip()
            if said != shown:
                sys.stderr.write(f"{said}\n")
                shown = said
            model = tuned_models.of(job)
            if not job.is_driven and (model is None or _is_measured(model)):
                return job
            time.sleep(LOOK_SECONDS)

    def _tell(self, job: FineTune) -> None:
        model = tuned_models.of(job)
        if model is None:
            raise CommandError(f"{job.get_state_display()}. {job.error}".strip())
        cost = "" if job.cost_usd is None else f", ${job.cost_usd:.4f}"
        simulation = " (a simulation)" if job.is_simulation else ""
        self.stdout.write(f"{model.remote_name}: {job.trained_tokens or 0:,} tokens trained{cost}{simulation}.")
        told = {row.split: self._tell_evaluation(row) for row in tuned_models.evaluations_of(model)}
        if not told.get("test"):
            raise CommandError("It is not shown that the tuned model is as good as what it is to replace.")

    def _tell_evaluation(self, row: TunedEvaluation) -> bool:
        """Whether it is shown to be no worse."""
        if row.error or row.comparison is None or row.baseline is None or row.candidate is None:
            self.stdout.write(f"{row.split}: {row.error}")
            return False
        quality = (row.comparison.result or {}).get("quality") or {}
        for name, run in (("base", row.baseline), ("tuned", row.candidate)):
            summary = run.summary or {}
            call = (summary.get("cost_per_call_usd") or {}).get("value")
            price = "" if call is None else f", ${1_000 * call:.4f} for 1,000 calls"
            self.stdout.write(f"{row.split}, {name}: quality {measured(summary.get('quality'))}{price}")
        self.stdout.write(f"{row.split}: {quality.get('sentence') or row.comparison.error}")
        return bool(quality.get("not_worse")) or quality.get("verdict") == "better"

    def _publish(self, actor: Actor, asked: dict[str, Any]) -> None:
        model = tuned_models.required(jobs.numbered(actor.project, asked["job"]))
        model.project = actor.project
        environment = environments.named(actor.project, asked["environment"])
        published = tuned_models.publish(actor, model, environment, reason=asked["reason"])
        self.stdout.write(f"{published.published}: promotion {published.promotion_id} waits for review.")


def _is_measured(model: TunedModel) -> bool:
    """Whether nothing more is to come: each side is compared, or cannot be."""
    rows = list(tuned_models.evaluations_of(model))
    if model.model is None:
        return True
    return bool(rows) and all(row.is_over for row in rows)


def _work(job: FineTune) -> None:
    """What workers would do for this job now."""
    tasks.advance(job.pk)
    model = tuned_models.of(job)
    if model is None:
        return
    tasks.measure(model.pk)
    for row in tuned_models.evaluations_of(model):
        for run in (row.baseline, row.candidate):
            if run is not None and run.summary is None:
                evaluating.drive_run(run.pk)
                evaluating.sum_up_run(run.pk)
        tasks.compare(row.pk)
    for row in tuned_models.evaluations_of(model):
        if row.comparison and row.comparison.state == "pending":
            evaluating.compare_runs(row.comparison.pk)
