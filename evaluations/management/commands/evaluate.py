"""Measures a version on a dataset, with an exit code for the result."""

import sys
import time
from argparse import ArgumentTypeError
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.dateparse import parse_datetime

from core.errors import Problem
from evaluations import tasks
from evaluations.models import Run, RunState
from evaluations.runs import lifecycle as runs
from evaluations.runs import planning
from evaluations.statistics.slas import quality_by
from evaluations.templatetags.evaluations_text import measured
from registry.accounts.permissions import actor_for_command_line
from registry.models import Project

LOOK_SECONDS = 0.5
BAR = 30


class Command(BaseCommand):
    help = (
        "Run a version on a dataset and wait for the result. Exits with 0 if the run is done and meets --at-least, "
        "with 1 otherwise."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("prompt", help="support.route@production, @3, @latest or @sha256:…")
        parser.add_argument("--dataset", required=True, help="support.tickets, or a version: support.tickets@3")
        parser.add_argument("--model", required=True, help="provider/model")
        parser.add_argument("--project", required=True, help="the project's slug")
        parser.add_argument("--split", default="test", help="train, validation, test (default), general, or all")
        parser.add_argument("--scorer", action="append", dest="scorers", help="may be given several times (label)")
        parser.add_argument("--repetitions", type=int, default=1)
        parser.add_argument("--limit", type=int, help="at most so many cases")
        parser.add_argument("--fresh", action="store_true", help="ask anew what was answered before")
        parser.add_argument(
            "--concurrency", type=int, metavar="CALLS", help="have at most so many calls in flight (for latencies)"
        )
        parser.add_argument(
            "--without-retrieval",
            action="store_true",
            help="retrieve nothing, though the version searches",
        )
        parser.add_argument(
            "--as-of", type=_read_moment, metavar="MOMENT", help="search what documents said then: 2026-11-28T12:00Z"
        )
        parser.add_argument("--leaked", choices=["mark", "exclude"], default="mark", help="leaked test cases")
        parser.add_argument("--budget", help="US dollars at which the run stops")
        parser.add_argument(
            "--at-least",
            metavar="[SCORER=]NUMBER",
            help="fail where the quality, or that scorer's figure, is below this (0 to 1); for example label=0.9",
        )
        parser.add_argument(
            "--here", action="store_true", help="do the work in this process, where no worker is running"
        )

    def handle(self, *_: object, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        document = {
            **{
                name: options[name]
                for name in ("prompt", "dataset", "model", "repetitions", "limit", "leaked", "fresh", "concurrency")
            },
            **{name: options[name] for name in ("without_retrieval", "as_of")},
            "split": "" if options["split"] == "all" else options["split"],
            "scorers": options["scorers"] or ["label"],
            "budget_usd": options["budget"],
        }
        scorer, at_least = _read_bound(options["at_least"])
        if scorer and scorer not in document["scorers"]:
            raise CommandError(f"--at-least names {scorer!r}, which is none of the scorers of this run.")
        try:
            run = runs.create(actor_for_command_line(project), planning.settings_from_document(project, document))
        except Problem as problem:
            raise CommandError(problem.detail) from None
        estimate = run.estimate["cost_usd"]
        cost = f"about ${float(estimate):.4f}" if estimate else "the model has no price"
        self.stdout.write(f"Run {run.pk}: {run.version} on {run.cases:,} cases with {run.model}; {cost}.")
        done = self._wait(run, here=options["here"])
        self._print_result(done, scorer, at_least)

    def _wait(self, run: Run, *, here: bool) -> Run:
        tasks.start_run(run)
        while True:
            if here:
                tasks.work_on_run(run.pk)
                tasks.sum_up_run(run.pk)
            now = runs.get_run(run.project, run.pk)
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

    def _print_result(self, run: Run, scorer: str, at_least: float | None) -> None:
        summary = run.summary or {}
        quality = quality_by(summary, scorer) or {}
        whose = scorer or ", ".join(summary.get("quality_of") or ())
        value, low, high = (quality.get(name) for name in ("value", "low", "high"))
        between = f" ({low:.3f} to {high:.3f})" if low is not None and high is not None else ""
        figure = "none" if value is None else f"{value:.3f}{between}"
        simulation = " (a simulation)" if run.is_simulation else ""
        by = f" by {whose}" if whose else ""
        cached = f", {run.from_cache:,} answers from the cache" if run.from_cache else ""
        spent = f"${run.cost_usd:.4f}{cached}"
        self.stdout.write(f"Quality {figure}{by}{simulation}, {run.failed} without an answer, {spent}.")
        for scores in summary.get("scorers", ()):
            if scores["name"] != whose:
                self.stdout.write(f"{scores['name']}: {measured(scores['value'], scores['unit'])}")
        if run.state != RunState.DONE:
            raise CommandError(f"{RunState(run.state).label}. {run.error}")
        if at_least is not None and (value is None or value < at_least):
            raise CommandError(f"The quality{by} is below {at_least}.")


def _read_moment(text: str) -> datetime:
    moment = parse_datetime(text)
    if moment is None or moment.tzinfo is None:
        raise ArgumentTypeError(f"a moment is written as 2026-11-28T12:00Z, and not {text!r}")
    return moment


def _read_bound(text: str | None) -> tuple[str, float | None]:
    """Read `0.9`, or `label=0.9`: the scorer's name, empty for the mean, and the bound."""
    if text is None:
        return "", None
    scorer, _, number = text.rpartition("=")
    try:
        bound = float(number)
    except ValueError:
        bound = -1.0
    if not 0 <= bound <= 1:
        raise CommandError(f"--at-least is a number from 0 to 1, or SCORER=NUMBER, and not {text!r}.")
    return scorer, bound
