"""Runs a version with several models, and names the cheapest that keeps the service levels."""

import sys
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from core.errors import Problem
from evaluations import tasks
from evaluations.comparisons import sweeps
from evaluations.models import Lineup, LineupState, Run
from evaluations.templatetags.evaluations_text import measured
from registry.accounts.permissions import command_line
from registry.models import Project

LOOK_SECONDS = 1.0


class Command(BaseCommand):
    help = (
        "Run a version on a dataset with several models (and temperatures) and wait for the result. Ends with 0 where "
        "the figures of one keep the project's service levels, with 1 where none does."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("prompt", help="support.route@production, @3, @latest or @sha256:…")
        parser.add_argument("--dataset", required=True, help="support.tickets, or a version: support.tickets@3")
        parser.add_argument(
            "--model", required=True, action="append", dest="models", help="provider/model, several times"
        )
        parser.add_argument("--temperature", action="append", type=float, dest="temperatures", help="several times")
        parser.add_argument("--project", required=True, help="the project's slug")
        parser.add_argument("--split", default="test", help="train, validation, test (default), general, or all")
        parser.add_argument("--scorer", action="append", dest="scorers", help="may be given several times (label)")
        parser.add_argument("--repeats", type=int, default=1)
        parser.add_argument("--limit", type=int, help="at most so many cases")
        parser.add_argument("--leaked", choices=["mark", "exclude"], default="mark", help="leaked test cases")
        parser.add_argument("--budget", help="US dollars for all of it")
        parser.add_argument("--here", action="store_true", help="do the work in this process, without a worker")

    def handle(self, *_: object, **asked: Any) -> None:
        project = Project.objects.filter(slug=asked["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {asked['project']!r}.")
        document = {
            **{name: asked[name] for name in ("prompt", "dataset", "models", "repeats", "limit", "leaked")},
            "temperatures": asked["temperatures"] or [],
            "split": "" if asked["split"] == "all" else asked["split"],
            "scorers": asked["scorers"] or ["label"],
        }
        try:
            grid = sweeps.asked_for(project, document)
            lineup = sweeps.sweep(command_line(project), grid, budget_usd=asked["budget"])
        except Problem as problem:
            raise CommandError(problem.detail) from None
        self._tell(self._wait(lineup, here=asked["here"]))

    def _wait(self, lineup: Lineup, *, here: bool) -> Lineup:
        made = list(lineup.swept_runs.order_by("id"))
        for run in made:
            tasks.drive_soon(run)
        while True:
            if here:
                self._work(lineup, made)
            now = sweeps.numbered(lineup.project, lineup.pk)
            placed = [place.run for place in now.places.all()]
            answered, planned = (sum(getattr(run, name) for run in placed) for name in ("answered", "planned"))
            sys.stderr.write(f"\r{answered:,} of {planned:,} answers, ${sweeps.spent(now):.4f}  ")
            sys.stderr.flush()
            if now.state != LineupState.PENDING:
                sys.stderr.write("\n")
                return now
            time.sleep(LOOK_SECONDS)

    def _work(self, lineup: Lineup, made: list[Run]) -> None:
        for run in made:
            tasks.drive_run(run.pk)
            tasks.sum_up_run(run.pk)
        tasks.line_up(lineup.pk)

    def _tell(self, lineup: Lineup) -> None:
        if lineup.result is None:
            raise CommandError(lineup.error)
        names = {}
        for place in lineup.places.all():
            run = place.run
            temperature = run.parameters.get("temperature")
            names[run.pk] = str(run.model) + ("" if temperature is None else f" at temperature {temperature:g}")
            simulation = ", a simulation" if run.is_simulation else ""
            said = measured((run.summary or {}).get("quality"))
            self.stdout.write(f"{names[run.pk]}: quality {said}, {run.get_state_display().lower()}{simulation}")
        if shown := lineup.result["shown"]:
            self.stdout.write(f"{names[shown]} is the cheapest that is shown to keep the service levels.")
        elif met := lineup.result["met"]:
            self.stdout.write(
                f"{names[met]} is the cheapest whose figures keep the service levels; it is not shown to."
            )
        elif lineup.levels:
            raise CommandError("None of them keeps the service levels.")
        else:
            self.stdout.write("The project has no service levels, so nothing says which one would do.")
