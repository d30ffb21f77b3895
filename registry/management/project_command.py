"""The base of commands about one project: it finds the project, and prints a refusal as one sentence."""

from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from core.errors import Problem
from registry.accounts.permissions import Actor, actor_for_command_line
from registry.models import Project


class ProjectCommand(BaseCommand):
    """A command in a project; a subclass writes `run`, which takes its options by name."""

    project_required = True
    run: Callable[..., None]

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--project", required=self.project_required, help="the project's slug")

    def handle(self, **options: Any) -> None:
        try:
            self.run(**options)
        except Problem as problem:
            faults = "".join(f"\n  {fault.pointer}: {fault.message}" for fault in problem.faults)
            raise CommandError(f"{problem.detail} [{problem.code}]{faults}") from None

    def actor_in(self, slug: str) -> Actor:
        project = Project.objects.filter(slug=slug).first()
        if project is None:
            slugs = ", ".join(Project.objects.values_list("slug", flat=True)) or "none"
            raise CommandError(f"There is no project {slug!r}. Projects: {slugs}.")
        return actor_for_command_line(project)
