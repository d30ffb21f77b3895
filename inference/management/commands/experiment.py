"""Experiments from a shell: what runs and what it shows, and an end to what must not go on."""

from argparse import ArgumentParser

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
        parser.add_argument("--reason", default="", help="why")

    def run(self, *, project: str, do: str, run: int | None, arm: str, reason: str, **_: object) -> None:
        actor = self.actor_in(project)
        if do == "list":
            for row in runs.running(experiment__project=actor.project):
                self.stdout.write(f"{row.pk}  {row}  step {row.step}, {row.percent} % of its weights")
            return
        row = runs.get_run(actor.project, run or 0)
        if do == "stop":
            runs.stop_arm(actor, row, arm, reason=reason)
        elif do == "step":
            runs.step(actor, row, reason=reason)
        elif do == "end":
            runs.end(actor, row, reason=reason)
        self._show(runs.get_run(actor.project, row.pk))

    def _show(self, run: ExperimentRun) -> None:
        state = f"ended: {run.end_reason}" if run.ended_at else f"step {run.step}, {run.percent} % of its weights"
        self.stdout.write(f"{run.pk}  {run}  {state}")
        for arm in run.figures.get("arms", ()):
            self.stdout.write(f"  {arm['arm']}: {arm['subjects']:,} subjects, {arm['calls']:,} calls")
        for verdict in run.figures.get("verdicts", ()):
            self.stdout.write(f"  {verdict['sentence']}")
        for event in run.events.all():
            self.stdout.write(f"  {event.at:%Y-%m-%d %H:%M}  {event} ({event.by_name})")
