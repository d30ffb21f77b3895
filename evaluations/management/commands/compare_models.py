"""Runs a version with several models, and names the cheapest that meets the SLAs."""

import sys
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from core.errors import Problem
from evaluations import tasks
from evaluations.comparisons import lifecycle as comparisons
from evaluations.comparisons import sweeps
from evaluations.models import Comparison, Run
from evaluations.templatetags.evaluations_text import measured
from registry.accounts.permissions import actor_for_command_line
from registry.models import Project

LOOK_SECONDS = 1.0


class Command(BaseCommand):
    help = (
        "Run a version on a dataset with several models (and temperatures) and wait for the result: the figures of "
        "each, what the pairs of answers say against the first, and the cheapest that meets the project's SLAs. Ends "
        "with 1 where there are SLAs and none meets them."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("prompt", help="support.route@production, @3, @latest or @sha256:…")
        parser.add_argument("--dataset", required=True, help="support.tickets, or a version: support.tickets@3")
        parser.add_argument(
            "--model", required=True, action="append", dest="models", help="provider/model, several times"
        )
        parser.add_argument("--temperature", action="append", type=float, dest="temperatures", help="several times")
        parser.add_argument(
            "--also-without-retrieval", action="store_true", help="each also without retrieval: what searching is worth"
        )
        parser.add_argument("--project", required=True, help="the project's slug")
        parser.add_argument("--split", default="test", help="train, validation, test (default), general, or all")
        parser.add_argument("--scorer", action="append", dest="scorers", help="may be given several times (label)")
        parser.add_argument("--repetitions", type=int, default=1)
        parser.add_argument("--limit", type=int, help="at most so many cases")
        parser.add_argument("--leaked", choices=["mark", "exclude"], default="mark", help="leaked test cases")
        parser.add_argument("--budget", help="US dollars for all of it")
        parser.add_argument("--here", action="store_true", help="do the work in this process, without a worker")

    def handle(self, *_: object, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        document = {
            **{name: options[name] for name in ("prompt", "dataset", "models", "repetitions", "limit", "leaked")},
            "temperatures": options["temperatures"] or [],
            "also_without_retrieval": options["also_without_retrieval"],
            "split": "" if options["split"] == "all" else options["split"],
            "scorers": options["scorers"] or ["label"],
        }
        try:
            grid = sweeps.grid_from_document(project, document)
            sweep = sweeps.create(actor_for_command_line(project), grid, budget_usd=options["budget"])
        except Problem as problem:
            raise CommandError(problem.detail) from None
        self._print_result(self._wait(sweep, here=options["here"]))

    def _wait(self, sweep: Comparison, *, here: bool) -> Comparison:
        runs = list(sweep.swept_runs.order_by("id"))
        tasks.start_sweep(sweep)
        while True:
            if here:
                self._work(sweep, runs)
            now = comparisons.get_comparison(sweep.project, sweep.pk)
            members = now.runs
            answered, planned = (sum(getattr(run, name) for run in members) for name in ("answered", "planned"))
            sys.stderr.write(f"\r{answered:,} of {planned:,} answers, ${sweeps.cost_of_sweep(now):.4f}  ")
            sys.stderr.flush()
            if not now.is_open:
                sys.stderr.write("\n")
                return now
            time.sleep(LOOK_SECONDS)

    def _work(self, sweep: Comparison, runs: list[Run]) -> None:
        for run in runs:
            tasks.work_on_run(run.pk)
            tasks.sum_up_run(run.pk)
        tasks.compare_runs(sweep.pk)

    def _print_result(self, sweep: Comparison) -> None:
        if sweep.result is None:
            raise CommandError(sweep.error)
        names = {run.pk: _name_of(run) for run in sweep.runs}
        against = {row["run"]: row["against"] for row in sweep.result["rows"]}
        for run in sweep.runs:
            self._print_run(run, names[run.pk])
        for key, contrast in against.items():
            if contrast:
                self.stdout.write(f"{names[key]} against {names[sweep.runs[0].pk]}: {contrast['sentence']}")
        self.stdout.write(f"This is comparison {sweep.pk}.")
        if confident := sweep.result["shown"]:
            self.stdout.write(f"{names[confident]} is the cheapest that meets the SLAs with 95 % confidence.")
        elif met := sweep.result["met"]:
            self.stdout.write(f"{names[met]} is the cheapest whose figures meet the SLAs, without 95 % confidence.")
        elif sweep.slas:
            raise CommandError("None of them meets the SLAs.")
        else:
            self.stdout.write("The project has no SLAs, so that no model is named: set them, and the cheapest is.")

    def _print_run(self, run: Run, name: str) -> None:
        summary = run.summary or {}
        price = (summary.get("cost_per_call_usd") or {}).get("value")
        cost = "" if price is None else f", ${1_000 * price:.4f} for 1,000 calls"
        simulation = ", a simulation" if run.is_simulation else ""
        state = run.get_state_display().lower()
        self.stdout.write(f"{name}: quality {measured(summary.get('quality'))}{cost}, {state}{simulation}")


def _name_of(run: Run) -> str:
    temperature = run.parameters.get("temperature")
    name = str(run.model) + ("" if temperature is None else f" at temperature {temperature:g}")
    return f"{name} without retrieval" if run.is_without_retrieval else name
