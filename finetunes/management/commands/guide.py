"""The guided path of a task from the shell: begun with what is given, and told step by step."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from core.errors import Problem
from finetunes.guides import lifecycle as guides
from finetunes.guides import steps
from registry.accounts.permissions import command_line
from registry.models import Project


class Command(BaseCommand):
    help = "How far a task is from its definition to two watched weeks, and what is missing; begins it where it is new."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="of the task: ticket-routing")
        parser.add_argument("--project", required=True, help="the project's slug")
        parser.add_argument("--prompt")
        parser.add_argument("--dataset")
        parser.add_argument("--latency", type=float, dest="latency_ms", help="p99 in milliseconds, at most")
        parser.add_argument("--quality", type=float, help="at least, 0 to 1")
        parser.add_argument("--cost", dest="cost_per_call_usd", help="US dollars a call, at most")

    def handle(self, *_: object, **asked: Any) -> None:
        project = Project.objects.filter(slug=asked["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {asked['project']!r}.")
        names = ("prompt", "dataset", "latency_ms", "quality", "cost_per_call_usd")
        given = {name: asked[name] for name in names if asked[name] is not None}
        try:
            guide = guides.define(command_line(project), asked["name"], given)
        except Problem as problem:
            raise CommandError(problem.detail) from None
        for number, step in enumerate(steps.steps(guide), start=1):
            self.stdout.write(f"{number}. {step.title} [{'done' if step.is_done else step.state}]")
            for fact in step.facts:
                self.stdout.write(f"   {'x' if fact.is_there else ' '} {fact.text}")
