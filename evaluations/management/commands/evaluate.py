"""Measures a version on a dataset, and says so with its exit code."""

import sys
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from core.errors import Problem
from evaluations import tasks
from evaluations.models import Run, RunState
from evaluations.runs import lifecycle as runs
from evaluations.runs import planning
from registry.accounts.permissions import command_line
from registry.models import Project

LOOK_SECONDS = 0.5
BAR = 30


class Command(BaseCommand):
    help = (
        "Run a version on a dataset and wait for the result. Ends with 0 where the run is done and keeps to what was "
        "asked of it, with 1 where it does not or cannot."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("prompt", help="support.route@production, @3, @latest or @sha256:…")
        parser.add_argument("--dataset", required=True, help="support.tickets, or a version: support.tickets@3")
        parser.add_argument("--model", required=True, help="provider/model")
        parser.add_argument("--project", required=True, help="the project's slug")
        parser.add_argument("--split", default="test", help="train, validation, test (default), general, or all")
        parser.add_argument("--scorer", action="append", dest="scorers", help="may be given several times (label)")
        parser.add_argument("--repeats", type=int, default=1)
        parser.add_argument("--limit", type=int, help="at most so many cases")
        parser.add_argument("--leaked", choices=["mark", "exclude"], default="mark", help="leaked test cases")
        parser.add_argument("--budget", help="US dollars at which the run stops")
        parser.add_argument("--at-least", type=float, help="fail where the quality is below this, 0 to 1")
        parser.add_argument(
            "--here", action="store_true", help="do the work in this process, where no worker is running"
        )

    def handle(self, *_: object, **asked: Any) -> None:
        project = Project.objects.filter(slug=asked["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {asked['project']!r}.")
        document = {
            **{name: asked[name] for name in ("prompt", "dataset", "model", "repeats", "limit", "leaked")},
            "split": "" if asked["split"] == "all" else asked["split"],
            "scorers": asked["scorers"] or ["label"],
            "budget_usd": asked["budget"],
        }
        try:
            run = runs.create(command_line(project), planning.asked_for(project, document))
        except Problem as problem:
            raise CommandError(problem.detail) from None
        estimate = run.estimate["cost_usd"]
        cost = f"about ${float(estimate):.4f}" if estimate else "nobody has said what the model costs"
        self.stdout.write(f"Run {run.pk}: {run.version} on {run.cases:,} cases with {run.model}; {cost}.")
        done = self._wait(run, here=asked["here"])
        self._tell(done, asked["at_least"])

    def _wait(self, run: Run, *, here: bool) -> Run:
        tasks.drive_soon(run)
        while True:
            if here:
                tasks.drive_run(run.pk)
                tasks.sum_up_run(run.pk)
            now = runs.numbered(run.project, run.pk)
            self._show(now)
            if not now.is_open and now.summary is not None:
                sys.stderr.write("\n")
                return now
            time.sleep(LOOK_SECONDS)

    def _show(self, run: Run) -> None:
        filled = BAR * run.answered // max(1, run.planned)
        bar = "#" * filled + "." * (BAR - filled)
        left = f", {run.time_left} left" if run.time_left else ""
        sys.stderr.write(f"\r[{bar}] {run.answered:,} of {run.planned:,}, ${run.cost_usd:.4f}{left}  {run.note[:60]}")
        sys.stderr.flush()

    def _tell(self, run: Run, at_least: float | None) -> None:
        summary = run.summary or {}
        quality = summary.get("quality") or {}
        value, low, high = (quality.get(name) for name in ("value", "low", "high"))
        between = f" ({low:.3f} to {high:.3f})" if low is not None and high is not None else ""
        said = "none" if value is None else f"{value:.3f}{between}"
        simulation = " (a simulation)" if run.is_simulation else ""
        self.stdout.write(f"Quality {said}{simulation}, {run.failed} without an answer, ${run.cost_usd:.4f}.")
        if run.state != RunState.DONE:
            raise CommandError(f"{RunState(run.state).label}. {run.error}")
        if at_least is not None and (value is None or value < at_least):
            raise CommandError(f"The quality is below {at_least}.")
