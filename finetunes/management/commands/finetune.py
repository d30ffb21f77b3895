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
from finetunes.providers.protocols import PROTOCOLS
from finetunes.training_sets import estimates, validation
from finetunes.training_sets import lifecycle as training_sets
from finetunes.training_sets.validation import Limits
from infra.work import start
from registry.accounts.permissions import Actor, actor_for_command_line
from registry.models import Project
from registry.promotions import environments

LOOK_SECONDS = 1.0


class Command(BaseCommand):
    help = "Fine-tune a model: check training files, build a training set, run a job to its comparison, publish."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        check = verbs.add_parser("check", help="validate training files of your own; no database is needed")
        check.add_argument("train", type=Path)
        check.add_argument("--validation", type=Path)
        check.add_argument("--method", choices=[method.value for method in Method], default=Method.SUPERVISED.value)
        check.add_argument("--model", default="", help="whose longest example and vocabulary count")
        check.add_argument("--protocol", choices=[*PROTOCOLS], default="openai", help="whose rules of files count")
        build = verbs.add_parser("build", help="make a training set, and list its faults")
        run = verbs.add_parser("run", help="build, tune, and compare; ends with 1 unless the tuned model is not worse")
        for command in (build, run):
            command.add_argument("prompt", help="what the tuned model is to replace: support.route@latest")
            command.add_argument("--dataset", required=True)
            command.add_argument("--instruction", help="of the short prompt; its first sentence by default")
        run.add_argument("--model", required=True, help="the base: provider/model")
        run.add_argument("--epochs", type=int)
        run.add_argument("--rank", type=int, help="of the adapter; the local engine alone takes it")
        run.add_argument("--layers", type=int, help="how many are tuned, from the last; the local engine alone")
        run.add_argument("--suffix", default="")
        run.add_argument("--scorer", action="append", dest="scorers")
        run.add_argument("--budget", help="US dollars for the tuning")
        folds = verbs.add_parser("folds", help="cross-validate: where data is small, every case tests once")
        folds.add_argument("training_set", type=int)
        folds.add_argument("--model", required=True, help="the base: provider/model")
        folds.add_argument("--folds", type=int, default=cross_validation.DEFAULT_FOLDS)
        folds.add_argument("--budget", help="US dollars for all folds together")
        watch = verbs.add_parser("watch", help="follow a job to its comparison")
        cancel = verbs.add_parser("cancel", help="end a job")
        publish = verbs.add_parser("publish", help="make a version of what came out, and ask for its promotion")
        for command in (watch, cancel, publish):
            command.add_argument("job", type=int)
        publish.add_argument("--environment", required=True)
        publish.add_argument("--reason", default="")
        for command in (build, run, folds, watch, cancel, publish):
            command.add_argument("--project", required=True, help="the project's slug")
        for command in (build, run, watch):
            command.add_argument("--here", action="store_true", help="do the work in this process, without a worker")

    def handle(self, *_: object, **options: Any) -> None:
        if options["verb"] == "check":
            self._check(options)
            return
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        actor = actor_for_command_line(project)
        try:
            match options["verb"]:
                case "build":
                    self._build(actor, options)
                case "run":
                    self._run(actor, options)
                case "folds":
                    self._folds(actor, options)
                case "watch":
                    self._print_result(self._watch(jobs.get_job(project, options["job"]), here=options["here"]))
                case "cancel":
                    job = jobs.cancel(actor, jobs.get_job(project, options["job"]))
                    start(tasks.advance, job.pk)
                    self.stdout.write(f"{job}: {job.get_state_display().lower()}.")
                case "publish":
                    self._publish(actor, options)
        except Problem as problem:
            raise CommandError(problem.detail) from None

    def _check(self, options: dict[str, Any]) -> None:
        files = {"train": options["train"].read_bytes()}
        if options["validation"]:
            files["validation"] = options["validation"].read_bytes()
        protocol, method = PROTOCOLS[options["protocol"]], Method(options["method"])
        if method not in protocol.methods:
            raise CommandError(f"{protocol.title} does not tune by {method} here.")
        limits = Limits(
            vocabulary_of=options["model"],
            max_tokens=estimates.max_example_tokens(options["model"]),
            min_examples=protocol.min_examples,
            max_examples=protocol.max_examples,
        )
        verdict = validation.validate(files, method, limits=limits)
        for finding in verdict.findings:
            self.stdout.write(
                f"{finding.file}{f':{finding.line}' if finding.line else ''} {finding.rule}: {finding.message}"
            )
        lengths = verdict.lengths["train"]
        exact = "" if verdict.is_exact else " (estimated)"
        self.stdout.write(f"{len(lengths):,} examples, {sum(lengths):,} tokens{exact}, {verdict.errors:,} faults.")
        if verdict.errors:
            raise CommandError("These files cannot be used.")

    def _build(self, actor: Actor, options: dict[str, Any]) -> TrainingSet:
        training_set = training_sets.create(actor, **training_sets.read_request(actor.project, options))
        start(tasks.build, training_set.pk)
        while training_set.is_open:
            if options["here"]:
                tasks.build(training_set.pk)
            else:
                time.sleep(LOOK_SECONDS)
            training_set = training_sets.get_training_set(actor.project, training_set.pk)
        if training_set.error:
            raise CommandError(training_set.error)
        self.stdout.write(
            f"{training_set}: {training_set.train:,} training and {training_set.validation:,} validation examples, "
            f"{training_set.content_hash[:19]}"
        )
        for rule in training_set.report["rules"]:
            self.stdout.write(f"  {rule['severity']}: {rule['title']}, {rule['count']:,}")
        return training_set

    def _run(self, actor: Actor, options: dict[str, Any]) -> None:
        training_set = self._build(actor, options)
        self._await_leaks(training_set, here=options["here"])
        document = {
            "model": options["model"],
            "suffix": options["suffix"],
            "scorers": options["scorers"],
            "budget_usd": options["budget"],
            "hyperparameters": {
                name: options[option]
                for name, option in (("n_epochs", "epochs"), ("rank", "rank"), ("layers", "layers"))
                if options[option]
            },
        }
        model = providers.get_model(actor.project, options["model"])
        estimate = jobs.estimate_with_advisories(training_set, model, document["hyperparameters"])
        cost = f"about ${float(estimate['cost_usd']):.4f}" if estimate["cost_usd"] else "no price is set"
        self.stdout.write(f"{estimate['trained_tokens']:,} tokens in {estimate['epochs']} epochs, {cost}.")
        for advisory in estimate["warnings"]:
            self.stdout.write(f"  {advisory['message']} {advisory['advice']}")
        job = jobs.draft(actor, training_set, **jobs.read_request(actor.project, document))
        job = jobs.submit(actor, jobs.get_job(actor.project, job.pk))
        self._print_result(self._watch(job, here=options["here"]))

    def _folds(self, actor: Actor, options: dict[str, Any]) -> None:
        training_set = training_sets.get_training_set(actor.project, options["training_set"])
        document = {"model": options["model"], "folds": options["folds"], "budget_usd": options["budget"]}
        validation_run = cross_validation.begin(
            actor, training_set, **cross_validation.read_request(actor.project, document)
        )
        last_text = ""
        while not validation_run.is_over:
            rows = cross_validation.fold_progress(validation_run)
            text = ", ".join(row.job.get_state_display().lower() if row.job else "being built" for row in rows)
            if text != last_text:
                sys.stderr.write(f"Folds: {text}\n")
                last_text = text
            time.sleep(LOOK_SECONDS)
            validation_run = cross_validation.get_cross_validation(actor.project, validation_run.pk)
        if validation_run.result is None:
            raise CommandError(f"{validation_run.get_state_display()}. {validation_run.error}".strip())
        quality = validation_run.result["quality"] or {}
        simulation = " (a simulation)" if validation_run.is_simulation else ""
        self.stdout.write(f"{quality.get('sentence', 'No case was judged in both.')}{simulation}")
        if not quality.get("not_worse") and quality.get("verdict") != "better":
            raise CommandError("Tuned models are not better than what they are to replace.")

    def _await_leaks(self, training_set: TrainingSet, *, here: bool) -> None:
        """Wait for the leakage report of a new dataset version: a job is not submitted before it."""
        version = training_set.dataset_version
        while (report := reports.newest_report(version, ReportKind.LEAKAGE)) and report.state in ("pending", "running"):
            if here:
                evaluating.make_report(report.pk)
                continue
            sys.stderr.write(f"Looking for leaks: {report.progress or 'waiting for a worker'}\n")
            time.sleep(5 * LOOK_SECONDS)

    def _watch(self, job: FineTune, *, here: bool) -> FineTune:
        start(tasks.advance, job.pk)
        last_text = ""
        while True:
            if here:
                _work(job)
            job = jobs.get_job(job.project, job.pk)
            text = f"{job.get_state_display()} {job.remote_status} {job.note}".strip()
            if text != last_text:
                sys.stderr.write(f"{text}\n")
                last_text = text
            model = tuned_models.tuned_model_of_job(job)
            if not job.is_driven and (model is None or _is_measured(model)):
                return job
            time.sleep(LOOK_SECONDS)

    def _print_result(self, job: FineTune) -> None:
        model = tuned_models.tuned_model_of_job(job)
        if model is None:
            raise CommandError(f"{job.get_state_display()}. {job.error}".strip())
        cost = "" if job.cost_usd is None else f", ${job.cost_usd:.4f}"
        simulation = " (a simulation)" if job.is_simulation else ""
        simulation = simulation or (" (assumed prices)" if job.model.provider.is_local else "")
        self.stdout.write(f"{model.remote_name}: {job.trained_tokens or 0:,} tokens trained{cost}{simulation}.")
        is_not_worse = {row.split: self._print_evaluation(row) for row in tuned_models.evaluations_of(model)}
        if not is_not_worse.get("test"):
            raise CommandError("The tuned model is not shown to be as good as the prompt that it replaces.")

    def _print_evaluation(self, row: TunedEvaluation) -> bool:
        """Print an evaluation; returns whether the tuned model is shown to be no worse."""
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

    def _publish(self, actor: Actor, options: dict[str, Any]) -> None:
        model = tuned_models.require_tuned_model(jobs.get_job(actor.project, options["job"]))
        model.project = actor.project
        environment = environments.get_environment(actor.project, options["environment"])
        published = tuned_models.publish(actor, model, environment, reason=options["reason"])
        self.stdout.write(f"{published.published}: promotion {published.promotion_id} waits for review.")


def _is_measured(model: TunedModel) -> bool:
    """Say whether nothing more is to come: each split is compared, or cannot be."""
    rows = list(tuned_models.evaluations_of(model))
    if model.model is None:
        return True
    return bool(rows) and all(row.is_over for row in rows)


def _work(job: FineTune) -> None:
    """Do in this process what workers would do for this job now."""
    tasks.advance(job.pk)
    model = tuned_models.tuned_model_of_job(job)
    if model is None:
        return
    tasks.measure(model.pk)
    for row in tuned_models.evaluations_of(model):
        for run in (row.baseline, row.candidate):
            if run is not None and run.summary is None:
                evaluating.work_on_run(run.pk)
                evaluating.sum_up_run(run.pk)
        tasks.compare(row.pk)
    for row in tuned_models.evaluations_of(model):
        if row.comparison and row.comparison.is_open:
            evaluating.compare_runs(row.comparison.pk)
