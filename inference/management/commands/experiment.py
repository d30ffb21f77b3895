"""Experiments from a shell: what runs and what it shows, and an end to what must not go on."""

from argparse import ArgumentParser

from django.core.management import CommandError

from inference.experiments import runs
from inference.models import ExperimentRun
from registry.management.project_command import ProjectCommand


class Command(ProjectCommand):
    help = "Lists the experiments that run, shows one, stops an arm, goes to the next step, or ends one."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("do", choices=("list", "show", "stop", "step", "end"))
        parser.add_argument("run", nargs="?", type=int, help="the run's number, as list prints it")
        parser.add_argument("--arm", default="", help="the arm to stop, such as v4")
        parser.add_argument("--all", action="store_true", help="lists those that have ended, too")
        parser.add_argument("--reason", default="", help="why")

    def run(self, *, project: str, do: str, run: int | None, arm: str, reason: str, **options: object) -> None:
        actor = self.actor_in(project)
        if do == "list":
            rows = runs.runs_of(actor.project)
            for row in rows if options["all"] else rows.filter(ended_at=None):
                self.stdout.write(_headline(row))
            return
        if run is None:
            raise CommandError(
                f"Which run? manage.py experiment {do} RUN --project {project}; list prints their numbers."
            )
        row = runs.get_run(actor.project, run)
        if do == "stop":
            runs.stop_arm(actor, row, arm, reason=reason)
        elif do == "step":
            runs.step(actor, row, reason=reason, expected_step=row.step)
        elif do == "end":
            runs.end(actor, row, reason=reason)
        self._show(runs.get_run(actor.project, row.pk))

    def _show(self, run: ExperimentRun) -> None:
        self.stdout.write(_headline(run))
        for arm in run.figures.get("arms", ()):
            self.stdout.write(f"  {arm['arm']}: {arm['subjects']:,} subjects, {arm['calls']:,} calls")
        for verdict in run.figures.get("verdicts", ()):
            self.stdout.write(f"  {verdict['sentence']}")
        for event in run.events.all():
            self.stdout.write(f"  {event.at:%Y-%m-%d %H:%M}  {event} ({event.by_name})")


def _headline(run: ExperimentRun) -> str:
    state = f"ended: {run.end_reason}" if run.ended_at else f"step {run.step}, {run.percent} % of its weights"
    return f"{run.pk}  {run}  {state}"
