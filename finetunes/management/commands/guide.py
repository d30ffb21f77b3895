"""Guides from the shell: create or change one, and print its steps."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from core.errors import Problem
from finetunes.guides import lifecycle as guides
from finetunes.guides.steps import steps_for_guide
from finetunes.presentation import fact_text
from registry.accounts.permissions import actor_for_command_line
from registry.models import Project


class Command(BaseCommand):
    help = (
        "Print how far a task has come from its definition to two watched weeks, and what is missing; create it if new."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="of the task: ticket-routing")
        parser.add_argument("--project", required=True, help="the project's slug")
        parser.add_argument("--prompt")
        parser.add_argument("--dataset")
        parser.add_argument("--latency", type=float, dest="latency_ms", help="p99 in milliseconds, at most")
        parser.add_argument("--quality", type=float, help="at least, 0 to 1")
        parser.add_argument("--cost", dest="cost_per_call_usd", help="US dollars a call, at most")

    def handle(self, *_: object, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        names = ("prompt", "dataset", "latency_ms", "quality", "cost_per_call_usd")
        members = {name: options[name] for name in names if options[name] is not None}
        try:
            guide = guides.define(actor_for_command_line(project), options["name"], members)
        except Problem as problem:
            raise CommandError(problem.detail) from None
        for number, step in enumerate(steps_for_guide(guide), start=1):
            self.stdout.write(f"{number}. {step.title} [{'done' if step.is_done else step.state}]")
            for fact in step.facts:
                self.stdout.write(f"   {'x' if fact.is_there else ' '} {fact_text(fact)}")
